"""Recipes of remixes as sound: crops of tracks with stems added, and what is known of them.

Shape legend: S sources, G groups (always S places, some empty), C audio channels, T samples of a
crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core.training.crops import Audio, Augmentation, Reader, read_crop
from demucs_core.training.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A crop, source by source.

    Attributes:
        targets: ``(G, C, T)`` float32: the sum of each group's sources; zeros for empty groups.
        membership: ``(G, S)`` float32: one where a source belongs to a group.
        known: ``(T,)`` bool: where the groups' sums are known.
    """

    targets: Audio
    membership: NDArray[np.float32]
    known: NDArray[np.bool_]

    def mixture(self) -> Audio:
        """All of it ``(C, T)``; adding one group after another is quicker than all at once."""
        targets = self.targets
        mixture: Audio = targets[0] + targets[1] if len(targets) > 1 else targets[0].copy()
        for stem in targets[2:]:
            mixture += stem
        return mixture


def render(
    rng: np.random.Generator,
    remix: Recipe,
    read: Reader,
    *,
    num_sources: int,
    crop_samples: int,
    augmentation: Augmentation,
) -> Rendered:
    """Render a recipe: a crop at random around what is known of it, with the stems added.

    Known is where the segment and the excerpt of each added stem sound together (see
    :func:`place_excerpts`). Where that is longer than the crop, the crop lies inside it; where it
    is shorter, it lies inside the crop. The stems sound over the whole crop, as far as they have
    audio, so that nothing marks the ends. Each silent source is a group of its own, whose target
    is the stem added to it or silence; the others are one group, at the place of the first of
    them, whose target is the track itself.
    """
    known_start, known_stop = place_excerpts(rng, remix)
    crop_start = place_crop(rng, known_start, known_stop, remix.track_num_samples, crop_samples)
    change = augmentation.draw(rng)
    targets = room_for(read, remix.track_path, num_sources, crop_samples)
    membership = np.zeros((num_sources, num_sources), dtype=np.float32)
    known = np.zeros(crop_samples, dtype=np.bool_)
    known[max(known_start - crop_start, 0) : known_stop - crop_start] = True

    for source in remix.silent:
        membership[source, source] = 1
    for stem in remix.added:
        # Sample `first` of the stem would meet the crop's first; before 0 there is no stem.
        first = stem.start_sample + crop_start - known_start
        start = min(max(-first, 0), crop_samples)
        stop = max(min(stem.num_samples - first, crop_samples), start)
        targets[stem.source, :, :start] = 0
        targets[stem.source, :, stop:] = 0
        into = targets[stem.source, :, start:stop]
        change.read(read, stem.path, first + start, into, gain_db=stem.gain_db)
    sounding = [source for source in range(num_sources) if source not in remix.silent]
    if sounding:
        change.read(read, remix.track_path, crop_start, targets[sounding[0]])
        membership[sounding[0], sounding] = 1

    filled = {*sounding[:1], *(stem.source for stem in remix.added)}
    targets[[source for source in range(num_sources) if source not in filled]] = 0
    return Rendered(targets=targets, membership=membership, known=known)


def place_excerpts(rng: np.random.Generator, remix: Recipe) -> tuple[int, int]:
    """Draw where in the track the added stems' excerpts begin, and end: all of a recipe together.

    The shortest excerpt may be shorter than its segment: at most as long as was asked of the
    recipe, or its song ends. Then it lies anywhere in the segment, so that all of the segment is
    heard in time.
    """
    start, num_known = remix.segment_start_sample, remix.known_samples
    room = remix.segment_stop_sample - start - num_known
    if room:
        start += int(rng.integers(room + 1))
    return start, start + num_known


def place_crop(
    rng: np.random.Generator, start: int, stop: int, track_num_samples: int, crop_samples: int
) -> int:
    """Draw where in a track a crop starts that covers as much of ``[start, stop)`` as it can.

    It stays inside the track where the track is long enough, and else starts with it.
    """
    if stop - start >= crop_samples:
        return int(rng.integers(start, stop - crop_samples + 1))
    earliest = max(stop - crop_samples, 0)
    latest = min(start, max(track_num_samples - crop_samples, 0))
    return int(rng.integers(earliest, latest + 1))


def room_for(read: Reader, path: str, num_sources: int, num_samples: int) -> Audio:
    """Room for ``(S, C, T)``, with as many channels as a file has."""
    num_channels = len(read_crop(read, path, 0, 0))
    return np.empty((num_sources, num_channels, num_samples), dtype=np.float32)
