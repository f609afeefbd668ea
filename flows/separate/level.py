"""How loud a sound is, heard block by block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Level:
    """The RMS level and the peak of a sound, heard block by block."""

    def __init__(self) -> None:
        self._energy, self._num_values, self._peak = 0.0, 0, 0.0

    def hear(self, block: NDArray[np.float32]) -> None:
        """The next samples, of any shape."""
        if block.size:
            self._energy += float(np.square(block, dtype=np.float64).sum())
            self._num_values += block.size
            self._peak = max(self._peak, float(np.abs(block).max()))

    @property
    def level_db(self) -> float | None:
        """RMS level re full scale; None of digital silence."""
        return 10 * float(np.log10(self._energy / self._num_values)) if self._energy else None

    @property
    def peak_db(self) -> float | None:
        """Peak re full scale; None of digital silence."""
        return 20 * float(np.log10(self._peak)) if self._peak else None
