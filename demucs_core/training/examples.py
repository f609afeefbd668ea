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
from demucs_core.training.crops import Audio, Augmentation, Reader
from demucs_core.training.recipes import Recipe
from demucs_core.training.rendering import Rendered, render, room_for

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
    membership = np.zeros((num_sources, num_sources), dtype=np.float32)
    for group in groups:
        if remixed:
            chosen = tracks.draw_having(rng, group)
            start = _random_start(rng, chosen.num_samples, crop_samples)
        path = chosen.path_of(group)
        if targets is None:
            targets = room_for(read, path, num_sources, crop_samples)
        augmentation.draw(rng).read(read, path, start, targets[group[0]])
        membership[group[0], list(group)] = 1
    assert targets is not None, "a song has a stem"
    targets[~membership.any(axis=1)] = 0
    known = np.ones(crop_samples, dtype=np.bool_)
    return _example(Rendered(targets=targets, membership=membership, known=known), 1.0)


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
    """A crop of a recipe at random, as :func:`~demucs_core.training.rendering.render` makes it.

    The mask holds where the crop is known, so nowhere is it empty. Without ``masked`` it holds
    everywhere, as in the paper; that is true only where what is known is as long as the crop.
    """
    rendered = render(
        rng, remix, read,
        num_sources=num_sources, crop_samples=crop_samples, augmentation=augmentation,
    )  # fmt: skip
    if not masked:
        rendered.known[:] = True
    return _example(rendered, remix.weight)


def _example(rendered: Rendered, weight: float) -> Example:
    return Example(
        mixture=torch.from_numpy(rendered.mixture()),
        targets=torch.from_numpy(rendered.targets),
        membership=torch.from_numpy(rendered.membership),
        mask=torch.from_numpy(rendered.known).expand(len(rendered.targets), -1),
        weight=torch.tensor(weight),
    )


def collate(examples: Sequence[Example]) -> Example:
    """Stack examples of one crop length into a batch."""
    return Example(*(torch.stack(values) for values in zip(*examples, strict=True)))


def _random_start(rng: np.random.Generator, num_samples: int, crop_samples: int) -> int:
    """Draw where a crop starts; a track shorter than the crop starts with it."""
    return int(rng.integers(max(num_samples - crop_samples, 0) + 1))
