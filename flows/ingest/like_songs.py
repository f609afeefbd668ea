"""Labelled songs that are another one in another sound, by the prints of their mixtures."""

from __future__ import annotations

from demucs_core.duplicates.known import KnownPrints
from flows.inputs.same_music import printed
from storage.music_format import MIXTURE
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import PRINTS, STEMS

MIN_SHARE = 0.5
"""Songs are alike that share half of the shorter one; less may be a sample, or a loop."""


def likenesses(manifests: Manifests, corpus: str) -> dict[str, frozenset[str]]:
    """For each song of a corpus that is like others a name for each pair, which both of it have."""
    mixtures = {
        sound.track_id: sound.items
        for stems in manifests.partitions(STEMS.name, corpus)
        for sound in printed(manifests, Partition(PRINTS.name, corpus, stems.fingerprint))
        if sound.source == MIXTURE
    }
    names = sorted(mixtures)
    known = KnownPrints(mixtures[name] for name in names)
    found: dict[str, set[str]] = {}
    for name in names:
        for place, overlap in known.find(mixtures[name]):
            other = names[place]
            shorter = min(len(mixtures[name]), len(mixtures[other]))
            if other != name and overlap.num_items >= MIN_SHARE * shorter:
                pair = "like/" + "/".join(sorted((name, other)))
                found.setdefault(name, set()).add(pair)
                found.setdefault(other, set()).add(pair)
    return {name: frozenset(pairs) for name, pairs in found.items()}
