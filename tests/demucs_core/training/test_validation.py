from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from demucs_core.separators.registry import build_model
from demucs_core.separators.separator import SeparationModel
from demucs_core.training.validation import Validation, ValidationCrop, measure_crops
from demucs_core.training.weak_loss import grouped_l1
from tests.demucs_core.music import MUSIC


def crops(num: int = 5) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(4, 2, 100, generator=generator) for _ in range(num)]


def known(crops: list[Tensor]) -> list[ValidationCrop]:
    """Crops of songs that know each source by itself."""
    return [ValidationCrop(stems, torch.eye(len(stems))) for stems in crops]


def silent_model() -> SeparationModel:
    """A model whose estimates are zeros."""
    model = build_model(
        {
            **MUSIC,
            "architecture": "wave_unet",
            "channels": 2,
            "depth": 1,
            "difference_output": False,
        }
    )
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    return model


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_silence_has_an_sdr_of_zero_and_the_level_as_its_loss(batch_size: int) -> None:
    stems = crops()
    loss, sdr_db = measure_crops(silent_model(), known(stems), batch_size=batch_size)
    assert loss == pytest.approx(float(torch.stack(stems).abs().mean()))
    assert sdr_db == pytest.approx((0,) * 4)


def test_sdr_is_pooled_over_crops() -> None:
    model = build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 2}, seed=0)
    stems = crops()
    stems[0] *= 0.001
    _, sdr_db = measure_crops(model, known(stems), batch_size=2)
    stacked = torch.stack(stems)
    with torch.no_grad():
        error = model(stacked.sum(1)) - stacked
    expected = 10 * torch.log10(stacked.square().sum((0, 2, 3)) / error.square().sum((0, 2, 3)))
    assert sdr_db == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_source_that_never_sounds_has_no_sdr() -> None:
    stems = crops()
    for stem in stems:
        stem[2] = 0
    _, sdr_db = measure_crops(silent_model(), known(stems), batch_size=2)
    assert [math.isnan(value) for value in sdr_db] == [False, False, True, False]


def test_a_perfect_estimate_has_the_largest_sdr() -> None:
    # The last source is the mixture less the others, which are zeros here and there.
    model = build_model({**MUSIC, "architecture": "wave_unet", "channels": 2, "depth": 1})
    with torch.no_grad():
        for value in model.parameters():
            value.zero_()
    stem = torch.zeros(4, 2, 100)
    stem[3] = crops(1)[0][3]
    loss, sdr_db = measure_crops(model, known([stem]), batch_size=1)
    assert loss == 0
    assert sdr_db[3] == pytest.approx(100)


def test_validations_survive_strict_json() -> None:
    entry = Validation(step=3, train_loss=0.1, loss=0.2, sdr_db=(1.0, math.nan), best=True)
    text = json.dumps(entry.to_json(), allow_nan=False)
    again = Validation.from_json(json.loads(text))
    assert again.sdr_db[0] == 1
    assert math.isnan(again.sdr_db[1])
    assert (again.step, again.train_loss, again.loss, again.best) == (3, 0.1, 0.2, True)
    assert again.mean_sdr_db == 1
    nothing = Validation(step=1, train_loss=0.1, loss=0.2, sdr_db=(math.nan,), best=True)
    assert math.isnan(nothing.mean_sdr_db)


def test_sums_count_in_the_loss_and_in_no_sdr() -> None:
    """Vocals and the rest: only how their sum is split between the others can't be told."""
    model = build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 2}, seed=0)
    whole, partly = crops(2)
    partly[1:3] = 0
    sums = ValidationCrop(partly, torch.tensor([[1.0, 1, 1, 0], [0] * 4, [0] * 4, [0, 0, 0, 1]]))
    loss, sdr_db = measure_crops(model, [*known([whole]), sums], batch_size=2)
    with torch.no_grad():
        estimates = model(torch.stack([whole.sum(0), partly.sum(0)]))
    vocals = estimates[1, 3] - partly[3]
    members = torch.stack([torch.eye(4), sums.membership])
    everywhere = torch.ones(2, 4, 100)
    trained = grouped_l1(estimates, torch.stack([whole, partly]), members, everywhere)
    assert loss == pytest.approx(float(trained), rel=1e-5)
    energy = whole[3].square().sum() + partly[3].square().sum()
    ratio = energy / ((estimates[0, 3] - whole[3]).square().sum() + vocals.square().sum())
    assert sdr_db[3] == pytest.approx(10 * math.log10(ratio), abs=1e-3)
    _, alone = measure_crops(model, known([whole]), batch_size=1)
    assert sdr_db[:3] == pytest.approx(alone[:3], abs=1e-4)
    assert math.isnan(measure_crops(model, [sums], batch_size=1)[1][0])
