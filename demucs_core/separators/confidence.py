"""How sure a separator is of what it made, window by window, and which windows to trust.

Shape legend: P passes with other random shifts, S sources, C audio channels, N samples of a block,
W windows.

Two measures, in dB, of which neither needs the stems:

- ``agreement``: energy of the estimates over that of what sets the passes apart. A model that made
  a source up makes another one up where a piece begins elsewhere.
- ``consistency``: energy of the mixture over that of what the estimates lack of it. All errors of
  the sources together add up to that, so that it bounds them from below.

Which of them tells right from wrong better is asked of songs whose stems are known, that the model
was not trained on: the measure is the one whose surer half has the higher SDR there, the threshold
its quantile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from demucs_core.runs import drop_short_runs, find_runs

FloatArray = NDArray[np.float64]
Measure = Literal["agreement", "consistency"]
MEASURES: Final[tuple[Measure, ...]] = ("agreement", "consistency")
HALF: Final = 0.5
MOST_DB: Final = 100.0


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Energies of the windows of a song or track, ``(W,)`` each, summed over sources and channels.

    Attributes:
        mixture: of the mixture.
        estimates: of the mean of the passes.
        spread: of what sets a pass apart from that mean, on average over the passes.
        residual: of what the estimates lack of the mixture.
        stems: of the true stems; zeros where nobody knows them.
        error: of the estimates' error; likewise.
    """

    mixture: FloatArray
    estimates: FloatArray
    spread: FloatArray
    residual: FloatArray
    stems: FloatArray
    error: FloatArray

    @classmethod
    def empty(cls, num_samples: int, window_samples: int) -> Windows:
        """Of a song of which nothing was heard yet."""
        num = -(-num_samples // window_samples)
        return cls(**{name: np.zeros(num) for name in cls.__dataclass_fields__})

    def add(
        self,
        start_sample: int,
        window_samples: int,
        passes: NDArray[np.float32],
        mixture: NDArray[np.float32],
        stems: NDArray[np.float32] | None = None,
    ) -> None:
        """Add the energies of a block.

        Args:
            start_sample: where in the song the block begins.
            window_samples: length of a window.
            passes: ``(P, S, C, N)``.
            mixture: ``(C, N)``.
            stems: ``(S, C, N)``, where they are known.
        """
        mean = passes.mean(axis=0)
        signals = {
            "mixture": mixture,
            "estimates": mean,
            "residual": mixture - mean.sum(axis=0),
        }
        if stems is not None:
            signals |= {"stems": stems, "error": stems - mean}
        place = (start_sample + np.arange(mixture.shape[-1])) // window_samples
        for name, signal in signals.items():
            self._add(name, place, signal)
        for each in passes:
            self._add("spread", place, each - mean, 1 / len(passes))

    def _add(
        self, name: str, place: NDArray[np.int64], signal: NDArray[np.float32], share: float = 1.0
    ) -> None:
        energy: FloatArray = getattr(self, name)
        power = np.square(signal, dtype=np.float64).reshape(-1, signal.shape[-1]).sum(axis=0)
        energy += share * np.bincount(place, power, len(energy))

    def confidence_db(self, measure: Measure) -> FloatArray:
        """How sure the model is of each window, ``(W,)`` in dB."""
        if measure == "agreement":
            return _ratio_db(self.estimates, self.spread)
        return _ratio_db(self.mixture, self.residual)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Which windows to trust.

    Attributes:
        measure: that they are measured by.
        least_db: what they reach at least.
        kept_sdr_db: SDR, over all sources, of the known songs' windows that are trusted.
        all_sdr_db: that of all their windows.
    """

    measure: Measure
    least_db: float
    kept_sdr_db: float
    all_sdr_db: float


def choose_rule(songs: Sequence[Windows], keep_share: float) -> Rule:
    """The rule that songs with known stems lead to.

    Args:
        songs: that the model was not trained on.
        keep_share: share of their windows that are to be trusted.

    Raises:
        ValueError: there is no window.
    """
    if not any(len(song.mixture) for song in songs):
        raise ValueError("there is no window to choose by")
    stems, error = (
        np.concatenate([getattr(song, name) for song in songs]) for name in ("stems", "error")
    )
    sure: Mapping[Measure, FloatArray] = {
        measure: np.concatenate([song.confidence_db(measure) for song in songs])
        for measure in MEASURES
    }

    def kept_sdr_db(measure: Measure, least_db: float) -> float:
        kept = sure[measure] >= least_db
        return float(_ratio_db(stems[kept].sum(), error[kept].sum()))

    best = max(MEASURES, key=lambda measure: kept_sdr_db(measure, _quantile(sure[measure], HALF)))
    # a tenth of a dB is the same on every device
    least_db = round(_quantile(sure[best], keep_share), 1)
    least_db = min(least_db, float(sure[best].max()))
    return Rule(
        measure=best,
        least_db=least_db,
        kept_sdr_db=kept_sdr_db(best, least_db),
        all_sdr_db=float(_ratio_db(stems.sum(), error.sum())),
    )


def trusted_stretches(
    track: Windows, rule: Rule, *, min_windows: int, least_energy: float
) -> list[tuple[int, int, float]]:
    """Stretches of windows that are all trusted and heard.

    Args:
        track: its windows.
        rule: which to trust.
        min_windows: of the shortest stretch.
        least_energy: of the mixture in a window, below which nothing is heard.

    Returns:
        First window, one past the last, and the share of the energy that is sure, 0 to 1.
    """
    sure_db = track.confidence_db(rule.measure)
    trusted = (sure_db >= rule.least_db) & (track.mixture >= least_energy)
    starts, stops = find_runs(drop_short_runs(trusted, min_windows))
    odds = 10 ** (sure_db / 10)
    return [
        (start, stop, float(np.mean(odds[start:stop] / (1 + odds[start:stop]))))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    ]


def _quantile(values: FloatArray, keep_share: float) -> float:
    return float(np.quantile(values, 1 - keep_share))


def _ratio_db(signal: FloatArray, noise: FloatArray) -> FloatArray:
    """Signal over noise in dB, at most ``MOST_DB`` and at least its negative; 0 of nothing."""
    tiny = 1e-12
    found: FloatArray = 10 * np.log10((signal + tiny) / (noise + tiny))
    return np.clip(found, -MOST_DB, MOST_DB)
