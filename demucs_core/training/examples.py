"""Training examples from stems and from remix recipes, each a pure function of its random numbers.

Shape legend: S sources, G groups (always S places, some empty), C audio channels, T samples of a
crop.

Audio comes through a reader, so that this file knows neither files nor buckets. For what the
groups, targets and masks mean, see :mod:`demucs_core.training.weak_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from demucs_core.stem_tracks import StemTrack, TrackPool
from demucs_core.training.crops import Audio, Augmentation, Reader, read_crop
from demucs_core.training.recipes import Recipe

GROUPED_EXAMPLES = 2
"""Version of how examples with groups of several sources are made, and weighed in the loss."""


class Example(NamedTuple):
    """What one training example knows; :func:`collate` adds a batch dimension in front.

    Attributes:
        mixture: ``(C, T)`` float32.
        targets: ``(G, C, T)`` float32: the sum of each group's sources; zeros for empty groups.
        membership: ``(G, S)`` float32: one where a source belongs to a group.
        mask: ``(G, T)`` bool: where a group's sum is known.
        weight: scalar float32: weight in the loss.
    """

    mixture: Tensor
    targets: Tensor
    membership: Tensor
    mask: Tensor
    weight: Tensor


def supervised_example(
    rng: np.random.Generator,
    tracks: TrackPool[StemTrack],
    read: Reader,
    *,
    num_sources: int,
    crop_samples: int,
    augmentation: Augmentation,
) -> Example:
    """Draw a crop of a labelled track, or of one track a source, and mix its changed stems.

    Each stem is a group: a source, or the sum of several at the place of the first of them. Where
    each is from a track of its own, they are sources as far as somebody has each by itself.
    """
    remixed = rng.random() < augmentation.remix_probability or not tracks.whole
    groups = tracks.groups
    if tracks.whole:
        chosen = tracks.draw_whole(rng)
        start = _random_start(rng, chosen.num_samples, crop_samples)
        groups = groups if remixed and groups else chosen.groups
    targets: Audio | None = None
    membership = torch.zeros(num_sources, num_sources)
    for group in groups:
        if remixed:
            chosen = tracks.draw_having(rng, group)
            start = _random_start(rng, chosen.num_samples, crop_samples)
        path = chosen.path_of(group)
        if targets is None:
            targets = _targets(read, path, num_sources, crop_samples)
        augmentation.draw(rng).read(read, path, start, targets[group[0]])
        membership[group[0], list(group)] = 1
    assert targets is not None, "a song has a stem"
    targets[~membership.any(dim=1).numpy()] = 0
    return Example(
        mixture=_sum(targets),
        targets=torch.from_numpy(targets),
        membership=membership,
        mask=torch.ones(num_sources, crop_samples, dtype=torch.bool),
        weight=torch.tensor(1.0),
    )


def weak_example(
    rng: np.random.Generator,
    remix: Recipe,
    read: Reader,
    *,
    num_sources: int,
    crop_samples: int,
    augmentation: Augmentation,
    masked: bool = True,
) -> Example:
    """Render a recipe: a crop at random around what is known of it, with the stems added.

    Known is where the segment and the excerpt of each added stem sound together (see
    :func:`place_excerpts`). Where that is longer than the crop, the crop lies inside it; where it
    is shorter, it lies inside the crop. The stems sound over the whole crop, as far as they have
    audio, so that nothing marks the ends. Each silent source is a group of its own, whose target
    is the stem added to it or silence; the others are one group, at the place of the first of
    them, whose target is the track itself.

    The mask holds where the crop is known, so nowhere is it empty. Without ``masked`` it holds
    everywhere, as in the paper; that is true only where what is known is as long as the crop.
    """
    known_start, known_stop = place_excerpts(rng, remix)
    crop_start = place_crop(rng, known_start, known_stop, remix.track_num_samples, crop_samples)
    change = augmentation.draw(rng)
    targets = _targets(read, remix.track_path, num_sources, crop_samples)
    membership = torch.zeros(num_sources, num_sources)
    known = np.zeros(crop_samples, dtype=bool)
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
    if not masked:
        known[:] = True

    filled = {*sounding[:1], *(stem.source for stem in remix.added)}
    targets[[source for source in range(num_sources) if source not in filled]] = 0
    return Example(
        mixture=_sum(targets),
        targets=torch.from_numpy(targets),
        membership=membership,
        mask=torch.from_numpy(known).expand(num_sources, -1),
        weight=torch.tensor(remix.weight),
    )


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


def collate(examples: Sequence[Example]) -> Example:
    """Stack examples of one crop length into a batch."""
    return Example(*(torch.stack(values) for values in zip(*examples, strict=True)))


def _targets(read: Reader, path: str, num_sources: int, num_samples: int) -> Audio:
    """Room for ``(S, C, T)``, with as many channels as a file has."""
    num_channels = len(read_crop(read, path, 0, 0))
    return np.empty((num_sources, num_channels, num_samples), dtype=np.float32)


def _sum(targets: Audio) -> Tensor:
    """Add up the sources; one after another is quicker than all at once."""
    mixture = targets[0] + targets[1] if len(targets) > 1 else targets[0].copy()
    for stem in targets[2:]:
        mixture += stem
    return torch.from_numpy(mixture)


def _random_start(rng: np.random.Generator, num_samples: int, crop_samples: int) -> int:
    """Draw where a crop starts; a track shorter than the crop starts with it."""
    return int(rng.integers(max(num_samples - crop_samples, 0) + 1))
