"""A training that takes milliseconds: what the tests of the loop train."""

from __future__ import annotations

import torch

from demucs_core.separators.registry import build_model
from demucs_core.training.recipes import AddedStem, Recipe, RecipeList
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.trainer import Trainer
from demucs_core.training.training_config import Execution, TrainingConfig
from demucs_core.training.validation import validation_crops
from tests.demucs_core.music import MUSIC
from tests.demucs_core.synthetic_audio import SyntheticReader, stem_track

CONFIG = TrainingConfig(steps=6, learning_rate=1e-3, validate_every=2, checkpoint_every=4)
STREAM = StreamConfig(crop_samples=600, batch_size=2, weak_share=0.5)
TRACKS = [stem_track("a", 3000), stem_track("b", 2000)]
READ = SyntheticReader()
STEM = AddedStem(
    source=1, path="s:1500", num_samples=1500, start_sample=9, excerpt_samples=400, gain_db=-3.0
)
REMIX = Recipe(
    remix_id="r",
    track_path="t:3000",
    track_num_samples=3000,
    segment_start_sample=700,
    segment_stop_sample=1100,
    silent=(1, 2),
    added=(STEM,),
)
REMIXES = RecipeList([REMIX], 4)


def stream(config: StreamConfig = STREAM) -> ExampleStream:
    return ExampleStream(config, tracks=TRACKS, remixes=REMIXES, read=READ, num_sources=4)


def trainer(
    config: TrainingConfig = CONFIG,
    architecture: str = "demucs",
    examples: ExampleStream | None = None,
    execution: Execution | None = None,
    **model: object,
) -> Trainer:
    description = {**MUSIC, "architecture": architecture, "channels": 4, "depth": 3, **model}
    crops = validation_crops(TRACKS, READ, num_sources=4, crop_samples=600, crops_per_track=2)
    return Trainer(
        build_model(description, seed=0),
        config,
        examples or stream(),
        crops,
        execution=execution,
    )


def assert_same(first: Trainer, second: Trainer) -> None:
    (tensors, meta), (other_tensors, other_meta) = first.state(), second.state()
    assert tensors.keys() == other_tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(value, other_tensors[name]), name
    assert {**meta, "training": None} == {**other_meta, "training": None}
