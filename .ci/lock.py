"""Write requirements.lock and requirements-cuda.lock from pyproject.toml (``make lock``).

What is locked keeps its version, unless pyproject.toml rules it out; ``make lock UPGRADE=1`` takes
the newest of everything. Both hold exact versions with hashes and no index address. The CUDA
libraries stand apart because only the CUDA build of torch needs them: the install looks at the
build of torch it got, and adds the second file where it must. ``--no-deps`` installs of both are
complete by construction.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

ROOT = Path(__file__).resolve().parent.parent
CUDA_PACKAGE = re.compile(r"(nvidia|cuda|triton)(-|==)")
COMMON, CUDA = "requirements.lock", "requirements-cuda.lock"
NEWEST_PYTHON = r"(?: and )?python_full_version < '3\.14'(?: and )?"
# A user whose package index offers the CPU-only build of this torch gets it through this hash.
TORCH_CPU_HASHES = ("sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",)


def locked() -> str:
    """The versions in the lock files, as constraints; torch has one for each of its builds."""
    blocks = "\n".join((ROOT / name).read_text() for name in (COMMON, CUDA))
    lines = (line.removesuffix(" \\") for line in blocks.splitlines() if line[:1].isalnum())
    return "\n".join(line for line in lines if not line.startswith("torch=="))


def compile_requirements(constraints: str) -> str:
    """Resolve pyproject.toml for every environment in its [tool.uv] table."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--quiet"]
    command += ["--python-version", "3.11", "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--extra", "dev", "pyproject.toml"]
    with NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(constraints)
        file.flush()
        command += ["--constraints", file.name]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def simplify(block: str) -> str:
    """Drop the marker that only repeats the environments the lock is made for."""
    requirement, _, hashes = block.partition(" \\\n")
    package, _, marker = requirement.partition(" ; ")
    marker = re.sub(NEWEST_PYTHON, "", marker)
    version = re.findall(r"python_full_version [<>=]+ '[^']+'", marker)
    one_system = marker.count("sys_platform ==") == 1 or "darwin" not in marker
    if one_system and marker:
        return f"{package} ; {marker} \\\n{hashes}"
    kept = f" ; {' and '.join(version)}" if version else ""
    return f"{package}{kept} \\\n{hashes}"


def main() -> None:
    """Split what was resolved into the two lock files."""
    constraints = "" if "--upgrade" in sys.argv else locked()
    blocks = re.split(r"\n(?=\S)", compile_requirements(constraints).strip())
    common: list[str] = []
    cuda: list[str] = []
    for block in blocks:
        if block.startswith("torch=="):
            block += "".join(f" \\\n    --hash={digest}" for digest in TORCH_CPU_HASHES)
        (cuda if CUDA_PACKAGE.match(block) else common).append(simplify(block))
    for name, lines in ((COMMON, common), (CUDA, cuda)):
        (ROOT / name).write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(lines)} packages")


if __name__ == "__main__":
    main()
