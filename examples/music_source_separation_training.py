"""Train what Music-Source-Separation-Training trains on half-known music, from a workspace.

ZFTurbo's trainer asks its dataset for stems ``(S, C, T)`` and a mixture ``(C, T)``, and compares
estimates with stems. In a remix not every stem is known, but sums of them are. So give it this
dataset in place of its ``MSSDataset``, and this loss in place of ``loss_multi``:

    from music_source_separation_training import HalfKnown, half_known_loss
    trainset = HalfKnown(config, "path/to/workspace")         # in prepare_data
    loss = half_known_loss(model(mixes), batch)               # in train_one_epoch

Where every stem must be a file, `silentmix export data --target vocals` writes folders of its
dataset types instead.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from demucs_core.training.examples import Example
from demucs_core.training.weak_loss import grouped_l1
from flows.export.dataset import training_examples


class HalfKnown(Dataset[tuple[Example, Tensor]]):
    """A workspace's labelled songs and remixes, as many as the trainer's configuration wants."""

    def __init__(self, config: Any, workspace: str, **options: Any) -> None:
        self.length = config.training.num_steps * config.training.batch_size
        crop_s = config.audio.chunk_size / config.audio.sample_rate
        batch_size = config.training.batch_size
        self.examples = training_examples(
            workspace, crop_s=crop_s, batch_size=batch_size, **options
        )

    def __len__(self) -> int:
        return int(self.length)

    def __getitem__(self, index: int) -> tuple[Example, Tensor]:
        example = self.examples[index]
        return example, example.mixture  # what is known of the stems, and what the model hears


def half_known_loss(estimates: Tensor, known: Example) -> Tensor:
    """L1 between the sums of estimates ``(B, S, C, T)`` and what is known of them."""
    return grouped_l1(estimates, known.targets, known.membership, known.mask, known.weight)
