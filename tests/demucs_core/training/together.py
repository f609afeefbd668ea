"""Trainings by several processes: what each of them does, and the second of two as a process."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch import distributed as dist

from demucs_core.separators.registry import build_model
from demucs_core.training.divergence import NonFiniteLossError
from demucs_core.training.examples import Example
from demucs_core.training.memory import OutOfMemoryError
from demucs_core.training.ranks import Ranks
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import BatchAugmentation
from demucs_core.training.trainer import Trainer
from demucs_core.training.training_config import Execution, TrainingConfig
from demucs_core.training.validation import validation_crops
from tests.demucs_core.music import MUSIC
from tests.demucs_core.training.tiny import CONFIG, READ, REMIXES, STREAM, TRACKS, stream

EVERYTHING = TrainingConfig(
    steps=6,
    learning_rate=0.01,
    optimizer="adamw",
    weight_decay=0.1,
    schedule="plateau",
    warmup_steps=2,
    plateau_patience=1,
    clip_norm=0.02,
    ema_decays=(0.5, 0.9),
    validate_every=2,
    best_by="sdr",
)
AUGMENTED = BatchAugmentation(gain_db=6, flip=0.5, swap=0.5, shift_samples=50, remix=1.0)


def shared(
    ranks: Ranks,
    config: TrainingConfig = CONFIG,
    execution: Execution | None = None,
    augmentation: BatchAugmentation | None = None,
) -> Trainer:
    """A trainer of four examples a step, five of eight of them weak; the first alone has crops."""
    crops = validation_crops(TRACKS, READ, num_sources=4, crop_samples=600, crops_per_track=2)
    seen = replace(
        STREAM,
        batch_size=4,
        weak_share=0.625,
        batch_augmentation=augmentation or BatchAugmentation(),
    )
    trainer = Trainer(
        build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 3}, seed=0),
        config,
        stream(seen),
        crops if ranks.is_first else [],
        execution=execution,
        ranks=ranks,
    )
    if not ranks.is_first:
        with torch.no_grad():
            for weight in trainer.model.parameters():
                weight.fill_(math.nan)  # the first one's count
    trainer.share_state()
    return trainer


def plain(ranks: Ranks) -> Trainer:
    trainer = shared(ranks)
    trainer.run()
    return trainer


def everything(ranks: Ranks) -> Trainer:
    trainer = shared(ranks, EVERYTHING, Execution(accumulation=2, recompute=True), AUGMENTED)
    trainer.run()
    return trainer


def half(ranks: Ranks) -> Trainer:
    trainer = shared(ranks, replace(CONFIG, precision="float16", learning_rate=1e-4))
    trainer.run()
    return trainer


def resumed(ranks: Ranks) -> Trainer:
    """As ``everything``, but stopped by the last process, and continued with other processes."""
    first = shared(ranks, EVERYTHING, augmentation=AUGMENTED)
    is_last = ranks.rank == ranks.size - 1
    assert not first.run(stop=lambda: is_last and first.step == 3)
    assert first.step == 3
    tensors, meta = first.state()
    second = shared(ranks, EVERYTHING, Execution(accumulation=2), AUGMENTED)
    if ranks.is_first:
        second.load_state(tensors, meta)
    second.share_state()
    assert second.run()
    return second


def with_a_weight_that_nothing_reaches(ranks: Ranks) -> Trainer:
    trainer = shared(ranks)
    trainer.model.extra = nn.Parameter(torch.ones(3))
    again = Trainer(
        trainer.model,
        CONFIG,
        trainer.examples,
        trainer.best_so_far.crops,
        ranks=ranks,
    )
    again.share_state()
    again.run()
    return again


class Spoiled(ExampleStream):
    """Its twelfth example, which is the last process's, is NaN."""

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        return example._replace(mixture=example.mixture * math.nan) if index == 11 else example


def diverging(ranks: Ranks) -> Trainer:
    """All learn that the last process heard NaN, and go on from the first one's state."""
    trainer = shared(ranks)
    begun, sound = trainer.state(), trainer.examples
    trainer.examples = Spoiled(
        sound.config, tracks=TRACKS, remixes=REMIXES, read=READ, num_sources=4
    )
    with pytest.raises(NonFiniteLossError):
        trainer.run()
    assert trainer.step == 2
    trainer.examples = sound
    if ranks.is_first:
        trainer.load_state(*begun)
    trainer.share_state()
    trainer.run()
    return trainer


def out_of_memory(ranks: Ranks) -> Trainer:
    """The last process has room for one example alone: all are told so."""
    trainer = shared(ranks)
    forward, is_last = trainer.model.forward, ranks.rank == ranks.size - 1

    def cramped(mixture: Tensor) -> Tensor:
        if is_last and len(mixture) > 1:
            raise torch.OutOfMemoryError("no room")
        estimates: Tensor = forward(mixture)
        return estimates

    trainer.model.forward = cramped
    least = f"1 do: set accumulation to {4 // ranks.size}, .* or batch_size to {ranks.size}"
    with pytest.raises(OutOfMemoryError, match=least):
        trainer.run()
    return shared(ranks)


CASES: dict[str, Callable[[Ranks], Trainer]] = {
    "plain": plain,
    "everything": everything,
    "half": half,
    "resumed": resumed,
    "unreached": with_a_weight_that_nothing_reaches,
    "diverging": diverging,
    "out of memory": out_of_memory,
}


def join(meeting: str, rank: int) -> Ranks:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    return Ranks(rank=rank, size=2)


if __name__ == "__main__":
    torch.set_num_threads(1)
    second = join(sys.argv[1], 1)
    while name := second.told():
        CASES[name](second)
    dist.destroy_process_group()
    sys.stderr.flush()
    os._exit(0)  # as flows.train.worker does, and why
