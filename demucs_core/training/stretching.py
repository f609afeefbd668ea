"""Tempo and pitch of single examples, changed at random.

Shape legend: G groups (always S places, some empty), C audio channels, T samples of a crop.

All that is heard in an example changes alike, as in official demucs (its ``RepitchedWrapper`` with
``same``): drums at one tempo and a bass at another are no song. No stretcher is linear, so each
group's target is stretched by itself, and the mixture is their sum: what was known stays true.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from demucs_core.configuration import check_at_least, check_below, check_share
from demucs_core.runs import find_runs
from demucs_core.training.crops import Audio

if TYPE_CHECKING:
    from demucs_core.training.examples import Example

BLOCK_S = 0.12
"""Length of Signalsmith Stretch's window: so far is a sample smeared."""
_SPREAD = 5 / 12
"""Standard deviation of tempos, of the largest change; official demucs has 5 and 12 %."""


class Stretch(NamedTuple):
    """What is done to an example: times the tempo, and up or down in pitch."""

    tempo: float
    semitones: int

    def samples_for(self, num_samples: int) -> int:
        """How many samples become so many, or a few more."""
        return math.ceil(num_samples * self.tempo) + 1


@dataclass(frozen=True, kw_only=True)
class Stretching:
    """How often and how far tempo and pitch change: off, unless asked for.

    Attributes:
        probability: how often an example is stretched. Both are drawn then, as official demucs does
            with 0.2.
        tempo: largest change of the tempo, as a share: normally distributed, and cut off there.
        semitones: largest change of the pitch; whole ones, evenly.
        sample_rate: of the audio; 0 where nothing is stretched.

    Raises:
        ValueError: a field out of range, by name.
    """

    probability: float = 0.0
    tempo: float = 0.12
    semitones: int = 2
    sample_rate: int = 0

    def __post_init__(self) -> None:
        check_share(self, "probability")
        check_at_least(self, 0, "tempo", "semitones")
        check_below(self, 1, "tempo")
        check_at_least(self, 1 if self.probability else 0, "sample_rate")

    def draw(self, rng: np.random.Generator) -> Stretch | None:
        """Draw what is done to an example; None where nothing is."""
        chance, deviation = rng.random(), rng.normal()
        semitones = int(rng.integers(-self.semitones, self.semitones + 1))
        if chance >= self.probability:
            return None
        change = float(np.clip(deviation * self.tempo * _SPREAD, -self.tempo, self.tempo))
        return Stretch(1 + change, semitones) if change or semitones else None

    def leaves_known(self, stretch: Stretch, num_known: int) -> bool:
        """Whether of so many known samples anything stays known (see :func:`stretched`)."""
        return num_known / stretch.tempo > 2 * self.guard_samples + 2

    @property
    def guard_samples(self) -> int:
        """How far from its ends a known stretch is known no more."""
        return round(BLOCK_S * self.sample_rate)


def stretched(example: Example, stretch: Stretch, config: Stretching, crop_samples: int) -> Example:
    """Stretch an example.

    The mask is stretched with the audio, and ends a window earlier where it ends inside the crop:
    there the stretcher mixes what is known with what is not.

    Args:
        example: of ``stretch.samples_for(crop_samples)`` samples; left as it is. All groups are
            known at the same time.
        stretch: what to do.
        config: that it was drawn from.
        crop_samples: to make.
    """
    import torch  # whoever reads options does not wait for it

    given = example.targets.numpy()
    targets = np.zeros((*given.shape[:2], crop_samples), dtype=np.float32)
    for target, audio in zip(targets, given, strict=True):
        if audio.any():
            target[:] = stretch_audio(audio, stretch, config.sample_rate)[:, :crop_samples]
    known = _stretched_mask(
        example.mask[0].numpy(), stretch.tempo, crop_samples, config.guard_samples
    )
    made = torch.from_numpy(targets)
    return example._replace(
        mixture=made.sum(dim=0),
        targets=made,
        mask=torch.from_numpy(known).expand(len(targets), -1),
    )


def stretch_audio(audio: Audio, stretch: Stretch, sample_rate: int) -> Audio:
    """Change tempo and pitch of ``(C, T)``: about ``T / tempo`` samples, the same each time."""
    from python_stretch import Signalsmith

    stretcher = Signalsmith.Stretch(0)
    stretcher.preset(len(audio), sample_rate)
    stretcher.setTransposeSemitones(stretch.semitones)
    stretcher.timeFactor = stretch.tempo
    return np.asarray(stretcher.process(np.ascontiguousarray(audio)), dtype=np.float32)


def _stretched_mask(
    known: NDArray[np.bool_], tempo: float, num_samples: int, guard: int
) -> NDArray[np.bool_]:
    made = np.zeros(num_samples, dtype=bool)
    for start, stop in zip(*(ends.tolist() for ends in find_runs(known)), strict=True):
        first = math.ceil(start / tempo) + guard if start else 0
        last = math.floor(stop / tempo) - guard if stop < len(known) else num_samples
        made[first : max(last, first)] = True
    return made
