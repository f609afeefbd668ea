"""The tracks of a corpus that may be heard: those chosen, less songs held out among them."""

from __future__ import annotations

from typing import Any

from flows.inputs.same_music import uncompared_copies
from flows.inputs.selection import selected_tracks
from flows.inputs.songs import HeldOut, held_out_audio
from storage.tables.manifests import Manifests, Partition

COLUMNS = ("track_id", "path", "num_samples", "content_hash")


def usable_tracks(
    manifests: Manifests, source: Partition, *, where: str = "", duplicates: str = "keep"
) -> tuple[list[dict[str, Any]], dict[str, HeldOut]]:
    """The tracks that are chosen, less the labelled songs held out among them.

    Ingest refuses or retires those, unless it was killed before it came to that. What it has not
    compared with these songs in whatever sound is compared here.

    Args:
        manifests: of the workspace.
        source: the tracks of a corpus.
        where: which are chosen, as :func:`flows.inputs.selection.selected_tracks` takes it.
        duplicates: likewise.

    Returns:
        The rows of the tracks in the order of their ids, and for each id that is a song held out
        that song.

    Raises:
        UserError: the condition is wrong.
    """
    held_out = held_out_audio(manifests)
    chosen = selected_tracks(manifests, source.corpus, where, duplicates)
    copies = uncompared_copies(manifests, source)
    kept: list[dict[str, Any]] = []
    leaked: dict[str, HeldOut] = {}
    for track in manifests.rows(source, COLUMNS):
        track_id = str(track["track_id"])
        if chosen is not None and track_id not in chosen:
            continue
        song = held_out.get(track["content_hash"]) or copies.get(track_id)
        if song is None:
            kept.append(track)
        else:
            leaked[track_id] = song
    return sorted(kept, key=lambda track: str(track["track_id"])), leaked
