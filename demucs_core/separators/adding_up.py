"""Make stems add up to the mixture they came from.

Shape legend: S stems, C audio channels, N samples of a block.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

SMOOTHING_S: Final = 0.05
"""Time constant of the stems' power."""
POWER_FLOOR: Final = 1e-10
"""Below this power (-100 dB), stems count alike."""


class ResidualSpreader:
    """Spreads what the stems lack of the mixture over them, block after block.

    Each stem gets the share of the residual that it has of the stems' power, averaged over the
    channels and over the last 50 ms: a loud stem hides what is added to it, and a silent stem stays
    silent, which an equal share would end. The blocks' lengths make no difference.

    >>> spread = ResidualSpreader(2, 44_100)
    >>> stems = np.array([[[0.5, 0.5]], [[0.0, 0.0]]], dtype=np.float32)
    >>> spread(stems, np.ones((1, 2), dtype=np.float32)).round(3).tolist()
    [[[1.0, 1.0]], [[0.0, 0.0]]]
    """

    def __init__(self, num_stems: int, sample_rate: int) -> None:
        self._decay = math.exp(-1 / (SMOOTHING_S * sample_rate))
        self._state = np.full((num_stems, 1), self._decay * POWER_FLOOR)

    def __call__(
        self, stems: NDArray[np.float32], mixture: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Stems ``(S, C, N)`` that add up to the mixture ``(C, N)``."""
        from scipy.signal import lfilter  # whoever takes the stems as they are does not wait for it

        if not stems.shape[-1]:
            return stems  # of nothing, lfilter forgets its state
        power = np.square(stems, dtype=np.float64).mean(axis=1) + POWER_FLOOR
        power, self._state = lfilter(
            [1 - self._decay], [1, -self._decay], power, axis=-1, zi=self._state
        )
        shares = (power / power.sum(axis=0)).astype(np.float32)
        spread: NDArray[np.float32] = stems + shares[:, None] * (mixture - stems.sum(axis=0))
        return spread
