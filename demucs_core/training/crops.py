"""Crops of audio as training reads them, changed at random.

Shape legend: C audio channels, T samples of a crop. Audio comes through a reader, so that nothing
here knows files or buckets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demucs_core.configuration import check_above, check_at_least, check_share

Audio = NDArray[np.float32]


Reader = Callable[[str, int, int], Audio]
"""``read(path, start_sample, num_samples)`` gives ``(C, num_samples)``, zeros beyond the end.

Start and length are never negative. To work in loader processes, a reader must pickle.
"""


class Change(NamedTuple):
    """What is done to audio alike: a factor, and whether left and right are exchanged."""

    factor: float
    swap: bool

    def read(
        self, read: Reader, path: str, start_sample: int, into: Audio, *, gain_db: float = 0.0
    ) -> None:
        """Read ``into.shape[1]`` samples, changed, and with a gain of their own beside."""
        factor = np.float32(self.factor * 10 ** (gain_db / 20))
        read_into(read, path, start_sample, into[::-1] if self.swap else into, factor)


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
        check_above(self, 0, "gain_min")
        check_at_least(self, self.gain_min, "gain_max")
        check_share(self, "remix_probability")

    def draw(self, rng: np.random.Generator) -> Change:
        """Draw one gain, one exchange of channels and one sign."""
        gain = rng.uniform(self.gain_min, self.gain_max)
        swap, flip = rng.random(2) < 0.5
        return Change(
            factor=-gain if flip and self.flip_sign else gain,
            swap=bool(swap and self.swap_channels),
        )


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


def read_into(read: Reader, path: str, start_sample: int, out: Audio, factor: np.float32) -> None:
    """Read ``(C, T)`` to where it belongs, times a factor.

    A reader that has a method ``into(path, start_sample, out, factor)`` spares a copy.

    Raises:
        ValueError: the reader gave another shape; with path and shape.
    """
    into = getattr(read, "into", None)
    if into is not None:
        into(path, start_sample, out, factor)
    else:
        np.multiply(read_crop(read, path, start_sample, out.shape[1]), factor, out=out)
