"""Decode in a process of its own, which may die: one bad file costs one file.

FFmpeg and libsndfile are written in C, and a file can be made, or damaged, so that they crash, loop
or ask for gigabytes. So no file is decoded where the work is: a process that lives as long as this
one gets open files, never their names, and writes what it decodes to a scratch file. What kills it
is told of the file it was at, and the next file gets a new one. The audio never goes through a
pipe, and nothing is started a file.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from storage.decoding.chunk import Unusable

_MAIN = "from storage.decoding.decoder_child import main; main(int(__import__('sys').argv[1]))"
_START_S = 120
_OWN_FAULT = frozenset(
    getattr(signal, name)
    for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGXCPU", "SIGXFSZ")
)
"""What kills a process for what it did. Others come from outside, and the file is tried again."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What decoding one file may take, before it is refused.

    Attributes:
        cpu_s: seconds of a CPU for any file, and
        cpu_s_a_byte: those beside for each of its bytes: a thousandth of what MP3 takes.
        stall_s: seconds without one more decoded sample, whatever it waits for.
        memory_bytes: beside what the decoder has at its start.
        duration_s: seconds of audio that any file may hold, and
        duration_s_a_byte: those beside for each of its bytes; codecs of speech give a
            thousandth of a second, silence in FLAC a hundredth.
        most_duration_s: seconds of audio of a file of any size.
    """

    cpu_s: int = 60
    cpu_s_a_byte: float = 2e-5
    stall_s: float = 300.0
    memory_bytes: int = 2**30
    duration_s: float = 600.0
    duration_s_a_byte: float = 0.05
    most_duration_s: float = 48 * 3600.0

    def of_file(self, num_bytes: int) -> dict[str, float]:
        """As the decoder takes them, for a file of some size."""
        duration_s = self.duration_s + self.duration_s_a_byte * num_bytes
        return {
            "cpu_s": self.cpu_s + int(self.cpu_s_a_byte * num_bytes),
            "memory_bytes": self.memory_bytes,
            "duration_s": min(duration_s, self.most_duration_s),
        }


LIMITS = Limits()


class _Died(Exception):  # noqa: N818  what became of the decoder, for this module alone
    """The decoder is gone, and with which exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class DecoderProcess:
    """A process that decodes one file after the other, and is started anew when one kills it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._stop: Any = None

    @property
    def pid(self) -> int | None:
        """Of the process, once there is one."""
        return self._process.pid if self._process is not None else None

    def ask(
        self, file: BinaryIO, scratch: BinaryIO | None, request: Mapping[str, object]
    ) -> dict[str, Any]:
        """Have something done with a file.

        Args:
            file: of the operating system, opened for reading.
            scratch: where to decode to, if it is to be decoded.
            request: what :mod:`storage.decoding.decoder_child` understands.

        Raises:
            Unusable: what the decoder says of the file; or ``decoder_crashed``, ``too_slow`` or
                ``too_large``.
            OSError: the scratch file can't be written.
        """
        limits = self._limits.of_file(os.fstat(file.fileno()).st_size)
        message = json.dumps({**request, "limits": limits}).encode() + b"\n"
        files = [file, *([scratch] if scratch else [])]
        with self._lock:
            for is_last_try in (False, True):
                try:
                    reply = self._exchange(message, files)
                    break
                except _Died as death:
                    self.close()
                    for rewound in files:
                        rewound.seek(0)
                    if scratch is not None:
                        scratch.truncate(0)
                    if is_last_try or -death.status in _OWN_FAULT or death.status > 0:
                        raise _refusal(death.status) from None
        if "errno" in reply:
            raise OSError(reply["errno"], os.strerror(reply["errno"]), tempfile.gettempdir())
        if "reason" in reply:
            if reply["reason"] == "too_large":
                self.close()  # what it took for the file is not given back
            raise Unusable(reply["reason"], reply["detail"])
        return reply

    def close(self) -> None:
        """End the process; the next file gets a new one."""
        if self._stop is not None:
            self._stop()
        self._process = self._control = self._stop = None

    def _exchange(self, message: bytes, files: list[BinaryIO]) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._control is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # then there is no reply either
            socket.send_fds(self._control, [message], [file.fileno() for file in files])
        written = -1
        while not _readable(self._control, self._limits.stall_s):
            size = os.fstat(files[-1].fileno()).st_size if len(files) > 1 else 0
            if size == written:
                self.close()
                stalled = f"nothing was decoded in {self._limits.stall_s:g} s"
                raise Unusable("too_slow", stalled)
            written = size
        return self._reply()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # a thread each would reserve memory, and there is nothing to share out
                env=os.environ
                | {
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "OPENBLAS_NUM_THREADS": "1",
                },
            )
        self._control = ours
        self._stop = weakref.finalize(self, _end, self._process, ours, os.getpid())
        try:
            if not _readable(ours, _START_S):
                raise _Died(0)
            self._reply()
        except _Died as death:
            self.close()
            raise RuntimeError(
                f"the decoder process does not start (exit status {death.status}); what it wrote "
                "to the terminal says why"
            ) from None

    def _reply(self) -> dict[str, Any]:
        assert self._control is not None
        assert self._process is not None
        content = b""
        while not content.endswith(b"\n"):
            try:
                received = self._control.recv(65_536)
            except ConnectionResetError:
                received = b""
            if not received:
                raise _Died(self._process.wait())
            content += received
        reply: dict[str, Any] = json.loads(content)
        return reply


@lru_cache(maxsize=1)
def _decoder_of(_pid: int) -> DecoderProcess:
    return DecoderProcess()


def decoder() -> DecoderProcess:
    """The decoder of this process; one that was forked gets its own."""
    return _decoder_of(os.getpid())


def _readable(control: socket.socket, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(control, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def _refusal(status: int) -> Unusable:
    if -status == signal.SIGXCPU:
        return Unusable("too_slow", "decoding it takes more time than a file of its size may take")
    with suppress(ValueError):
        return Unusable(
            "decoder_crashed", f"the decoder died of it ({signal.Signals(-status).name})"
        )
    return Unusable("decoder_crashed", f"the decoder died of it (exit status {status})")


def _end(process: subprocess.Popen[bytes], control: socket.socket, owner: int) -> None:
    control.close()
    if os.getpid() != owner:  # a fork of the process that has the decoder
        return
    process.kill()
    process.wait()
