"""Random changes to whole batches, on the device that trains: cheap, and each off unless asked.

Shape legend: B batch, G groups (always S places, some empty), C audio channels, T samples.

They come on top of what :class:`demucs_core.training.crops.Augmentation` does to each crop that
is read. A labelled example changes group by group. A weak one changes as a whole, its mask with it,
so that its sums stay true.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.training.examples import Example
from demucs_core.training.stream_config import BatchAugmentation

_STREAM = 1
"""Tells these draws from those of the examples, which have the same seed."""


def change_batch(
    batch: Example, config: BatchAugmentation, num_weak: int, *, seed: int, step: int
) -> Example:
    """Change a batch.

    Args:
        batch: left as it is.
        config: how it is changed.
        num_weak: how many of the first examples are weak.
        seed: of the training.
        step: of the batch.

    Returns:
        A batch of the same shapes on the same device, whose mixtures are the sums of its
        targets.
    """
    if config.is_off:
        return batch
    rng = np.random.default_rng((seed, step, _STREAM))
    targets, mask = batch.targets, batch.mask
    if rng.random() < config.remix:
        targets = _dealt(rng, targets, batch.membership, num_weak)
    size, groups = targets.shape[:2]
    if config.shift_samples:
        limits = (-config.shift_samples, config.shift_samples + 1)
        shift = _alike(rng.integers(*limits, (size, groups)), num_weak)
        targets, mask = _rolled(targets, shift), _rolled(mask, shift)
    if config.swap and targets.shape[2] == 2:
        swap = torch.from_numpy(_alike(rng.random((size, groups)) < config.swap, num_weak))
        swap = swap.to(targets.device)
        targets = torch.where(swap[:, :, None, None], targets.flip(2), targets)
    gain = 10 ** (rng.uniform(-config.gain_db, config.gain_db, (size, groups)) / 20)
    sign = np.where(rng.random((size, groups)) < config.flip, -1, 1)
    factor = torch.from_numpy(_alike(gain * sign, num_weak)).to(targets)
    targets = targets * factor[:, :, None, None]
    return batch._replace(mixture=targets.sum(dim=1), targets=targets, mask=mask)


def _alike(values: NDArray[Any], num_weak: int) -> NDArray[Any]:
    """Of a value for each group ``(B, G)``, one for all of a weak example."""
    values[:num_weak] = values[:num_weak, :1]
    return values


def _rolled(values: Tensor, shift: NDArray[np.int64]) -> Tensor:
    """Shift each group ``(B, G, ..., T)`` in time, in a circle."""
    rolled = torch.empty_like(values)
    for example, group in np.ndindex(shift.shape):
        rolled[example, group] = values[example, group].roll(int(shift[example, group]), -1)
    return rolled


def _dealt(rng: np.random.Generator, targets: Tensor, membership: Tensor, num_weak: int) -> Tensor:
    """Deal each source anew among the labelled examples that have every source by itself."""
    size, groups = targets.shape[:2]
    whole = (membership == torch.eye(groups, device=membership.device)).flatten(1).all(dim=1).cpu()
    whole[:num_weak] = False
    among = whole.nonzero().flatten().numpy()
    origin = np.tile(np.arange(size)[:, None], (1, groups))
    for group in range(groups):
        origin[among, group] = rng.permutation(among)
    columns = torch.arange(groups, device=targets.device)
    return targets[torch.from_numpy(origin).to(targets.device), columns]
