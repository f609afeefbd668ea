"""Who gets out: opens files that are none of theirs, reaches ports, starts programs.

A *sentinel* is a folder outside of all that a case may touch, with files that look worth opening.
The kernel tells of whoever opens one, in C too (inotify); a port on this machine tells of whoever
connects; Python tells of files it opens to write and of programs it starts (audit hooks).
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import soundfile

_IN_EVENTS = 0x20 | 0x01 | 0x02 | 0x100 | 0x200 | 0x40 | 0x80  # open, read, write, new, gone, moved
_IN_ISDIR = 0x4000_0000
_EVENT = struct.Struct("iIII")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGING = frozenset(
    ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod",
     "shutil.rmtree", "shutil.move", "shutil.copyfile")
)  # fmt: skip
_STARTING = frozenset(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"))
_MACHINE_S_OWN = ("/dev/", "/proc/")


class Sentinel:
    """Files that nobody is to open, and a port that nobody is to reach.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "secret.txt").write_text("secret\n")
        (folder / "secret.yaml").write_text("secret: 1\n")
        soundfile.write(folder / "secret.wav", [0.25] * 8_000, 8_000)
        self.folder = folder
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        watched = libc.inotify_add_watch(self._events, os.fsencode(folder), _IN_EVENTS)
        if self._events < 0 or watched < 0:
            raise OSError(ctypes.get_errno(), "this system does not tell who opens files")

    def tokens(self) -> list[bytes]:
        """Texts that would lead to it, if anybody followed them."""
        return tokens(self.folder, self.port)

    def touched(self) -> list[str]:
        """What was opened, changed or reached since the last call; who lists folders is excused."""
        found = []
        try:
            told = os.read(self._events, 65_536)
        except BlockingIOError:
            told = b""
        place = 0
        while place < len(told):
            _, mask, _, length = _EVENT.unpack_from(told, place)
            name = told[place + _EVENT.size :][:length].rstrip(b"\0").decode()
            if not mask & _IN_ISDIR:
                found.append(f"the sentinel {name} was touched (events {mask:#x})")
            place += _EVENT.size + length
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return found
        connection.close()
        return [*found, f"somebody connected to port {self.port}"]

    def close(self) -> None:
        """Watch no more."""
        os.close(self._events)
        self._listener.close()


def tokens(folder: Path, port: int) -> list[bytes]:
    """Texts of files that lead to others."""
    secret, address = f"{folder}/secret.wav", f"http://127.0.0.1:{port}/secret.wav"
    return [
        text.encode()
        for text in (
            secret, f"file:{secret}", f"file://{secret}", address, f"concat:{secret}|{secret}",
            f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"#EXTM3U\n#EXTINF:1,\n{address}\n",
            f"ffconcat version 1.0\nfile {secret}\n", f"subfile,,start,0,end,99,,:{secret}",
            f"url \0\0\0\0{address}\0", f"dref\0\0\0\0\0\0\0\1\0\0\0\x30alis\0\0\0\0{secret}\0",
            f"rtmp://127.0.0.1:{port}/a", f"tcp://127.0.0.1:{port}", f"../{folder.name}/secret.wav",
            f"<MPD><Period><AdaptationSet><SegmentTemplate media='{address}'/>",
        )
    ]  # fmt: skip


class Offences:
    """What Python does in this process that no case may do.

    Args:
        allowed: folders in which it may write.
        programs: that may be started.
    """

    def __init__(self, allowed: Sequence[str], programs: Sequence[str]) -> None:
        self._allowed = tuple(str(Path(folder).resolve()) + "/" for folder in allowed)
        self._programs = frozenset(programs)
        self._found: list[str] = []
        self.is_on = False
        sys.addaudithook(self._note)

    def taken(self) -> list[str]:
        """What was found since the last call."""
        found, self._found = self._found, []
        return found

    def _note(self, event: str, args: tuple[object, ...]) -> None:
        if not self.is_on:
            return
        if event == "open":
            path, _, flags = args
            if isinstance(flags, int) and flags & _WRITING:
                self._require(event, path)
        elif event in _CHANGING:
            if not any(isinstance(each, int) and each > 2 for each in args[1:]):
                self._require(event, args[0])  # others are relative to a folder that is open
        elif event in _STARTING:
            if not (event == "subprocess.Popen" and args[0] in self._programs):
                self._found.append(f"{event} {args!r:.200}")
        elif event == "socket.connect" and isinstance(args[1], tuple):
            self._found.append(f"{event} {args[1]!r:.200}")

    def _require(self, event: str, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return  # a file that is open already
        whole = os.path.abspath(os.fsdecode(path))  # noqa: PTH100  as the system would take it
        if not f"{whole}/".startswith((*self._allowed, *_MACHINE_S_OWN)):
            self._found.append(f"{event} {whole!r:.200}")


def listening(pid: int) -> list[str]:
    """Ports on which a process or one of its children listens."""
    found = []
    process = psutil.Process(pid)
    for each in (process, *process.children(recursive=True)):
        found += [
            f"process {each.pid} listens on {connection.laddr}"
            for connection in each.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
    return found
