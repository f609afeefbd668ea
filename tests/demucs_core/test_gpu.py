"""On a GPU, where there is one: the same figures as on the CPU, in every precision and memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from demucs_core.detector.registry import build_detector, new_detector_config
from demucs_core.detector.scoring import score_chunks
from demucs_core.separators.registry import build_model
from demucs_core.separators.separation import separate
from demucs_core.training.trainer import Trainer
from demucs_core.training.training_config import Execution, Precision
from tests.demucs_core.music import FRAMES, MUSIC
from tests.demucs_core.training.tiny import CONFIG, trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

GPU = Execution(device="cuda")


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is computed in float32, and not in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def _losses(run: Trainer) -> list[float]:
    return [entry.train_loss for entry in run.history]


@pytest.mark.parametrize(
    "execution",
    [
        GPU,
        replace(GPU, num_workers=1, accumulation=2),
        replace(GPU, cuda_graph=True),
        replace(GPU, cuda_graph=True, accumulation=2),
    ],
)
def test_a_training_learns_what_it_learns_on_the_cpu(execution: Execution) -> None:
    here, there = trainer(), trainer(execution=execution)
    assert here.run()
    assert there.run()
    assert _losses(there) == pytest.approx(_losses(here), rel=1e-3)
    for name, value in here.model.state_dict().items():
        torch.testing.assert_close(
            there.model.state_dict()[name].cpu(), value, rtol=1e-2, atol=1e-3, msg=name
        )


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_nearly_the_same(precision: Precision) -> None:
    here, there = trainer(), trainer(replace(CONFIG, precision=precision), execution=GPU)
    assert here.run()
    assert there.run()
    assert _losses(there) == pytest.approx(_losses(here), rel=0.05)
    assert all(weight.dtype == torch.float32 for weight in there.model.parameters())


def test_a_resumed_training_goes_on_as_if_nothing_had_been() -> None:
    whole, first, second = trainer(execution=GPU), trainer(execution=GPU), trainer(execution=GPU)
    assert whole.run()
    assert not first.run(stop=lambda: first.step == 3)
    second.load_state(*first.state())
    assert second.run()
    assert _losses(second) == pytest.approx(_losses(whole), rel=1e-4)


def test_separation_and_scores_are_those_of_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    mixture = 0.1 * torch.randn(2, 5000, generator=generator)
    model = build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 3}, seed=0)
    settings: dict[str, Any] = {
        "segment_samples": 2000,
        "overlap": 0.25,
        "shifts": 2,
        "max_shift_samples": 50,
    }
    here = separate(model.eval(), mixture, **settings, device="cpu")
    there = separate(model.cuda(), mixture, **settings, device="cuda")
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)
    audio = mixture.repeat(1, 40).numpy()
    found = [_scores(device, audio) for device in ("cpu", "cuda")]
    assert found[1] == pytest.approx(found[0], abs=1e-3)


def _scores(device: str, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    torch.manual_seed(0)  # a process of its own
    detector = build_detector(new_detector_config("logmel-crnn", **FRAMES))
    detector.eval().to(device)
    return score_chunks(
        detector,
        lambda start, num: audio[:, start : start + num],
        audio.shape[1],
        chunk_frames=128,
        batch_size=2,
        device=device,
    )
