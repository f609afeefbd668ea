"""How good a model is on a fixed set of crops, cheaply: between training steps, not for papers.

Shape legend: B batch, S sources, G groups (always S places, some empty), C audio channels,
T samples of a crop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from demucs_core.separators.separator import SeparationModel
from demucs_core.stem_tracks import StemTrack
from demucs_core.training.crops import Reader, read_crop

MAX_SDR_DB = 100.0
"""Where the SDR of a perfect estimate ends."""
GROUPED_VALIDATION = 2
"""Version of what songs that are known in sums count in the loss."""
CURRENT = "current"
"""The weights themselves, and no average of them."""


class ValidationCrop(NamedTuple):
    """Stems of a crop; their sum is the mixture.

    Attributes:
        targets: ``(G, C, T)`` float32: the sum of each group's sources; zeros for empty groups.
        membership: ``(G, S)`` float32: one where a source belongs to a group.
    """

    targets: Tensor
    membership: Tensor

    @property
    def knows_a_source(self) -> bool:
        """Whether a source is known by itself."""
        return bool((self.membership.sum(dim=1) == 1).any())


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One look at the validation crops.

    Attributes:
        step: optimiser steps done.
        train_loss: mean loss of the steps since the validation before.
        loss: of training, over all crops, each weighing alike; without crops, ``train_loss``.
        sdr_db: for each source, its energy over the energy of the error, both summed over all
            crops that know it by itself; NaN where none does, or it is silent in all of them.
            Empty without crops.
        best: whether no earlier validation was as good.
        weights: which weights this is about, the best of those that there are: ``current``, or an
            average, by its decay.
    """

    step: int
    train_loss: float
    loss: float
    sdr_db: tuple[float, ...]
    best: bool
    weights: str = CURRENT

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


def validation_crops(
    tracks: Sequence[StemTrack],
    read: Reader,
    *,
    num_sources: int,
    crop_samples: int,
    crops_per_track: int,
) -> list[ValidationCrop]:
    """Read the same stems each time: crops spread evenly over each whole song."""
    return [
        _read_groups(track, read, start, crop_samples, num_sources)
        for track in tracks
        if track.knows_all(num_sources)
        for start in _even_starts(track.num_samples, crop_samples, crops_per_track)
    ]


def _read_groups(
    track: StemTrack, read: Reader, start: int, crop_samples: int, num_sources: int
) -> ValidationCrop:
    stems = [read_crop(read, path, start, crop_samples) for path in track.paths]
    targets = np.zeros((num_sources, *stems[0].shape), dtype=np.float32)
    membership = torch.zeros(num_sources, num_sources)
    for group, stem in zip(track.groups, stems, strict=True):
        targets[group[0]] = stem
        membership[group[0], list(group)] = 1
    return ValidationCrop(torch.from_numpy(targets), membership)


def _even_starts(num_samples: int, crop_samples: int, num_crops: int) -> list[int]:
    """Put crops in the middle of equal parts of a track; fewer where it is too short for all."""
    room = max(num_samples - crop_samples, 0)
    starts = (int(room * (index + 0.5) / num_crops) for index in range(num_crops))
    return sorted(set(starts))


def measure_crops(
    model: SeparationModel, crops: Sequence[ValidationCrop], *, batch_size: int
) -> tuple[float, tuple[float, ...]]:
    """Measure a model on the mixtures of crops.

    The SDR is the pooled one, not museval's: a source's energy over the energy of the error, both
    summed over all crops, so that crops in which the source hardly sounds don't decide it.

    Args:
        model: runs where its weights are, and is left in evaluation mode.
        crops: at least one, all of one shape.
        batch_size: crops that run at once.

    Returns:
        The loss of training (:func:`demucs_core.training.weak_loss.grouped_l1`), which is the mean
        over known sources, in sums or alone; and an SDR in dB for each source over the crops that
        know it by itself: NaN where none does, or it is silent in all of them.
    """
    device = next(model.parameters()).device
    model.eval()
    num_sources = crops[0].membership.shape[1]
    absolute, num_known = 0.0, 0
    energy = torch.zeros(num_sources, dtype=torch.float64)
    error_energy = torch.zeros(num_sources, dtype=torch.float64)
    for first in range(0, len(crops), batch_size):
        batch = crops[first : first + batch_size]
        stems = torch.stack([crop.targets for crop in batch]).to(device)
        members = torch.stack([crop.membership for crop in batch]).to(device)
        alone = (members.sum(dim=2) == 1)[:, :, None, None]
        with torch.inference_mode():
            estimates = model(stems.sum(dim=1)).float()
            with torch.autocast(device.type, enabled=False):  # it is for the model alone
                sums = torch.bmm(members, estimates.flatten(2)).view(stems.shape)
            error = sums - stems
            # Squares of float32 summed over minutes of audio need more than its 24 bits.
            absolute += float(error.abs().sum(dtype=torch.float64))
            num_known += int(members.sum()) * stems[0, 0].numel()
            known = stems.square() * alone, error.square() * alone
            energy += known[0].sum(dim=(0, 2, 3), dtype=torch.float64).cpu()
            error_energy += known[1].sum(dim=(0, 2, 3), dtype=torch.float64).cpu()
    sdr_db = tuple(
        _sdr_db(*pair) for pair in zip(energy.tolist(), error_energy.tolist(), strict=True)
    )
    return absolute / num_known, sdr_db


def _sdr_db(energy: float, error_energy: float) -> float:
    """Return the ratio in dB, at most :data:`MAX_SDR_DB`, or NaN where there is no source."""
    if energy == 0:
        return math.nan
    return 10 * math.log10(energy / max(error_energy, energy * 10 ** (-MAX_SDR_DB / 10)))
