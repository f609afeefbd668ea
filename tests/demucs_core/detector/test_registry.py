"""A new detector is its module and one row."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from torch import Tensor, nn

from demucs_core.architectures import Architecture, Registry
from demucs_core.detector import registry
from demucs_core.detector.config import DetectorConfig, SilenceDetector, TrainedDetector
from demucs_core.detector.examples import ExampleSource
from demucs_core.detector.fit_config import DetectorTrainingConfig, ExampleConfig
from demucs_core.detector.log_mel_detector import pad_to_frames
from demucs_core.detector.registry import (
    DETECTORS,
    build_detector,
    detector_config,
    new_detector_config,
    parse_detector_config,
)
from demucs_core.detector.scoring import score_chunks
from demucs_core.detector.training import DetectorTrainer
from tests.demucs_core.detector.test_examples import SONGS, read
from tests.demucs_core.music import FRAMES


@dataclass(frozen=True, kw_only=True)
class LevelConfig(DetectorConfig):
    width: int = 4


class LevelDetector(TrainedDetector):
    """Hears how much each frame of the waveform moves, and nothing around it."""

    block_frames = 1
    context_frames = 0

    def __init__(self, config: LevelConfig) -> None:
        super().__init__()
        self.config = config
        hop = config.hop_samples
        self.filters = nn.Conv1d(config.num_channels, config.width, hop, stride=hop)
        self.heads = nn.Conv1d(config.width, len(config.sources), 1)

    def score_inputs(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.heads(self.filters(inputs).abs())
        return scores

    def forward(self, audio: Tensor) -> Tensor:
        return self.score_inputs(pad_to_frames(audio, self.config.hop_samples))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Architecture[DetectorConfig, SilenceDetector](
        name="level", module=__name__, config_name="LevelConfig", network_name="LevelDetector"
    )
    known = Registry("detector", *DETECTORS.rows, row)
    monkeypatch.setattr(registry, "DETECTORS", known)


def test_a_new_detector_is_fitted_saved_and_scores() -> None:
    config = new_detector_config("level", **FRAMES, width=3)
    examples = ExampleSource(ExampleConfig(batch_size=2, crop_s=1.0), SONGS, read, config)
    fit = DetectorTrainingConfig(steps=20, learning_rate=1e-2)
    trainer = DetectorTrainer(build_detector(config, seed=0), fit, examples)
    assert trainer.run()
    assert np.mean(trainer.losses[-5:]) < np.mean(trainer.losses[:5])

    values = json.loads(json.dumps(detector_config(trainer.detector)))
    assert values["architecture"] == "level"
    again = build_detector(parse_detector_config(values)).eval()
    again.load_state_dict(trainer.detector.state_dict())
    audio = read(SONGS[0].paths[0], 0, SONGS[0].num_samples)
    scores = score_chunks(again, lambda start, count: audio[:, start : start + count], 60 * 4096)
    assert scores.shape == (4, 60)

    resumed = DetectorTrainer(build_detector(config, seed=1), fit, examples)
    resumed.load_state(*trainer.state())
    assert resumed.step == 20


def test_what_it_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="level has no field 'hidden_channels'; it has sources"):
        parse_detector_config({"architecture": "level", **FRAMES, "hidden_channels": 3})
