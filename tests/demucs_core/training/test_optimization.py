"""One optimiser step: the official one, and the same however it is carried out."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from demucs_core.separators.demucs import Demucs, from_official_state
from demucs_core.training import optimization
from demucs_core.training.divergence import NonFiniteLossError
from demucs_core.training.examples import Example, collate
from demucs_core.training.memory import OutOfMemoryError
from demucs_core.training.optimization import Optimization, parts_of
from demucs_core.training.training_config import Execution, Precision, TrainingConfig
from tests.demucs_core.separators.test_demucs import official, small
from tests.demucs_core.training.tiny import STREAM, stream

CONFIG = TrainingConfig(learning_rate=1e-3)


def batch(size: int = 5) -> Example:
    """The first examples are weak."""
    examples = stream(replace(STREAM, batch_size=size))
    return collate([examples[index] for index in range(size)])


def stepped(
    execution: Execution | None = None, config: TrainingConfig = CONFIG, steps: int = 2
) -> tuple[Demucs, list[optimization.StepFigures]]:
    model = small()
    optimizer = Optimization(model, config, execution or Execution())
    return model, [optimizer.step(batch(), 1e-3, 2) for _ in range(steps)]


def assert_close(one: nn.Module, other: nn.Module, tolerance: float) -> None:
    weights = other.state_dict()
    for name, value in one.state_dict().items():
        assert float((value - weights[name]).abs().max()) <= tolerance, name


def test_a_step_equals_that_of_the_official_model_and_optimizer() -> None:
    ours = small()
    theirs = official(ours.config)
    ours.load_state_dict(from_official_state(theirs.state_dict()))
    generator = torch.Generator().manual_seed(1)
    targets = torch.randn(4, 4, 2, 2000, generator=generator)
    example = Example(
        targets.sum(dim=1),
        targets,
        torch.eye(4).expand(4, 4, 4),
        torch.ones(4, 4, 2000, dtype=torch.bool),
        torch.ones(4),
    )
    figures = Optimization(ours, CONFIG, Execution()).step(example, 3e-4, 0)

    optimizer = torch.optim.Adam(theirs.parameters(), lr=3e-4)
    loss = nn.functional.l1_loss(theirs(targets.sum(dim=1)), targets)
    loss.backward()
    optimizer.step()
    assert figures.loss == pytest.approx(loss.item(), rel=1e-6)
    after = from_official_state(theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert float((value - after[name]).abs().max()) <= 1e-5, name


@pytest.mark.parametrize("accumulation", [2, 3, 5, 9])
def test_parts_of_a_batch_make_the_step_of_the_whole(accumulation: int) -> None:
    """Though they know more or less, and weigh more or less."""
    whole, its_figures = stepped(config=replace(CONFIG, optimizer="adam", clip_norm=1e-3))
    parts, figures = stepped(Execution(accumulation=accumulation), replace(CONFIG, clip_norm=1e-3))
    assert_close(parts, whole, 2e-5)
    for ours, theirs in zip(figures, its_figures, strict=True):
        for name in ("loss", "labelled_loss", "weak_loss", "gradient_norm"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-4), name


def test_parts_hold_every_example_once() -> None:
    whole = batch()
    for num_parts in range(1, 8):
        parts = list(parts_of(whole, num_parts))
        assert len(parts) == min(num_parts, 5)
        assert all(len(part.mixture) for part in parts)
        assert torch.equal(torch.cat([part.mixture for part in parts]), whole.mixture)


def test_recomputed_activations_change_no_bit() -> None:
    kept, recomputed = stepped()[0], stepped(Execution(recompute=True))[0]
    assert list(recomputed.state_dict()) == list(kept.state_dict())
    assert_close(recomputed, kept, 0.0)


def test_a_compiled_model_keeps_its_names_and_takes_the_same_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The program is traced as ever, but run by torch's own kernels: C++ takes half a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, compiled = stepped(steps=1)[0], stepped(Execution(compile=True), steps=1)[0]
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert_close(compiled, plain, 1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_step_in_half_precision_is_near_that_in_full(precision: Precision) -> None:
    config = replace(CONFIG, precision=precision)
    halved, figures = stepped(config=config)
    full, theirs = stepped()
    assert all(value.dtype == torch.float32 for value in halved.state_dict().values())
    assert figures[0].loss == pytest.approx(theirs[0].loss, rel=0.02)
    assert figures[0].gradient_norm == pytest.approx(theirs[0].gradient_norm, rel=0.1)
    assert_close(halved, full, 5e-3)
    assert not torch.equal(*(model.encoder[0][0].weight for model in (halved, full)))  # type: ignore[index]


def test_clipped_gradients_have_the_norm_asked_for() -> None:
    model = small()
    sgd = Optimization(model, replace(CONFIG, clip_norm=0.01), Execution())
    figures = sgd.step(batch(), 1e-3, 2)
    assert figures.gradient_norm > 0.01
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    assert float(norm) == pytest.approx(0.01, rel=1e-4)


def test_the_rate_is_that_of_the_step_and_frozen_weights_stay() -> None:
    model = small()
    model.encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    Optimization(model, CONFIG, Execution()).step(batch(), 1e-2, 2)
    moved = {name: value - before[name] for name, value in model.state_dict().items()}
    assert all(not change.any() for name, change in moved.items() if "encoder" in name)
    # The first step of Adam is the rate, whatever the gradient.
    assert float(moved["decoder.2.0.bias"].abs().max()) == pytest.approx(1e-2, rel=1e-3)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="every weight is frozen"):
        Optimization(model, CONFIG, Execution())


def test_labelled_and_weak_examples_are_told_apart() -> None:
    figures = Optimization(small(), CONFIG, Execution()).step(batch(), 1e-3, 0)
    assert math.isnan(figures.weak_loss)
    assert figures.labelled_loss == pytest.approx(figures.loss)
    figures = Optimization(small(), CONFIG, Execution()).step(batch(), 1e-3, 5)
    assert math.isnan(figures.labelled_loss)


class Exploding(nn.Module):
    """A finite loss with a gradient that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, mixture: Tensor) -> Tensor:
        return mixture[:, None].expand(-1, 4, -1, -1) * self.weight.sqrt()


def test_a_gradient_that_is_not_finite_leaves_the_weights_alone() -> None:
    model = Exploding()
    with pytest.raises(NonFiniteLossError, match="the gradient is"):
        Optimization(model, CONFIG, Execution()).step(batch(), 1e-3, 2)  # type: ignore[arg-type]
    assert float(model.weight.detach()) == 0


def test_float16_that_overflows_is_tried_at_a_lower_scale() -> None:
    model = small()
    scaled = Optimization(model, replace(CONFIG, precision="float16"), Execution())
    scaled.load_state({"scaler": {**scaled.state()["scaler"], "scale": 2.0**40}})
    before = model.encoder[0][0].weight.detach().clone()  # type: ignore[index]
    assert not math.isfinite(scaled.step(batch(), 1e-3, 2).gradient_norm)
    assert torch.equal(before, model.encoder[0][0].weight)  # type: ignore[index]
    assert scaled.state()["scaler"]["scale"] == 2.0**39


class Large(Demucs):
    """Two examples fit into its memory, three don't."""

    def forward(self, mixture: Tensor) -> Tensor:
        if len(mixture) > 2:
            raise torch.OutOfMemoryError("5 GiB are wanted")
        return super().forward(mixture)


def test_what_does_not_fit_into_memory_says_what_would() -> None:
    model = Large(small().config)
    before = model.state_dict()
    with pytest.raises(OutOfMemoryError) as refused:
        Optimization(model, CONFIG, Execution()).step(batch(), 1e-3, 2)
    assert str(refused.value) == (
        "5 examples of 600 samples at once don't fit into memory, 2 do: set accumulation to 3, "
        "which changes nothing else, or batch_size to 2 (5 GiB are wanted)"
    )
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    Optimization(model, CONFIG, Execution(accumulation=3)).step(batch(), 1e-3, 2)


def test_moments_without_room_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Optimization(small(), CONFIG, Execution())
    monkeypatch.setattr(full.optimizer, "step", run_out)
    with pytest.raises(OutOfMemoryError, match=r"two moments .* take a smaller model .*5 GiB"):
        full.step(batch(), 1e-3, 2)


def run_out(*_: object) -> None:
    raise torch.OutOfMemoryError("5 GiB are wanted")


def test_what_fails_otherwise_is_told_as_it_is() -> None:
    model = small()
    model.decoder[0].forward = fail
    with pytest.raises(RuntimeError, match=r"^no memory of it$"):
        Optimization(model, CONFIG, Execution()).step(batch(), 1e-3, 2)


def fail(_: Tensor) -> Tensor:
    raise RuntimeError("no memory of it")


def test_a_model_without_blocks_is_not_recomputed() -> None:
    with pytest.raises(ValueError, match="recompute: Exploding has no blocks"):
        Optimization(Exploding(), CONFIG, Execution(recompute=True))  # type: ignore[arg-type]


def test_what_a_cuda_graph_does_not_hold_is_said() -> None:
    def refused(match: str, model: nn.Module | None = None, **execution: Any) -> None:
        with pytest.raises(ValueError, match=match):
            Optimization(model or small(), CONFIG, Execution(cuda_graph=True, **execution))  # type: ignore[arg-type]

    drawing = small()
    drawing.encoder.append(nn.Dropout(0.1))
    refused("cuda_graph is for a CUDA device, not for cpu")
    refused("neither compile nor recompute", device="cuda", compile=True)
    refused(r"what the layer 'encoder.\d' drew at the first step", drawing, device="cuda")
