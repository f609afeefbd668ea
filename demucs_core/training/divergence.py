"""Whether a training goes wrong: its loss is not finite, or far above what it began with."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

SPAN = 100
"""Steps whose losses the mean is about."""
DIVERGED = 5.0
"""Times the mean loss of the first steps, from which on a training has diverged."""
CALM = 2.0
"""Times that mean, up to which what was learned is worth a checkpoint."""


class DivergedError(FloatingPointError):
    """A training that goes wrong, and would not come back by itself."""


class NonFiniteLossError(DivergedError):
    """The loss of a step, or its gradient, is NaN or infinite, so that training can't go on."""


@dataclass
class LossWatch:
    """Follows the mean of the last losses, about a hundred.

    A model that learns nothing gives silence, whose loss is that of the first steps; what is far
    above is worse than nothing.

    Attributes:
        num_losses: how many there were.
        mean: of the last ones.
        first_mean: of the first hundred; 0 before they are complete.
    """

    num_losses: int = 0
    mean: float = 0.0
    first_mean: float = 0.0

    def add(self, loss: float) -> None:
        """Take in the loss of a step.

        Raises:
            DivergedError: it is too much.
        """
        self.num_losses += 1
        self.mean += (loss - self.mean) / min(self.num_losses, SPAN)
        if self.num_losses == SPAN:
            self.first_mean = self.mean
        if self.mean > DIVERGED * self._first:
            raise DivergedError(
                f"the mean loss is {self.mean:.3g}, and was {self.first_mean:.3g} in the first "
                f"{SPAN} steps"
            )

    @property
    def calm(self) -> bool:
        """Whether the losses are such that what was learned is worth keeping."""
        return self.mean <= CALM * self._first

    @property
    def _first(self) -> float:
        return self.first_mean if self.num_losses >= SPAN else math.inf

    def state(self) -> dict[str, Any]:
        """What it takes to continue, JSON-able."""
        return asdict(self)
