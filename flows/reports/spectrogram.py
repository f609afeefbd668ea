"""What a sound looks like, as a small picture under its player."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

COLUMNS, WINDOW = 640, 1024
RANGE_DB = 80.0
LOWEST_HZ = 40.0
ROWS = 128


def spectrogram_png(audio_ct: np.ndarray, sample_rate: int) -> bytes:
    """A picture of power over time and, logarithmically, frequency.

    Args:
        audio_ct: audio of shape ``(C, T)``; both sides are shown as one.
        sample_rate: samples a second.

    Returns:
        A PNG file of 128 rows, from 40 Hz to half the rate: 80 dB below the loudest are black.
    """
    mono = audio_ct.mean(axis=0, dtype=np.float64)
    hop = max(1, mono.size // COLUMNS)
    frames = sliding_window_view(np.pad(mono, WINDOW // 2), WINDOW)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))).T ** 2
    level_db = 10 * np.log10(power + 1e-12 * max(float(power.max()), 1e-12))
    frequencies = np.geomspace(LOWEST_HZ, sample_rate / 2, ROWS)
    rows = np.clip((frequencies * WINDOW / sample_rate).round().astype(int), 0, len(level_db) - 1)
    top_db = float(level_db.max())
    buffer = io.BytesIO()
    matplotlib.image.imsave(
        buffer, level_db[rows], vmin=top_db - RANGE_DB, vmax=top_db, cmap="magma",
        origin="lower", format="png",
    )  # fmt: skip
    return buffer.getvalue()
