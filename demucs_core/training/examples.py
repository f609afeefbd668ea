"""Training examples from stems and from remix recipes, each a pure function of its random numbers.

Shape legend: S sources, G groups (always S places, some empty), C audio channels, T samples of a
crop.

Audio comes through a reader, so that this file knows neither files nor buckets. For what the
groups, targets and masks mean, see :mod:`demucs_core.training.weak_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.configuration import check_above, check_at_least, check_share
from demucs_core.stem_tracks import StemTrack, TrackPool

Audio = NDArray[np.float32]

Reader = Callable[[str, int, int], Audio]
"""``read(path, start_sample, num_samples)`` gives ``(C, num_samples)``, zeros beyond the end.

Start and length are never negative. To work in loader processes, a reader must pickle.
"""


class Example(NamedTuple):
    """What one training example knows; :func:`collate` adds a batch dimension in front."""

    mixture: Tensor
    """``(C, T)`` float32."""
    targets: Tensor
    """``(G, C, T)`` float32: the sum of each group's sources; zeros for empty groups."""
    membership: Tensor
    """``(G, S)`` float32: one where a source belongs to a group."""
    mask: Tensor
    """``(G, T)`` bool: where a group's sum is known."""
    weight: Tensor
    """Scalar float32: weight in the loss."""


@dataclass(frozen=True, kw_only=True)
class AddedStem:
    """An excerpt of a labelled stem that a recipe adds to a segment.

    Attributes:
        source: index of the source.
        path: the stem's audio, for the reader.
        num_samples: length of that audio, not of the excerpt.
        start_sample: place in it that meets the first sample of the segment.
        gain_db: gain on the stem.
    """

    source: int
    path: str
    num_samples: int
    start_sample: int
    gain_db: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe: a segment of an unlabelled track with silent sources, and stems to add to it.

    Attributes:
        remix_id: name, for messages.
        track_path: the track's audio, for the reader.
        track_num_samples: length of the track.
        segment_start_sample: first sample of the segment.
        segment_stop_sample: one past its last sample.
        silent: indexes of the sources that are silent in the segment.
        added: at most one stem for each silent source.
        weight: weight in the loss, the detector's confidence for example.

    Raises:
        ValueError: the segment isn't inside the track, or a stem is added to a source that isn't
            silent or has one already.
    """

    remix_id: str
    track_path: str
    track_num_samples: int
    segment_start_sample: int
    segment_stop_sample: int
    silent: tuple[int, ...]
    added: tuple[AddedStem, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        start, stop = self.segment_start_sample, self.segment_stop_sample
        if not 0 <= start < stop <= self.track_num_samples:
            raise ValueError(
                f"remix {self.remix_id}: segment [{start}, {stop}) is not inside its track of "
                f"{self.track_num_samples} samples"
            )
        sources = [stem.source for stem in self.added]
        if len(set(sources)) != len(sources) or not set(sources) <= set(self.silent):
            raise ValueError(
                f"remix {self.remix_id}: stems are added to sources {sources}, which must differ "
                f"and be among the silent ones, {list(self.silent)}"
            )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes to training audio, after those of the paper and of its authors' code.

    Supervised examples change source by source; a weak example, whose sums must stay true,
    changes as a whole. Departures: the authors' code shuffles the stems within each batch, always;
    here they come from the whole set, every second time. The gain is that of the code; the paper
    speaks of signs, channels and shuffled stems alone.

    Attributes:
        gain_min: smallest gain, linear.
        gain_max: largest gain, linear.
        swap_channels: exchange left and right, every second time.
        flip_sign: turn the waveform upside down, every second time.
        remix_probability: how often a supervised example has each stem from a track of its own.

    Raises:
        ValueError: a field out of range, by name.
    """

    gain_min: float = 0.25
    gain_max: float = 1.25
    swap_channels: bool = True
    flip_sign: bool = True
    remix_probability: float = 0.5

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        check_above(self, 0, "gain_min")
        check_at_least(self, self.gain_min, "gain_max")
        check_share(self, "remix_probability")

    def apply(self, rng: np.random.Generator, audio: Audio) -> Audio:
        """Change ``(..., C, T)`` with one gain, one exchange of channels and one sign for all."""
        gain = rng.uniform(self.gain_min, self.gain_max)
        swap, flip = rng.random(2) < 0.5
        if swap and self.swap_channels:
            audio = audio[..., ::-1, :]
        return audio * np.float32(-gain if flip and self.flip_sign else gain)


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
    targets: list[Audio | None] = [None] * num_sources
    membership = torch.zeros(num_sources, num_sources)
    for group in groups:
        if remixed:
            chosen = tracks.draw_having(rng, group)
            start = _random_start(rng, chosen.num_samples, crop_samples)
        stem = read_crop(read, chosen.path_of(group), start, crop_samples)
        targets[group[0]] = augmentation.apply(rng, stem)
        membership[group[0], list(group)] = 1
    return _of_groups(targets, membership)


def _of_groups(targets: Sequence[Audio | None], membership: Tensor) -> Example:
    """An example that knows each group's sum everywhere; places without a group are silent."""
    [shape, *_] = [stem.shape for stem in targets if stem is not None]
    silence = np.zeros(shape, dtype=np.float32)
    stacked = torch.from_numpy(np.stack([silence if one is None else one for one in targets]))
    return Example(
        mixture=stacked.sum(dim=0),
        targets=stacked,
        membership=membership,
        mask=torch.ones(len(targets), shape[1], dtype=torch.bool),
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
    """Render a recipe: a crop at random around its segment, with the stems added to it.

    A segment longer than the crop holds the crop; a shorter one lies inside it. The stems sound
    over the whole crop, so that nothing marks the segment's ends. Each silent source is a group
    of its own, whose target is the stem added to it or silence; the others are one group, at the
    place of the first of them, whose target is the track itself.

    The mask holds where the crop is inside the segment and each added stem has audio. Without
    ``masked`` it holds everywhere, as in the paper; that is true only of segments as long as the
    crop.
    """
    crop_start = place_crop(rng, remix, crop_samples)
    original = read_crop(read, remix.track_path, crop_start, crop_samples)
    targets = np.zeros((num_sources, *original.shape), dtype=np.float32)
    membership = torch.zeros(num_sources, num_sources)
    known = np.zeros(crop_samples, dtype=bool)
    segment_start = remix.segment_start_sample - crop_start
    segment_stop = remix.segment_stop_sample - crop_start
    known[max(segment_start, 0) : max(segment_stop, 0)] = True

    for source in remix.silent:
        membership[source, source] = 1
    for stem in remix.added:
        # Sample `first` of the stem would meet the crop's first; before 0 there is no stem.
        first = stem.start_sample - segment_start
        start = min(max(-first, 0), crop_samples)
        stop = max(min(stem.num_samples - first, crop_samples), start)
        if stop > start:
            audio = read_crop(read, stem.path, first + start, stop - start)
            targets[stem.source, :, start:stop] = audio * np.float32(10 ** (stem.gain_db / 20))
        known[:start] = False
        known[stop:] = False
    sounding = [source for source in range(num_sources) if source not in remix.silent]
    if sounding:
        targets[sounding[0]] = original
        membership[sounding[0], sounding] = 1
    if not masked:
        known[:] = True

    changed = torch.from_numpy(augmentation.apply(rng, targets))
    return Example(
        mixture=changed.sum(dim=0),
        targets=changed,
        membership=membership,
        mask=torch.from_numpy(known).expand(num_sources, -1),
        weight=torch.tensor(remix.weight),
    )


def place_crop(rng: np.random.Generator, remix: Recipe, crop_samples: int) -> int:
    """Draw where in the track a crop starts that covers as much of the segment as it can.

    It stays inside the track where the track is long enough, and else starts with it.
    """
    start, stop = remix.segment_start_sample, remix.segment_stop_sample
    if stop - start >= crop_samples:
        return int(rng.integers(start, stop - crop_samples + 1))
    earliest = max(stop - crop_samples, 0)
    latest = min(start, max(remix.track_num_samples - crop_samples, 0))
    return int(rng.integers(earliest, latest + 1))


def collate(examples: Sequence[Example]) -> Example:
    """Stack examples of one crop length into a batch."""
    return Example(*(torch.stack(values) for values in zip(*examples, strict=True)))


def read_crop(read: Reader, path: str, start_sample: int, num_samples: int) -> Audio:
    """Read ``(C, num_samples)``, and check that this is what came.

    Raises:
        ValueError: the reader gave another shape; with path and shape.
    """
    audio = read(path, start_sample, num_samples)
    if audio.ndim != 2 or audio.shape[1] != num_samples:
        raise ValueError(
            f"reading {num_samples} samples of {path} gave an array of shape {audio.shape}"
        )
    return audio


def _random_start(rng: np.random.Generator, num_samples: int, crop_samples: int) -> int:
    """Draw where a crop starts; a track shorter than the crop starts with it."""
    return int(rng.integers(max(num_samples - crop_samples, 0) + 1))
