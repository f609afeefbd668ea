"""A new separator is its module and one row."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from demucs_core.architectures import Architecture, Registry
from demucs_core.configuration import check_at_least
from demucs_core.separators import registry
from demucs_core.separators.registry import SEPARATORS, build_model, config_of
from demucs_core.separators.separation import separate
from demucs_core.separators.separator import SeparationModel, SeparatorConfig
from demucs_core.training.stream import ExampleStream
from demucs_core.training.stream_config import StreamConfig
from demucs_core.training.trainer import Trainer
from demucs_core.training.training_config import TrainingConfig
from tests.demucs_core.synthetic_audio import SyntheticReader, stem_track

MUSIC = {"sources": ["vocals", "other", "applause"], "sample_rate": 8000, "num_channels": 2}


@dataclass(frozen=True, kw_only=True)
class MixingConfig(SeparatorConfig):
    taps: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "taps")


class Mixing(SeparationModel):
    """One convolution."""

    config: MixingConfig

    def __init__(self, config: MixingConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.num_channels
        self.layer = nn.Conv1d(
            channels, len(config.sources) * channels, config.taps, padding="same"
        )

    def forward(self, mixture: Tensor) -> Tensor:
        estimates: Tensor = self.layer(mixture).unflatten(1, (-1, self.config.num_channels))
        return estimates


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    row: Architecture[SeparatorConfig, SeparationModel] = Architecture(
        name="mixing", module=__name__, config_name="MixingConfig", network_name="Mixing"
    )
    monkeypatch.setattr(registry, "SEPARATORS", Registry("separator", *SEPARATORS.rows, row))


def trained(steps: int = 30, **fields: Any) -> Trainer:
    examples = ExampleStream(
        StreamConfig(crop_samples=200, batch_size=2, weak_share=0),
        tracks=[stem_track("a", 3000, 3)],
        read=SyntheticReader(),
        num_sources=3,
    )
    model = build_model({"architecture": "mixing", **MUSIC, **fields}, seed=0)
    config = TrainingConfig(steps=steps, learning_rate=1e-2)
    trainer = Trainer(model, config, examples, [])
    assert trainer.run()
    return trainer


def test_a_new_separator_is_trained_saved_and_used() -> None:
    trainer = trained(taps=3)
    description = json.loads(json.dumps(config_of(trainer.model)))
    assert description == {"architecture": "mixing", **MUSIC, "taps": 3}
    again = build_model(description)
    again.load_state_dict(trainer.best_weights())
    mixture = torch.randn(2, 900, generator=torch.Generator().manual_seed(0))
    stems = separate(again, mixture, segment_samples=300, max_shift_samples=0)
    assert stems.shape == (3, 2, 900)
    assert trainer.history[-1].train_loss < trained(steps=1).history[-1].train_loss


def test_a_new_separators_checkpoint_is_its_own() -> None:
    trainer, other = trained(taps=3), trained(taps=5)
    with pytest.raises(ValueError, match="model taps 3, not 5"):
        other.load_state(*trainer.state())


def test_its_configuration_refuses_by_name() -> None:
    with pytest.raises(ValueError, match="taps must be at least 1, not 0"):
        build_model({"architecture": "mixing", **MUSIC, "taps": 0})
    with pytest.raises(ValueError, match=r"known are demucs, wave_unet, .*, mixing"):
        build_model({"architecture": "mixer", **MUSIC})


@pytest.mark.parametrize("rate", [0, 10**9])
def test_a_rate_that_no_audio_has_is_refused(rate: int) -> None:
    music = {"sources": ["vocals", "other"], "sample_rate": rate, "num_channels": 1}
    with pytest.raises(ValueError, match=r"sample_rate must be from 1 to 384000"):
        SEPARATORS.parse({"architecture": "demucs", **music})
