"""Train what Music-Source-Separation-Training trains on half-known music, from a workspace.

ZFTurbo's trainer asks its dataset for stems ``(S, C, T)`` and a mixture ``(C, T)``, and compares
estimates with stems. In a remix not every stem is known, but sums of them are. So give it this
dataset in place of its ``MSSDataset``, and this loss in place of what ``choice_loss`` chooses:

    from music_source_separation_training import HalfKnown, half_known_loss
    trainset = HalfKnown(config, "path/to/workspace")         # in prepare_data
    multi_loss = half_known_loss                              # in train_model

The instruments of its configuration are the workspace's sources, in their order. Roformers take
this loss with its ``--use_standard_loss``; its ``normalize`` stays off.

Where every stem must be a file, `silentmix export data --target vocals` writes folders of its
dataset types instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from demucs_core.training.weak_loss import grouped_l1
from flows.export.dataset import training_examples

EPOCHS = 2**24
"""As many, of which each is drawn from."""


class Known(dict[str, Tensor]):
    """What is known of the stems: targets, membership, mask and weight. Batches are the same."""

    def to(self, device: Any) -> Known:
        """The same on a device."""
        return Known({name: value.to(device) for name, value in self.items()})


class HalfKnown(Dataset[tuple[Known, Tensor]]):
    """A workspace's labelled songs and remixes, as many as the trainer's configuration wants.

    Examples are new in every epoch, and of each process its own.
    """

    def __init__(self, config: Any, workspace: str, **options: Any) -> None:
        self.length = config.training.num_steps * config.training.batch_size
        crop_s = config.audio.chunk_size / config.audio.sample_rate
        batch_size = config.training.batch_size
        self.examples = training_examples(
            workspace, crop_s=crop_s, batch_size=batch_size, **options
        )

    def __len__(self) -> int:
        return int(self.length)

    def __getitem__(self, index: int) -> tuple[Known, Tensor]:
        # from torch's generator, which the trainer seeds, and a loader's process anew each epoch
        epoch = int(torch.randint(EPOCHS, ()))
        mixture, *known = self.examples[epoch * self.length + index]
        return Known(zip(("targets", "membership", "mask", "weight"), known, strict=True)), mixture


def half_known_loss(estimates: Tensor, known: Known, mixture: Tensor | None = None) -> Tensor:
    """L1 between the sums of estimates ``(B, S, C, T)`` and what is known of them."""
    del mixture  # that trainer's losses are told it
    return grouped_l1(estimates, **known)
