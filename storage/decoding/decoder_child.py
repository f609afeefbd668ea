"""What runs in the process that :mod:`storage.decoding.decoder_process` starts.

It gets open files and a line of JSON, and answers with one. It holds itself to its limits: the
kernel ends it when it takes more time, and refuses it more memory.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import signal
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from storage.decoding.canonical import PreparedAudio, decode_into
from storage.decoding.chunk import Unusable, one_line
from storage.decoding.codecs import chunks
from storage.decoding.tags import read_tags

_REQUEST_BYTES = 65_536
_LOOK_FOR_PARENT_S = 10
_TOO_LARGE = "decoding it takes more memory than a file may take"


class _Named:
    """A file that was opened elsewhere, under its name there; FFmpeg takes a hint from that."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
        self.fileno, self.seekable, self.readable = file.fileno, file.seekable, file.readable


def main(control_fd: int) -> None:
    """Answer requests until the other side is gone."""
    # Ctrl-C in a terminal is for the process that has the work; it ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    parent = os.getppid()
    # whoever is killed at the other side does not say goodbye
    with suppress(ConnectionError), socket.socket(fileno=control_fd) as control:
        control.sendall(b"{}\n")
        while True:
            request, files = _receive(control, parent)
            if request is None:
                return
            try:
                reply = _answer(request, files, parent)
            except MemoryError:
                reply = {"reason": "too_large", "detail": _TOO_LARGE}
            for fd in files:
                os.close(fd)
            control.sendall(json.dumps(reply).encode() + b"\n")


def _receive(control: socket.socket, parent: int) -> tuple[dict[str, Any] | None, list[int]]:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    content, files = b"", list[int]()
    while not content.endswith(b"\n"):
        while not poll.poll(_LOOK_FOR_PARENT_S * 1000):
            if os.getppid() != parent:
                return None, []
        received, fds, _, _ = socket.recv_fds(control, _REQUEST_BYTES, 2)
        if not received:
            return None, []
        content, files = content + received, files + list(fds)
    return json.loads(content), files


def _answer(request: dict[str, Any], files: list[int], parent: int) -> dict[str, Any]:
    _limit(**{name: int(request["limits"][name]) for name in ("cpu_s", "memory_bytes")})
    try:
        with open(files[0], "rb", buffering=0, closefd=False) as opened:
            file: Any = _Named(opened, request["name"])
            if len(files) == 1:
                return {"tags": read_tags(file)} if request.get("tags") else _first_chunk(file)
            with open(files[1], "r+b", buffering=0, closefd=False) as scratch:
                return _decoded(file, scratch, request, parent)
    except Unusable as problem:
        return {"reason": problem.reason, "detail": problem.detail}
    except MemoryError:
        raise
    except OSError as error:  # of the scratch file: of the other, codecs say what is wrong
        return {"errno": error.errno or errno.EIO}
    except Exception as error:  # noqa: BLE001  whatever a decoder raises is one bad file
        kind = type(error).__name__
        return {"reason": "corrupt", "detail": f"the decoder fails ({kind}: {one_line(error)})"}


def _first_chunk(file: BinaryIO) -> dict[str, Any]:
    with closing(chunks(file, None)) as decoded:
        first = next(decoded, None)
    if first is None:
        raise Unusable("corrupt", "nothing decodes")
    return {"sample_rate": first.sample_rate, "num_channels": first.audio.shape[0]}


def _decoded(
    file: BinaryIO, scratch: BinaryIO, request: dict[str, Any], parent: int
) -> dict[str, Any]:
    audio = PreparedAudio(scratch, request["sample_rate"], request["num_channels"])
    most_s = request["limits"]["duration_s"]
    for _ in decode_into(audio, file, request["stream"]):
        if audio.duration_s > most_s:
            size = os.fstat(file.fileno()).st_size
            detail = f"more than {most_s / 3600:.1f} hours of audio in {size} bytes"
            raise Unusable("too_large", detail)
        if os.getppid() != parent:
            raise SystemExit
    told: dict[str, Any] = audio.measured()
    if request.get("tags"):
        file.seek(0)
        told["tags"] = read_tags(file)
    return told


def _limit(cpu_s: int, memory_bytes: int) -> None:
    """Take ``cpu_s`` seconds from now on, and so much more memory than at the first call."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + cpu_s + 1
    _, hardest = resource.getrlimit(resource.RLIMIT_CPU)
    if hardest != resource.RLIM_INFINITY:
        seconds = min(seconds, hardest)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, hardest))
    if resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY:
        return
    with suppress(OSError, ValueError):  # a system that does not tell
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        bytes_now = pages * resource.getpagesize()
        limit = bytes_now + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
