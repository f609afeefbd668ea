from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from demucs_core.separators.adding_up import ResidualSpreader

RATE = 8_000


def song(num_samples: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Stems of which the last is silent, and a mixture that they do not add up to."""
    rng = np.random.default_rng(seed)
    stems = 0.1 * rng.standard_normal((3, 2, num_samples)).astype(np.float32)
    stems[2] = 0
    residual = 0.01 * rng.standard_normal((2, num_samples)).astype(np.float32)
    return stems, stems.sum(0) + residual


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
def test_stems_add_up_however_they_are_cut(lengths: list[int]) -> None:
    stems, mixture = song(sum(lengths))
    spread = ResidualSpreader(3, RATE)
    bounds = [0, *np.cumsum(lengths)]
    blocks = [
        spread(stems[..., first:last], mixture[:, first:last]) for first, last in pairwise(bounds)
    ]
    whole = ResidualSpreader(3, RATE)(stems, mixture)
    np.testing.assert_allclose(np.concatenate(blocks, axis=-1), whole, rtol=0, atol=1e-7)
    np.testing.assert_allclose(whole.sum(0), mixture, rtol=0, atol=1e-6)


def test_silent_stems_stay_silent_and_loud_ones_get_most() -> None:
    stems, _ = song(RATE)
    stems[0] *= 4
    added = ResidualSpreader(3, RATE)(stems, stems.sum(0) + np.float32(0.01)) - stems
    assert np.abs(added[2]).max() < 1e-5
    assert added[0].mean() > 5 * added[1].mean() > 0


def test_silence_all_over_is_shared_alike() -> None:
    silence = np.zeros((4, 1, 100), dtype=np.float32)
    spread = ResidualSpreader(4, RATE)(silence, np.full((1, 100), 0.4, dtype=np.float32))
    np.testing.assert_allclose(spread, 0.1, rtol=1e-6)
