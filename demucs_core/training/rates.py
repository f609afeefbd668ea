"""The learning rate at a step: decided by the configuration and the validations so far alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from demucs_core.training.training_config import TrainingConfig


def rate_at(step: int, config: TrainingConfig, improved: Sequence[bool]) -> float:
    """Return the learning rate of the step that follows ``step`` others.

    Args:
        step: optimiser steps done.
        config: says how the rate goes.
        improved: of each validation so far, whether it was better than all before.

    >>> warm = TrainingConfig(learning_rate=1.0, warmup_steps=4, schedule="cosine", steps=12)
    >>> [round(rate_at(step, warm, ()), 2) for step in (0, 3, 4, 8, 11)]
    [0.25, 1.0, 1.0, 0.5, 0.04]
    >>> plateau = TrainingConfig(learning_rate=1.0, schedule="plateau", plateau_patience=2)
    >>> rate_at(9, plateau, (True, False, True, False)), rate_at(9, plateau, (True, False, False))
    (1.0, 0.5)
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    share = 1.0
    if config.schedule == "cosine":
        done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
        least = config.least_rate_share
        share = least + (1 - least) * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "plateau":
        share = config.plateau_factor ** num_plateaus(improved, config.plateau_patience)
        share = max(share, config.least_rate_share)
    return config.learning_rate * share


def num_plateaus(improved: Sequence[bool], patience: int) -> int:
    """Return how many stretches of ``patience`` validations in a row there are without a better.

    >>> num_plateaus([True, False, False, False, True, False], patience=2)
    1
    """
    found = waited = 0
    for better in improved:
        waited = 0 if better else waited + 1
        if waited == patience:
            found, waited = found + 1, 0
    return found


def num_waited(improved: Sequence[bool]) -> int:
    """Return how many validations there were since the last that was better than all before.

    >>> num_waited([True, True, False, False])
    2
    """
    waited = 0
    for better in improved:
        waited = 0 if better else waited + 1
    return waited
