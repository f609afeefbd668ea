"""Windows are trusted by whichever measure tells right from wrong on songs that are known."""

from __future__ import annotations

import numpy as np
import pytest

from demucs_core.separators.confidence import Measure, Windows, choose_rule, trusted_stretches

WINDOW, NUM = 100, 20


def heard(*, wrong: Measure, seed: int = 0) -> Windows:
    """A song whose even windows are wrong, as one of the measures alone can tell."""
    rng = np.random.default_rng(seed)
    stems = rng.standard_normal((2, 1, WINDOW * NUM)).astype(np.float32)
    is_wrong = np.arange(WINDOW * NUM) // WINDOW % 2 == 0
    noise = rng.standard_normal(stems.shape).astype(np.float32) * is_wrong
    hiss = 0.01 * rng.standard_normal((2, *stems.shape)).astype(np.float32)
    if wrong == "agreement":  # another error each time, which the sum does not tell
        noise[1] = -noise[0]
        passes = np.stack([stems + noise, stems - 0.8 * noise]) + hiss
    else:
        passes = np.stack([stems + noise, stems + noise]) + hiss
    windows = Windows.empty(stems.shape[-1], WINDOW)
    for start in range(0, stems.shape[-1], 330):  # blocks that end inside windows
        part = np.s_[..., start : start + 330]
        windows.add(start, WINDOW, passes[part], stems.sum(axis=0)[part], stems[part])
    return windows


@pytest.mark.parametrize("measure", ["agreement", "consistency"])
def test_the_measure_that_tells_is_chosen(measure: Measure) -> None:
    songs = [heard(wrong=measure, seed=seed) for seed in range(3)]
    rule = choose_rule(songs, 0.5)
    assert rule.measure == measure
    assert rule.kept_sdr_db > rule.all_sdr_db + 10
    trusted = trusted_stretches(heard(wrong=measure, seed=9), rule, min_windows=1, least_energy=0)
    assert {start % 2 for start, _, _ in trusted} == {1}
    assert all(stop == start + 1 and 0.9 < sure <= 1 for start, stop, sure in trusted)
    assert trusted_stretches(heard(wrong=measure), rule, min_windows=2, least_energy=0) == []


def test_what_is_too_quiet_is_not_kept_however_sure() -> None:
    rule = choose_rule([heard(wrong="agreement")], 1.0)
    [(start, stop, _)] = trusted_stretches(
        heard(wrong="agreement"), rule, min_windows=1, least_energy=0
    )
    assert (start, stop) == (0, NUM)
    assert not trusted_stretches(
        heard(wrong="agreement"), rule, min_windows=1, least_energy=10 * WINDOW
    )


def test_energies_are_those_of_the_whole_signals() -> None:
    windows = heard(wrong="consistency")
    assert windows.residual.sum() == pytest.approx(windows.error.sum(), rel=0.2)
    assert windows.mixture.shape == (NUM,)
    with pytest.raises(ValueError, match="no window"):
        choose_rule([], 0.5)
