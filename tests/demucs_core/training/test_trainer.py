from __future__ import annotations

import json
import math
import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demucs_core.separators.registry import build_model
from demucs_core.training import trainer as trainer_module
from demucs_core.training.best_weights import BestWeights
from demucs_core.training.divergence import DivergedError, NonFiniteLossError
from demucs_core.training.examples import Example
from demucs_core.training.optimization import Optimization, StepFigures
from demucs_core.training.stream import ExampleStream
from demucs_core.training.trainer import StepReport, Trainer
from demucs_core.training.training_config import Execution, TrainingConfig
from tests.demucs_core.music import MUSIC
from tests.demucs_core.training.tiny import (
    CONFIG,
    READ,
    REMIXES,
    STREAM,
    TRACKS,
    assert_same,
    stream,
    trainer,
)


@pytest.mark.parametrize("architecture", ["demucs", "wave_unet"])
@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_resumed_equals_uninterrupted(tmp_path: Path, architecture: str, stop_at: int) -> None:
    straight = trainer(architecture=architecture)
    assert straight.run()

    broken_off = trainer(architecture=architecture)
    assert not broken_off.run(stop=lambda: broken_off.step == stop_at)
    tensors, meta = broken_off.state()
    save_file(tensors, tmp_path / "state.safetensors")
    text = json.dumps(meta, allow_nan=False)

    resumed = trainer(architecture=architecture)
    # Whatever the new trainer's weights were, the checkpoint's count.
    with torch.no_grad():
        for value in resumed.model.parameters():
            value.fill_(math.nan)
    resumed.load_state(load_file(tmp_path / "state.safetensors"), json.loads(text))
    assert resumed.step == stop_at
    assert_same(resumed, broken_off)
    assert resumed.run()
    assert_same(resumed, straight)
    assert [entry.step for entry in resumed.history] == [2, 4, 6]


def test_resumed_equals_uninterrupted_where_the_model_is_random() -> None:
    def run() -> Trainer:
        begun = trainer()
        block = begun.model.get_submodule("encoder.0")
        assert isinstance(block, nn.Sequential)
        block.append(nn.Dropout())
        return begun

    straight, broken_off, resumed = run(), run(), run()
    before = torch.get_rng_state()
    straight.run()
    assert torch.equal(torch.get_rng_state(), before)
    broken_off.run(stop=lambda: broken_off.step == 3)
    resumed.load_state(*broken_off.state())
    resumed.run()
    assert_same(resumed, straight)


EVERYTHING = TrainingConfig(
    steps=10,
    learning_rate=0.05,
    optimizer="adamw",
    weight_decay=0.1,
    schedule="plateau",
    warmup_steps=3,
    plateau_patience=1,
    clip_norm=0.02,
    ema_decays=(0.5, 0.9),
    validate_every=1,
    best_by="sdr",
    precision="float16",
)


def test_resumed_equals_uninterrupted_with_all_of_it_at_once(tmp_path: Path) -> None:
    """Averages, schedule, scaler, clipping, accumulation, sampler."""
    execution = Execution(accumulation=2, recompute=True)
    config = replace(STREAM, batch_size=3)

    def run() -> Trainer:
        return trainer(EVERYTHING, examples=stream(config), execution=execution)

    def stopped(at: int, begun: Trainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
        begun.run(stop=lambda: begun.step == at)
        return begun.state()

    straight, rates = run(), list[float]()
    straight.run(on_step=lambda report: rates.append(report.figures.learning_rate))
    chosen = {entry.weights for entry in straight.history}
    assert len(chosen) > 1, "no validation prefers an average"
    assert len(set(rates[3:])) > 2, "there is no plateau"

    resumed = run()
    for stop_at in (2, 5, 7):  # in the warm-up, and at two rates after it
        tensors, meta = stopped(stop_at, resumed)
        save_file(tensors, tmp_path / "state.safetensors")
        resumed = run()
        resumed.load_state(load_file(tmp_path / "state.safetensors"), json.loads(json.dumps(meta)))
    resumed.run()
    assert_same(resumed, straight)


def test_a_run_can_be_made_longer_and_loader_processes_change_nothing() -> None:
    straight = trainer()
    straight.run()
    short = trainer(replace(CONFIG, steps=4, checkpoint_every=1))
    short.run()
    longer = trainer(execution=Execution(num_workers=1))
    longer.load_state(*short.state())
    longer.run()
    assert_same(longer, straight)


def test_state_before_the_first_step() -> None:
    fresh, other = trainer(), trainer(replace(CONFIG, steps=3))
    tensors, meta = fresh.state()
    assert not any(name.startswith("adam.") for name in tensors)
    assert meta["step"] == 0
    other.load_state(tensors, meta)
    assert other.run()


def test_state_shares_no_memory_with_the_run() -> None:
    run = trainer()
    run.run(stop=lambda: run.step == 2)
    tensors, _ = run.state()
    before = {name: value.clone() for name, value in tensors.items()}
    run.run()
    assert all(torch.equal(value, before[name]) for name, value in tensors.items())
    assert all(value.is_contiguous() for value in tensors.values())
    pointers = [value.data_ptr() for value in tensors.values()]
    assert len(set(pointers)) == len(pointers)


def test_training_learns_and_keeps_the_best() -> None:
    config = replace(CONFIG, steps=40, validate_every=5, learning_rate=3e-3)
    run = trainer(config)
    first = run.best_weights()
    run.run()
    losses = [entry.loss for entry in run.history]
    assert min(losses) < 0.9 * losses[0]
    assert run.best is not None
    assert run.best.loss == min(losses)
    assert len(run.best.sdr_db) == 4
    assert any(not torch.equal(value, first[name]) for name, value in run.best_weights().items())
    # A worse validation leaves the best weights as they are.
    best = run.best_weights()
    with torch.no_grad():
        for value in run.model.parameters():
            value.mul_(3)
    longer = replace(config, steps=41, learning_rate=3e-3)
    worse = trainer(longer)
    worse.load_state(*run.state())
    worse.run()
    assert not worse.history[-1].best
    assert all(torch.equal(value, best[name]) for name, value in worse.best_weights().items())


def test_callbacks_come_when_due() -> None:
    run = trainer(replace(CONFIG, steps=6, validate_every=4, checkpoint_every=2))
    reports: list[StepReport] = []
    checkpoints: list[int] = []
    assert run.run(on_step=reports.append, on_checkpoint=lambda: checkpoints.append(run.step))
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert [report.step for report in reports if report.validation] == [4, 6]
    assert checkpoints == [2, 4, 6]
    validation = reports[3].validation
    assert validation is not None
    assert validation.train_loss == pytest.approx(sum(r.loss for r in reports[:4]) / 4)
    # A finished run has nothing left to do.
    assert run.run(on_step=lambda _report: pytest.fail("no step is left"))


def test_stopping_ends_within_a_step_and_saves() -> None:
    run = trainer()
    checkpoints: list[int] = []
    done = run.run(stop=lambda: run.step == 3, on_checkpoint=lambda: checkpoints.append(run.step))
    assert not done
    assert run.step == 3
    assert checkpoints == [3]


class Unmeasured(BestWeights):
    """Validations that cost nothing."""

    def _measure(self, train_loss: float) -> tuple[float, tuple[float, ...]]:
        return train_loss, ()


class Poisoned(ExampleStream):
    """Good examples but for one with NaN in it."""

    bad_index = 5

    def __getitem__(self, index: int) -> Example:
        example = super().__getitem__(index)
        if index == self.bad_index:
            example.mixture[0, 0] = math.nan
        return example


def test_nan_names_the_step_and_leaves_the_model_alone() -> None:
    poisoned = Poisoned(STREAM, tracks=TRACKS, remixes=REMIXES, read=READ, num_sources=4)
    run, good = trainer(examples=poisoned), trainer()
    with pytest.raises(NonFiniteLossError, match="nan at step 3 of 6"):
        run.run()
    assert isinstance(NonFiniteLossError(), FloatingPointError)
    good.run(stop=lambda: good.step == 2)
    assert_same(run, good)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_that_failed_makes_no_more_batches(num_workers: int) -> None:
    """A thread or process at work when Python ends would abort the whole process."""

    def makers() -> list[Any]:
        threads = [thread for thread in threading.enumerate() if thread.name == "prefetch"]
        return threads + multiprocessing.active_children()

    before = makers()
    run = trainer(execution=Execution(num_workers=num_workers))

    def fail(_: StepReport) -> None:
        assert len(makers()) == len(before) + 1
        raise ArithmeticError

    with pytest.raises(ArithmeticError) as told:
        run.run(on_step=fail)
    assert told.tb is not None  # which keeps all that the run had
    assert makers() == before


def test_a_rate_that_was_lowered_stays_so() -> None:
    run, resumed = trainer(), trainer()
    rates: list[float] = []
    run.rate_share = 0.25
    run.run(stop=lambda: run.step == 2)
    resumed.load_state(*run.state())
    resumed.run(on_step=lambda report: rates.append(report.figures.learning_rate))
    assert rates == [pytest.approx(0.25e-3)] * 4


def test_a_run_whose_loss_grows_is_saved_no_more_and_then_has_diverged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([1.0] * 100 + [3.0] * 100 + [9.0] * 1000)
    monkeypatch.setattr(
        Optimization, "step", lambda *_: StepFigures(
            loss=next(losses), labelled_loss=0, weak_loss=0, gradient_norm=0, learning_rate=0
        ),
    )  # fmt: skip
    monkeypatch.setattr(trainer_module, "BestWeights", Unmeasured)
    config = replace(CONFIG, steps=1200, validate_every=1200, checkpoint_every=10)
    run = trainer(config)
    checkpoints: list[int] = []
    with pytest.raises(DivergedError, match=r"was 1 in the first 100 steps at step 2\d\d of 1200"):
        run.run(on_checkpoint=lambda: checkpoints.append(run.step))
    # The mean passes two somewhere in the hundred steps of three.
    assert checkpoints == list(range(10, checkpoints[-1] + 1, 10))
    assert 140 <= checkpoints[-1] < 200


def test_a_longer_run_goes_on_where_a_shorter_one_ended_unscheduled() -> None:
    """As if it had never ended: the last validation of the shorter one was not its own."""
    config = replace(CONFIG, validate_every=4, schedule="plateau", plateau_patience=1)
    straight, short = trainer(config), trainer(replace(config, steps=5))
    straight.run()
    saved: list[Any] = []
    short.run(on_checkpoint=lambda: saved.append(short.state()))
    assert [entry.step for entry in short.history] == [4, 5]
    longer, again = trainer(config), trainer(replace(config, steps=5))
    for run in (longer, again):
        run.load_state(*saved[-1])
        run.run()
    assert_same(longer, straight)
    assert_same(again, short)


def without(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in tensors.items() if key != name}


def test_foreign_checkpoints_are_refused() -> None:
    run = trainer()
    run.run(stop=lambda: run.step == 1)
    tensors, meta = run.state()
    name = "adam.exp_avg.encoder.0.0.bias"
    cases = [
        (trainer(context=5), tensors, meta, "model context 3, not 5"),
        (trainer(architecture="wave_unet"), tensors, meta, "model architecture 'demucs', not"),
        (
            trainer(examples=stream(replace(STREAM, seed=1))),
            tensors,
            meta,
            "training seed 0, not 1",
        ),
        (trainer(replace(CONFIG, learning_rate=1.0)), tensors, meta, "learning_rate 0.001, not 1"),
        (trainer(), tensors, {**meta, "version": 99}, "version 99, this code reads 2"),
        (trainer(), without(name, tensors), meta, f"no tensor {name}"),
        (trainer(), {**tensors, name: torch.zeros(3)}, meta, rf"shape \(3,\) for {name}"),
    ]
    for other, its_tensors, its_meta, message in cases:
        before = other.state()[0]
        with pytest.raises(ValueError, match=message):
            other.load_state(its_tensors, its_meta)
        assert all(torch.equal(v, before[n]) for n, v in other.state()[0].items())


def test_a_checkpoint_of_0_1_0_is_continued() -> None:
    """Of the augmentation it told one field, beside those of the training."""
    straight, run, resumed = trainer(), trainer(), trainer()
    straight.run()
    run.run(stop=lambda: run.step == 3)
    tensors, meta = run.state()
    training = dict(meta["training"])
    training["remix_probability"] = training.pop("augmentation")["remix_probability"]
    resumed.load_state(tensors, {**meta, "version": 1, "training": training})
    resumed.run()
    assert_same(resumed, straight)


def test_a_checkpoint_of_before_a_field_was_there_is_continued() -> None:
    run, resumed = trainer(), trainer()
    tensors, meta = run.state()
    training = dict(meta["training"])
    for name in ("precision", "masked"):
        del training[name]
    training["augmentation"] = {"remix_probability": 0.5}
    resumed.load_state(tensors, {**meta, "training": training})
    training["augmentation"] = {"remix_probability": 0.25}
    with pytest.raises(ValueError, match="training augmentation"):
        resumed.load_state(tensors, {**meta, "training": training})


def test_without_validation_crops_the_training_loss_decides() -> None:
    config = replace(CONFIG, steps=3, validate_every=1)
    model = build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 2}, seed=0)
    run = Trainer(model, config, stream(), [])
    run.run()
    assert all(entry.loss == entry.train_loss for entry in run.history)
    assert all(entry.sdr_db == () for entry in run.history)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("validate_every", 0),
        ("checkpoint_every", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("precision", "float8"),
        ("schedule", "linear"),
        ("clip_norm", -1.0),
        ("beta2", 1.0),
        ("ema_decays", (0.9, 0.9)),
        ("ema_decays", (1.0,)),
        ("plateau_patience", 0),
    ],
)
def test_bad_fields_are_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        TrainingConfig(**{field: value})
