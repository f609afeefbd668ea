"""The prints of what is ingested → ``prints``: made from the samples as they are hashed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from storage.decoding.canonical import PreparedAudio
from storage.decoding.prints import ALGORITHM, ITEM_S, Print, Printer, can_print

Listener = Callable[[memoryview], object]


def hash_and_print(
    audio: PreparedAudio, gain_db: float | None = None, also: Sequence[Listener] = ()
) -> tuple[str, Print | None]:
    """Content hash and print of some audio, in one pass.

    Args:
        audio: decoded.
        gain_db: as of :meth:`~storage.decoding.canonical.PreparedAudio.content_hash`.
        also: who else hears the samples.

    Returns:
        The hash, and the print; None where there is no library to make it with.
    """
    if not can_print():
        return audio.content_hash(gain_db, also), None
    printer = Printer(audio.sample_rate, audio.num_channels)
    content_hash = audio.content_hash(gain_db, (*also, printer.feed))
    return content_hash, printer.finish()


def print_rows(track_id: str, source: str, items: Print | None) -> list[dict[str, Any]]:
    """The row of ``prints`` for a print; none where there is none."""
    if items is None:
        return []
    return [
        {
            "track_id": track_id,
            "source": source,
            "algorithm": ALGORITHM,
            "item_s": ITEM_S,
            "items": items,
        }
    ]
