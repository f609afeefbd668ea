"""What musdb knows of MUSDB18, and which songs are for validation where no folder says so."""

from __future__ import annotations

import hashlib
import importlib.util
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

from storage.labelled.musdb18 import NAMES as MUSDB18
from storage.labelled.musdb18 import letters


@dataclass(frozen=True)
class MusdbConventions:
    """What the musdb package knows about MUSDB18.

    Attributes:
        streams: audio stream of the mixture and of each source in a ``.stem.mp4``.
        validation_songs: names of the training songs that are for validation.
    """

    streams: Mapping[str, int]
    validation_songs: frozenset[str]


@cache
def musdb_conventions() -> MusdbConventions:
    """Read musdb's own configuration, without importing musdb, which would need ffmpeg."""
    package = importlib.util.find_spec("musdb")
    assert package is not None, "musdb is a dependency"
    assert package.origin is not None, "and a regular package"
    text = (Path(package.origin).parent / "configs" / "mus.yaml").read_text("utf-8")
    config = yaml.safe_load(text)
    return MusdbConventions(
        streams=MappingProxyType(config["stem_ids"]),
        validation_songs=frozenset(map(_normal, config["validation_tracks"])),
    )


def choose_validation(names: Iterable[str], share: float) -> frozenset[str]:
    """Choose which training songs are for validation, each by its own name alone.

    A song of MUSDB18 is if musdb holds it out; any other if the BLAKE2b hash of its name, as a
    fraction, is below ``share``. So a song stays what it is when the set grows, and a small set may
    get none at all.

    >>> sorted(choose_validation(["ANiMAL - Rockshow", "ANiMAL - Clinic A", "Another"], 0.14))
    ['ANiMAL - Rockshow']
    """
    return frozenset(name for name in names if _is_held_out(name, share))


def _is_held_out(name: str, share: float) -> bool:
    if letters(name) in MUSDB18:
        return letters(name) in map(letters, musdb_conventions().validation_songs)
    hashed = hashlib.blake2b(_normal(name).encode(), digest_size=8).digest()
    return int.from_bytes(hashed, "big") < share * 2**64


def _normal(name: str) -> str:
    """A name in Unicode's composed form; macOS hands out the decomposed one."""
    return unicodedata.normalize("NFC", name)
