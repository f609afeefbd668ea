from __future__ import annotations

import pytest
import torch
from torch import Tensor

from demucs_core.separators import inference
from demucs_core.separators.inference import estimate
from demucs_core.separators.registry import build_model
from tests.demucs_core.music import MUSIC


def noise(batch: int, num_samples: int) -> Tensor:
    return torch.randn(batch, 2, num_samples, generator=torch.Generator().manual_seed(0))


def assert_as_the_forward_pass(config: dict[str, object], mixture: Tensor) -> None:
    model = build_model(config, seed=0).eval()
    before = mixture.clone()
    expected = model(mixture)
    assert expected.abs().max() > 1e-3
    with torch.inference_mode():
        first = estimate(model, mixture)
        second = estimate(model, mixture)
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(first, second)
    assert torch.equal(mixture, before)


@pytest.fixture(params=["whole", "cut"])
def _stretches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers in one piece, or in many and with every LSTM for a large one."""
    if request.param == "cut":
        monkeypatch.setattr(inference, "STRETCH_VALUES", 40)
        monkeypatch.setattr(inference, "LARGE_LSTM", 1)


@pytest.mark.usefixtures("_stretches")
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("num_samples", [1, 257, 4001])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lstm_layers": 0},
        {"lstm_layers": 1, "depth": 1, "sources": ["vocals"]},
        {"context": 5, "kernel_size": 6, "stride": 3},
        {"context": 1, "kernel_size": 4, "stride": 4, "growth": 1.5},
        {"num_channels": 2, "channels": 1, "depth": 4},
    ],
)
def test_equals_the_forward_pass(batch: int, num_samples: int, changes: dict[str, object]) -> None:
    config = {**MUSIC, "architecture": "demucs", "channels": 6, "depth": 3, **changes}
    assert_as_the_forward_pass(config, noise(batch, num_samples))


def test_default_sizes_reach_the_large_lstm_and_many_stretches() -> None:
    config = {**MUSIC, "architecture": "demucs", "channels": 64, "depth": 5}
    assert_as_the_forward_pass(config, noise(2, 20_000))


def test_other_models_run_as_they_are() -> None:
    config = {**MUSIC, "architecture": "wave_unet", "channels": 4, "depth": 3}
    assert_as_the_forward_pass(config, noise(2, 1000))
