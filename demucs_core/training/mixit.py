"""Mixture-invariant training: learning to separate from mixtures alone (arXiv 2006.12701).

Shape legend: B batch, M outputs of the model, C audio channels, T samples of a crop.

Two crops of unlabelled music are added up, and the model takes the sum apart. Nobody knows which of
its outputs belongs to which crop; so each goes to one of the two, in the way that fits them best,
and the loss is that of two groups with known sums (:mod:`demucs_core.training.weak_loss`).

Departures from the paper: the best way is that with the least squared error, and what is minimised
under it the L1 distance of everything else here, where the paper takes a thresholded
signal-to-noise ratio for both. The outputs are twice the sources, since two songs have so many. To
begin with music's mixtures and go on with labelled songs is what arXiv 2505.07631 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from demucs_core.training.crops import Augmentation, Reader
from demucs_core.training.examples import Example
from demucs_core.training.recipes import Recipe
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig

MIXTURES = 2
"""How many are added up."""
MOST_OUTPUTS = 12
"""2 to this power are the ways to share them out, all of which are tried."""


@dataclass(frozen=True, kw_only=True)
class MixtureTrack:
    """Unlabelled music: its audio, for the reader, and the length of that."""

    path: str
    num_samples: int


def output_names(num_sources: int) -> tuple[str, ...]:
    """What the outputs of a model are called that learns from mixtures.

    Raises:
        ValueError: they would be too many.

    >>> output_names(2)
    ('part-1', 'part-2', 'part-3', 'part-4')
    """
    num = MIXTURES * num_sources
    if num > MOST_OUTPUTS:
        raise ValueError(
            f"mixit tries all 2 to the {num} ways to share {num} outputs out; {num_sources} "
            f"sources are too many, {MOST_OUTPUTS // MIXTURES} are the most"
        )
    return tuple(f"part-{number}" for number in range(1, num + 1))


def mixture_example(
    rng: np.random.Generator,
    tracks: Sequence[MixtureTrack],
    read: Reader,
    *,
    num_outputs: int,
    crop_samples: int,
    augmentation: Augmentation,
) -> Example:
    """Draw a crop of each of two tracks, other ones where there are several, and add them up.

    Returns:
        An example of two groups. Its membership says of each output that it may be in either: see
        :func:`assigned`.
    """
    if len(tracks) > 1:
        places = rng.choice(len(tracks), MIXTURES, replace=False)
    else:
        places = np.zeros(MIXTURES, dtype=np.int64)
    targets: Tensor | None = None
    for number, place in enumerate(places.tolist()):
        track = tracks[place]
        start = int(rng.integers(max(track.num_samples - crop_samples, 0) + 1))
        if targets is None:
            channels = len(read(track.path, 0, 0))
            targets = torch.empty(MIXTURES, channels, crop_samples)
        augmentation.draw(rng).read(read, track.path, start, targets[number].numpy())
    assert targets is not None
    return Example(
        mixture=targets.sum(dim=0),
        targets=targets,
        membership=torch.ones(MIXTURES, num_outputs),
        mask=torch.ones(MIXTURES, crop_samples, dtype=torch.bool),
        weight=torch.tensor(1.0),
    )


@torch.no_grad()
def assigned(estimates: Tensor, targets: Tensor) -> Tensor:
    """Give each output to the mixture that it belongs to.

    Of all ways to share the outputs out, the one with the least squared error of the sums. The
    errors follow from the outputs' products with each other and with the mixtures, so that no sum
    is ever made.

    Args:
        estimates: ``(B, M, C, T)``.
        targets: ``(B, 2, C, T)``.

    Returns:
        Membership ``(B, 2, M)``, float32.

    >>> parts = torch.tensor([[[[1.0, 0.0]], [[0.0, 2.0]], [[0.5, 0.0]]]])
    >>> mixtures = torch.tensor([[[[0.0, 2.0]], [[1.5, 0.0]]]])
    >>> assigned(parts, mixtures)[0].tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    with torch.autocast(estimates.device.type, enabled=False):
        parts, sums = estimates.float().flatten(2), targets.float().flatten(2)
        products = torch.bmm(parts, parts.transpose(1, 2))
        with_sums = torch.bmm(sums, parts.transpose(1, 2))
        ways = _ways(estimates.shape[1], parts.device)  # (W, 2, M)
        # |x - Σ ŝ|² less |x|², which is the same for all ways
        squares = torch.einsum("wgm,bmn,wgn->bw", ways, products, ways)
        errors = squares - 2 * torch.einsum("wgm,bgm->bw", ways, with_sums)
        return ways[errors.argmin(dim=1)]


@lru_cache(maxsize=4)
def _ways(num_outputs: int, device: torch.device) -> Tensor:
    """All ways to share outputs out between two mixtures, ``(2^M, 2, M)``."""
    bits = torch.arange(2**num_outputs)[:, None] >> torch.arange(num_outputs) & 1
    return torch.stack([1 - bits, bits], dim=1).float().to(device)


class MixtureStream(ExampleStream):
    """Sums of two crops of unlabelled music, by index: as :class:`ExampleStream` in all else.

    All examples count as weak, since nothing of them is known by source.

    Args:
        config: see :class:`StreamConfig`; what it says of labelled examples and remixes has no use.
        mixtures: the unlabelled music.
        read: the reader of all audio.
        num_outputs: of the model.

    Raises:
        ValueError: there is no music.
    """

    def __init__(
        self,
        config: StreamConfig,
        *,
        mixtures: Sequence[MixtureTrack],
        read: Reader,
        num_outputs: int,
    ) -> None:
        if not mixtures:
            raise ValueError("there is no unlabelled track to learn from")
        self.config = config
        self.read = read
        self.num_sources = num_outputs
        self._mixtures = mixtures

    def num_weak_at(self, step: int) -> int:  # noqa: ARG002
        """All of them, at every step."""
        return self.config.batch_size

    def _draw_recipe(self, rng: np.random.Generator, step: int, place: int) -> None:
        """None, of any example."""

    def _make(self, rng: np.random.Generator, recipe: Recipe | None, crop_samples: int) -> Example:
        """A sum of two mixtures."""
        assert recipe is None
        return mixture_example(
            rng,
            self._mixtures,
            self.read,
            num_outputs=self.num_sources,
            crop_samples=crop_samples,
            augmentation=self.config.augmentation,
        )
