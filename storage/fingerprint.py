"""Names for what was made: a hash of everything that changes the content, and of nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

ID_DIGITS = 20
"""So many digits of a hash are the name of a track or a song."""

DIGEST_BITS = 128


def fingerprint(stage: str, version: int, **content: object) -> str:
    """Name a stage's output by what made it: stage, stage version, and JSON-able ``content``.

    The name starts with a letter, so that no reader of a Hive partition takes it for a number.

    >>> fingerprint("extract", 1, guard_s=0.25) == fingerprint("extract", 1, guard_s=0.25)
    True
    >>> fingerprint("extract", 1, guard_s=0.25) == fingerprint("extract", 2, guard_s=0.25)
    False
    """
    text = json.dumps([stage, version, content], sort_keys=True, separators=(",", ":"))
    return "f" + short_hash(text)


def short_hash(text: str, digits: int = 12) -> str:
    """The first hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]


def digest(keys: Iterable[str]) -> str:
    """A digest of a set of keys, whatever their order, in constant memory: ``count-hash``.

    >>> digest(["a", "b"]) == digest(["b", "a"]) != digest(["a"])
    True
    """
    total, count = 0, 0
    for key in keys:
        raw = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        total += int.from_bytes(raw[: DIGEST_BITS // 8], "big")
        count += 1
    return f"{count}-{total % 2**DIGEST_BITS:032x}"
