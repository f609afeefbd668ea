from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from demucs_core.detector.examples import ExampleSource
from demucs_core.detector.fit_config import DetectorTrainingConfig, ExampleConfig
from demucs_core.detector.registry import build_detector
from demucs_core.detector.scoring import score_chunks
from demucs_core.detector.training import DetectorStep, DetectorTrainer, rate_factor, silence_loss
from tests.demucs_core.detector.test_detector import OF_0_1_0, SMALL
from tests.demucs_core.detector.test_examples import SONGS, read

CONFIG = DetectorTrainingConfig(steps=6, learning_rate=1e-2)
EXAMPLES = ExampleConfig(batch_size=2, crop_s=1.0)


def make_trainer(
    config: DetectorTrainingConfig = CONFIG,
    examples: ExampleConfig = EXAMPLES,
    *,
    num_threads: int = 1,
    num_processes: int = 0,
) -> DetectorTrainer:
    detector = build_detector(SMALL, seed=0)
    source = ExampleSource(examples, SONGS, read, detector.config)
    return DetectorTrainer(
        detector, config, source, num_threads=num_threads, num_processes=num_processes
    )


def stop_after(trainer: DetectorTrainer, steps: int) -> Callable[[], bool]:
    return lambda: trainer.step >= steps


def weights(trainer: DetectorTrainer) -> dict[str, Tensor]:
    return trainer.state()[0]


def test_training_learns_and_the_detector_finds_the_silences() -> None:
    config = DetectorTrainingConfig(steps=50, learning_rate=1e-2)
    trainer = make_trainer(config, ExampleConfig(batch_size=8, crop_s=2.0))
    assert trainer.run()
    assert np.mean(trainer.losses[-10:]) < 0.85 * np.mean(trainer.losses[:10])
    song = SONGS[0]
    mixture = np.sum([read(path, 0, song.num_samples) for path in song.paths], axis=0)
    scores = score_chunks(
        trainer.detector, lambda start, count: mixture[:, start : start + count], song.num_samples
    )
    assert np.mean((scores > 0.5) == ~song.active) > 0.7


def test_processes_make_the_same_examples_as_threads() -> None:
    by_threads, by_processes = make_trainer(), make_trainer(num_processes=2)
    assert by_threads.run()
    assert not by_processes.run(stop=stop_after(by_processes, 3))
    assert by_processes.run()  # processes that were left come anew
    assert by_processes.losses == by_threads.losses


def test_resumed_equals_uninterrupted_and_the_number_of_threads_does_not_matter() -> None:
    whole = make_trainer(num_threads=2)
    reports: list[DetectorStep] = []
    assert whole.run(on_step=reports.append)
    assert [report.step for report in reports] == [1, 2, 3, 4, 5, 6]
    assert [report.loss for report in reports] == whole.losses

    first = make_trainer()
    assert not first.run(stop=stop_after(first, 3))
    tensors, meta = first.state()
    resumed = make_trainer()
    resumed.load_state(tensors, json.loads(json.dumps(meta)))
    assert resumed.step == 3
    assert resumed.run()
    assert resumed.losses == whole.losses
    ours, theirs = weights(resumed), weights(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_state_is_a_copy() -> None:
    trainer = make_trainer()
    trainer.run(stop=stop_after(trainer, 1))
    tensors, meta = trainer.state()
    kept = {name: value.clone() for name, value in tensors.items()}
    trainer.run()
    assert meta["step"] == 1
    assert all(torch.equal(tensors[name], kept[name]) for name in kept)


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    make_trainer().run()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_finished_run_has_nothing_to_do() -> None:
    trainer = make_trainer()
    trainer.run()
    assert trainer.run(stop=lambda: True)


def test_a_checkpoint_of_another_run_is_refused_by_field() -> None:
    trainer = make_trainer()
    trainer.run(stop=stop_after(trainer, 1))
    tensors, meta = trainer.state()
    others = {
        "training batch_size 2, not 4": make_trainer(
            examples=ExampleConfig(batch_size=4, crop_s=1.0)
        ),
        "training learning_rate 0.01, not 0.003": make_trainer(DetectorTrainingConfig(steps=6)),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            other.load_state(tensors, meta)
    with pytest.raises(ValueError, match="version 7"):
        make_trainer().load_state(tensors, meta | {"version": 7})
    del tensors["model.heads.weight"]
    with pytest.raises(ValueError, match=r"heads\.weight"):
        make_trainer().load_state(tensors, meta)


def test_nan_in_the_audio_stops_the_run_with_the_step() -> None:
    def broken(_path: str, _start: int, count: int) -> NDArray[np.float32]:
        return np.full((2, count), np.nan, np.float32)

    source = ExampleSource(EXAMPLES, SONGS, broken, SMALL)
    trainer = DetectorTrainer(build_detector(SMALL), CONFIG, source)
    with pytest.raises(ValueError, match="NaN"):
        trainer.run()


def test_loss_of_a_balanced_batch_is_plain_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, generator=generator)
    silent = torch.arange(8).expand(2, 3, 8) % 2 == 0
    plain = binary_cross_entropy_with_logits(logits, silent.float())
    assert silence_loss(logits, silent) == pytest.approx(float(plain), rel=1e-6)


def test_rare_frames_weigh_as_much_as_common_ones() -> None:
    silent = torch.zeros(1, 1, 10, dtype=torch.bool)
    silent[..., 0] = True
    logits = torch.zeros(1, 1, 10, requires_grad=True)
    silence_loss(logits, silent).backward()
    assert logits.grad is not None
    gradient = logits.grad[0, 0]
    assert float(gradient[0] + gradient[1:].sum()) == pytest.approx(0, abs=1e-7)


def test_false_silence_costs_more_if_asked() -> None:
    silent = torch.tensor([[[True, False]]])
    sure = torch.tensor([[[9.0, 9.0]]])
    assert silence_loss(sure, silent, 3.0) == pytest.approx(
        float(3 * silence_loss(sure, silent)), rel=1e-3
    )


def test_the_rate_rises_then_falls_to_zero() -> None:
    factors = [rate_factor(step, 100) for step in range(100)]
    peak = int(np.argmax(factors))
    assert factors[peak] == 1
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert 0 < factors[-1] < 0.01


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (DetectorTrainingConfig, {"steps": 0}),
        (DetectorTrainingConfig, {"learning_rate": 0.0}),
        (DetectorTrainingConfig, {"weight_decay": -1.0}),
        (ExampleConfig, {"crop_s": 0.0}),
        (ExampleConfig, {"batch_size": 0}),
        (ExampleConfig, {"seed": -1}),
    ],
)
def test_bad_configuration_names_its_field(
    kind: Callable[..., object], field: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        kind(**field)


def test_a_checkpoint_of_0_1_0_is_continued() -> None:
    """It told the fields of all architectures."""
    straight, run, resumed = make_trainer(), make_trainer(), make_trainer()
    straight.run()
    run.run(stop=stop_after(run, 3))
    tensors, meta = run.state()
    then = {"architecture": "logmel-tcn", **OF_0_1_0}
    resumed.load_state(tensors, {**meta, "detector": then})
    resumed.run()
    assert resumed.losses == straight.losses


def test_what_is_not_known_changes_no_loss() -> None:
    torch.manual_seed(0)
    logits, silent = torch.randn(3, 4, 20), torch.rand(3, 4, 20) < 0.3
    known = torch.ones(3, 4, dtype=torch.bool)
    assert silence_loss(logits, silent, known=known) == pytest.approx(
        float(silence_loss(logits, silent)), rel=1e-6
    )
    known[0, :2] = False
    loss = float(silence_loss(logits, silent, 2.0, known))
    logits[0, :2], silent[0, :2] = 5.0, True
    assert float(silence_loss(logits, silent, 2.0, known)) == loss
    assert float(silence_loss(logits, silent, known=torch.zeros_like(known))) == 0
