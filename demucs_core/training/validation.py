"""How good a model is on a fixed set of crops, cheaply: between training steps, not for papers.

Shape legend: B batch, S sources, C audio channels, T samples of a crop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from demucs_core.separators.registry import SeparationModel

MAX_SDR_DB = 100.0
"""Where the SDR of a perfect estimate ends."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One look at the validation crops.

    Attributes:
        step: optimiser steps done.
        train_loss: mean loss of the steps since the validation before.
        loss: mean absolute error over all sources and crops; without crops, ``train_loss``.
        sdr_db: for each source, its energy over the energy of the error, both summed over all
            crops; NaN where a source is silent in all of them. Empty without crops.
        best: whether no earlier validation had a loss as low.
    """

    step: int
    train_loss: float
    loss: float
    sdr_db: tuple[float, ...]
    best: bool

    @property
    def mean_sdr_db(self) -> float:
        """Mean over the sources that sound; NaN if none does."""
        finite = [value for value in self.sdr_db if not math.isnan(value)]
        return sum(finite) / len(finite) if finite else math.nan

    def to_json(self) -> dict[str, Any]:
        """Describe it in JSON, which has no NaN: null stands for it."""
        sdr_db = [None if math.isnan(value) else value for value in self.sdr_db]
        return {**asdict(self), "sdr_db": sdr_db}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Validation:
        """Undo :meth:`to_json`."""
        sdr_db = tuple(math.nan if value is None else value for value in values["sdr_db"])
        return cls(**{**values, "sdr_db": sdr_db})


def measure_crops(
    model: SeparationModel, crops: Sequence[Tensor], *, batch_size: int
) -> tuple[float, tuple[float, ...]]:
    """Measure a model on the mixtures of crops.

    The SDR is the pooled one, not museval's: a source's energy over the energy of the error, both
    summed over all crops, so that crops in which the source hardly sounds don't decide it.

    Args:
        model: runs where its weights are, and is left in evaluation mode.
        crops: at least one, stems ``(S, C, T)`` of one shape; their sum is the mixture.
        batch_size: crops that run at once.

    Returns:
        The mean absolute error over everything, and an SDR in dB for each source: NaN where the
        source is silent in all crops.
    """
    device = next(model.parameters()).device
    model.eval()
    num_sources = crops[0].shape[0]
    absolute = 0.0
    energy = torch.zeros(num_sources, dtype=torch.float64)
    error_energy = torch.zeros(num_sources, dtype=torch.float64)
    for first in range(0, len(crops), batch_size):
        stems = torch.stack(list(crops[first : first + batch_size])).to(device)
        with torch.inference_mode():
            error = model(stems.sum(dim=1)).float() - stems
            # Squares of float32 summed over minutes of audio need more than its 24 bits.
            absolute += float(error.abs().sum(dtype=torch.float64))
            energy += stems.square().sum(dim=(0, 2, 3), dtype=torch.float64).cpu()
            error_energy += error.square().sum(dim=(0, 2, 3), dtype=torch.float64).cpu()
    loss = absolute / sum(crop.numel() for crop in crops)
    sdr_db = tuple(
        _sdr_db(*pair) for pair in zip(energy.tolist(), error_energy.tolist(), strict=True)
    )
    return loss, sdr_db


def _sdr_db(energy: float, error_energy: float) -> float:
    """Return the ratio in dB, at most :data:`MAX_SDR_DB`, or NaN where there is no source."""
    if energy == 0:
        return math.nan
    return 10 * math.log10(energy / max(error_energy, energy * 10 ** (-MAX_SDR_DB / 10)))
