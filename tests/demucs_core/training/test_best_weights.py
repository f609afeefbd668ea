"""Averages of weights, and which weights are the best."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import Literal

import pytest
import torch
from torch import nn

from demucs_core.training import best_weights
from demucs_core.training.averages import WeightAverages
from demucs_core.training.trainer import Trainer
from demucs_core.training.validation import CURRENT
from tests.demucs_core.training.tiny import CONFIG, trainer

AVERAGED = replace(CONFIG, steps=8, validate_every=1, learning_rate=0.03, ema_decays=(0.5, 0.9))


def test_an_average_weighs_what_was_by_its_age() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    averages = WeightAverages(model, [0.8])
    seen = []
    for number in range(1, 5):
        with torch.no_grad():
            for value in model.parameters():
                value.copy_(
                    torch.randn(value.shape, generator=torch.Generator().manual_seed(number))
                )
        model(torch.randn(4, 2))
        averages.update(number)
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
    shares = [0.8**age for age in (3, 2, 1, 0)]
    average = averages.copies(0.8)
    for name in ("0.weight", "1.running_var"):
        expected = sum(share * each[name] for share, each in zip(shares, seen, strict=True))
        torch.testing.assert_close(average[name], expected / sum(shares))
    assert average["1.num_batches_tracked"] == 4
    before = model.state_dict()
    with averages.in_place_of_the_weights(0.8):
        assert torch.equal(model.state_dict()["0.weight"], average["0.weight"])
    assert all(torch.equal(before[name], seen[-1][name]) for name in before)


def test_the_best_of_weights_and_averages_is_kept() -> None:
    run = trainer(AVERAGED)
    run.run()
    best = run.best
    assert best is not None
    assert best.weights != CURRENT, "no average is better, and this shows nothing"
    by_hand = trainer(AVERAGED)
    by_hand.run(stop=lambda: by_hand.step == best.step)
    kept = by_hand.averages.copies(float(best.weights))
    assert all(torch.equal(value, kept[name]) for name, value in run.best_weights().items())


def test_the_weights_that_are_trained_know_nothing_of_their_averages() -> None:
    averaged, plain = trainer(AVERAGED), trainer(replace(AVERAGED, ema_decays=()))
    averaged.run()
    plain.run()
    weights = plain.model.state_dict()
    assert all(
        torch.equal(value, weights[name]) for name, value in averaged.model.state_dict().items()
    )


@pytest.mark.parametrize(("best_by", "best"), [("loss", 3), ("sdr", 1)])
def test_the_best_is_that_of_the_lowest_loss_or_of_the_highest_sdr(
    monkeypatch: pytest.MonkeyPatch, best_by: Literal["loss", "sdr"], best: int
) -> None:
    measured = iter(
        [(0.3, (1.0, 2.0, nan, nan)), (0.4, (0.0, 0.0, nan, nan)), (0.1, (1.4, 1.4, nan, nan))]
    )
    monkeypatch.setattr(best_weights, "measure_crops", lambda *_, **__: next(measured))
    run = trainer(replace(CONFIG, steps=3, validate_every=1, best_by=best_by))
    run.run()
    assert run.best is not None
    assert run.best.step == best


def test_a_run_ends_when_patience_does_and_is_then_done() -> None:
    config = replace(CONFIG, steps=60, validate_every=1, patience=3, learning_rate=0.5)
    run = trainer(config)
    checkpoints: list[int] = []
    assert run.run(on_checkpoint=lambda: checkpoints.append(run.step))
    assert run.step < 60
    assert [entry.best for entry in run.history[-4:]] == [True, False, False, False]
    assert checkpoints[-1] == run.step
    again = trainer(config)
    again.load_state(*run.state())
    assert again.run(on_step=lambda _: pytest.fail("no step is left"))
    patient = trainer(replace(config, patience=5))
    patient.load_state(*run.state())
    assert not patient.done


def test_what_needs_validation_songs_says_so_before_the_first_step() -> None:
    ready = trainer()
    for wanted, message in (
        ({"best_by": "sdr"}, "best_by sdr needs a validation song"),
        ({"ema_decays": (0.9,)}, "ema_decays need validation songs"),
    ):
        config = replace(CONFIG, **wanted)
        with pytest.raises(ValueError, match=message):
            Trainer(ready.model, config, ready.examples, [])
