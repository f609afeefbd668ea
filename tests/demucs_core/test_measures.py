"""Each measure finds what it is about, however the audio is cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from demucs_core.activity import FLOOR_DB
from demucs_core.measures import Measures, Measuring

RATE = 44_100
rng = np.random.default_rng(0)
NOISE = 0.1 * rng.standard_normal((4 * RATE, 2))


def measured(audio: np.ndarray, block: int = 50_000) -> Measures:
    """Of ``(T, C)`` audio, in blocks."""
    measuring = Measuring(RATE, audio.shape[1])
    pcm = np.rint(audio * 32_768).clip(-32_768, 32_767).astype(np.int16)
    for start in range(0, len(pcm), block):
        measuring.feed(pcm[start : start + block])
    return measuring.finish()


@pytest.mark.parametrize("block", [4_097, 44_100, 150_001])
def test_blocks_do_not_matter(block: int) -> None:
    assert measured(NOISE, block) == measured(NOISE, len(NOISE))


@pytest.mark.parametrize("cutoff_hz", [4_000, 11_000, 16_000])
def test_the_bandwidth_is_that_of_the_low_pass(cutoff_hz: int) -> None:
    steep = butter(30, cutoff_hz, fs=RATE, output="sos")
    found = measured(sosfilt(steep, NOISE, axis=0)).bandwidth_hz
    assert cutoff_hz < found < 1.4 * cutoff_hz
    assert measured(NOISE).bandwidth_hz > 21_500


def test_mono_stereo_silence_clipping_and_offset() -> None:
    one = NOISE[:, :1]
    assert measured(np.repeat(one, 2, axis=1)).side_db == FLOOR_DB
    assert measured(one).side_db == FLOOR_DB
    assert -1 < measured(NOISE).side_db < 1
    assert measured(NOISE + np.array([0.25, 0.0])).dc_offset == pytest.approx(0.25, abs=0.001)
    half = NOISE.copy()
    half[: 2 * RATE] = 0
    assert measured(half).silent_share == pytest.approx(0.5, abs=0.03)
    assert measured(NOISE).clipped_share == 0
    clipped = NOISE.copy()
    clipped[1000:2000] = 1.0
    clipped[3000] = 1.0  # a peak, which is no clipping
    assert measured(clipped).clipped_share == pytest.approx(1000 / len(NOISE))
    nothing = measured(np.zeros((0, 2)))
    assert nothing.bandwidth_hz == nothing.dc_offset == nothing.silent_share == 0
    assert measured(np.zeros((RATE, 2))).silent_share == 1
