"""What a target of the fuzzer is: something of the product that takes what strangers made."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.fuzzing.mutation import mutated


class CrashError(Exception):
    """What a case made of the product is not what was promised, and how."""


class Target(Protocol):
    """Takes cases, each some bytes.

    ``run`` returns in a few words what became of a case; anything it raises is a crash.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        """Take a folder for what it writes."""

    def seeds(self) -> list[bytes]:
        """Cases that are right, and some that are not."""

    def mutated(
        self, draws: random.Random, content: bytes, tokens: Sequence[bytes], pool: Sequence[bytes]
    ) -> bytes:
        """A case made of another."""

    def run(self, content: bytes, draws: random.Random) -> str:
        """Give a case to the product."""


class Bytes:
    """A target whose cases are files.

    Args:
        folder: its own, for what it writes.
    """

    name = ""
    own_tokens: tuple[bytes, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def mutated(
        self, draws: random.Random, content: bytes, tokens: Sequence[bytes], pool: Sequence[bytes]
    ) -> bytes:
        """The file with a few things wrong."""
        return mutated(draws, content, (*tokens, *self.own_tokens), pool)


def in_short(message: object) -> str:
    """A message without what differs between cases of one kind."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\S*/\S+", "_", str(message).partition("\n")[0])
    return re.sub(r"[-+\d.]*\d[\w.]*", "0", text)[:120]
