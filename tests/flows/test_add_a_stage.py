"""What the page says of adding a stage, done on a copy of the code, with the page's own blocks."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from tests.flows.conftest import Finished

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 300


def insert(path: Path, before: str, text: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{path}: {before!r}"
    path.write_text(content.replace(before, text + before), encoding="utf-8")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code, with the stage that the page adds."""
    code = tmp_path_factory.mktemp("code")
    ignored = shutil.ignore_patterns("__pycache__", "*.png")
    for name in ("flows", "storage", "demucs_core", "demo_corpus", "docs"):
        shutil.copytree(ROOT / name, code / name, ignore=ignored)
    page = (ROOT / "docs" / "contributing" / "add-a-stage.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    schema, options, flow, row = blocks
    insert(code / "storage" / "tables" / "schemas.py", "AUDITS = Table(", schema + "\n")
    insert(code / "storage" / "tables" / "schemas.py", "AUDITS, EVALUATIONS,", "LOUDNESS, ")
    row = f"{textwrap.indent(row.rstrip(), '    ')},\n"
    insert(code / "flows" / "catalogue.py", '    Entry(\n        name="extract",', row)
    (code / "flows" / "loudness").mkdir()
    (code / "flows" / "loudness" / "__init__.py").write_text('"""How loud each track is."""\n')
    (code / "flows" / "loudness" / "options.py").write_text(options, encoding="utf-8")
    (code / "flows" / "loudness" / "flow.py").write_text(flow, encoding="utf-8")
    return code


COMMANDS = """
import json, sys
from flows.cli.main import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0, arguments
    print("\\f", end="", flush=True)
"""
"""Runs commands one after another: each by itself would import torch and start a server first."""

DEPLOYED = """
from flows.service.deployments import definitions, load_flow
for each in definitions():
    print(load_flow(each).name, each["entrypoint"])
"""


def run(code: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(code), "COLUMNS": "250", "TERM": "dumb"},
        cwd=code, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def silentmix(code: Path, *commands: list[str]) -> list[str]:
    """What commands say, each as a user would see it."""
    *said, last = run(code, "-c", COMMANDS, json.dumps(commands)).split("\f")
    assert not last
    return said


def test_it_is_a_command_and_a_stage_of_the_chain(code: Path) -> None:
    commands, its_own, chain = silentmix(
        code, ["--help"], ["loudness", "--help"], ["run", "--help"]
    )
    assert re.search(r"loudness +Measure how loud each track of a corpus is\.", commands)
    assert "--batch-tracks" in its_own
    assert re.search(r"score[^a-z]+loudness[^a-z]+extract", chain), "its place in the chain"


def test_it_is_in_the_docs_and_deployed(code: Path) -> None:
    run(code, "docs/generate.py")
    parameters = (code / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert "## loudness\n\nMeasure how loud each track of a corpus is.\n" in parameters
    assert "## loudness\n" in (code / "docs" / "manifests.md").read_text(encoding="utf-8")
    deployments = yaml.safe_load((code / "prefect.yaml").read_text())["deployments"]
    [mine] = [each for each in deployments if each["name"] == "loudness"]
    assert f"loudness {mine['entrypoint']}\n" in run(code, "-c", DEPLOYED)


def test_it_runs_alone_and_in_the_chain(code: Path, finished: Finished) -> None:
    at = ["--workspace", finished.workspace.location]
    num_tracks = finished.manifests.count(finished.only("tracks", "music"))
    # which has no server, and commands after it in the same process would have none
    [planned] = silentmix(code, ["run", *at, "--only", "loudness", "--dry-run"])
    made, again, status = silentmix(
        code,
        ["run", *at, "--only", "loudness", "--workers=1"],
        ["loudness", *at],
        ["status", *at],
    )
    assert f"{num_tracks} of {num_tracks} tracks" in planned
    assert f"tracks {num_tracks}" in made
    assert "(was done)" in again
    heading, music = (
        line.split() for line in status.splitlines() if line.startswith(("corpus ", "music "))
    )
    assert music[heading.index("loudness")] == str(num_tracks)
