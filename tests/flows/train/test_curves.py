"""What the page of a training shows is what its steps showed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from demucs_core.training.validation import Validation
from flows.train.curves import GIB, RECENT, Curves
from flows.train.earlier import Earlier

HISTORY = [
    Validation(step=110, train_loss=0.5, loss=0.4, sdr_db=(1.0, 2.0), best=True),
    Validation(step=120, train_loss=0.4, loss=0.5, sdr_db=(3.0, math.nan), best=False),
]


def row(step: int, **fields: float) -> dict[str, Any]:
    return {
        "step": step, "loss": 0.5, "labelled_loss": step / 1000, "weak_loss": math.nan,
        "gradient_norm": 2.0, "learning_rate": 3e-4, "wait_s": 0.1, "step_s": 0.4,
        "memory_bytes": 3 * GIB, "validation_loss": math.nan, "validation_sdr_db": [], **fields,
    }  # fmt: skip


def curves(num_steps: int = 30) -> Curves:
    made = Curves(("vocals", "rest"), batch_size=8, first_step=100)
    for step in range(101, 101 + num_steps):
        made.add(row(step))
    return made


def cells(made: Curves) -> dict[str, str]:
    names, _, values = made.words(HISTORY).splitlines()
    return dict(
        zip(*([cell.strip() for cell in line.split("|")[1:-1]] for line in (names, values)),
            strict=True)
    )  # fmt: skip


def lines(axes: Axes) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.array(line.get_xydata()) for line in axes.lines}


def test_the_table_tells_the_means_of_the_last_steps() -> None:
    made = curves(2 * RECENT)
    assert cells(made) == {
        "step": "200",
        "loss of labelled songs": "0.1755",
        "of remixes": "",
        "best validation": "0.4",
        "its SDR (dB)": "1.5",
        "learning rate": "0.0003",
        "gradient norm": "2",
        "examples a second": "20",
        "of the time waiting for data": "25.0%",
        "memory (GiB)": "3",
    }
    made.add(row(201, weak_loss=0.25))
    assert cells(made)["of remixes"] == "0.25"
    assert Curves(("vocals",), 8, 0).words([]) == ""


def test_the_picture_has_a_panel_for_each_and_no_curve_of_what_is_not_known() -> None:
    made = curves()
    made.add(row(131, gradient_norm=math.inf))
    figure = made.figure(HISTORY)
    loss, sdr, rate, speed, waiting, memory, norm = figure.axes
    assert lines(loss).keys() == {"labelled songs", "validation"}
    np.testing.assert_allclose(lines(loss)["labelled songs"][-1], [131, 0.131], rtol=1e-5)
    np.testing.assert_allclose(lines(sdr)["vocals"], [[110, 1], [120, 3]])
    for axes, value in ((rate, 3e-4), (speed, 20), (waiting, 25), (memory, 3), (norm, 2)):
        [curve] = lines(axes).values()
        assert curve[0, 0] == 101
        np.testing.assert_allclose(curve[:30, 1], value, rtol=1e-5)
    made.add(row(132, weak_loss=0.3))
    assert "remixes" in lines(made.figure(HISTORY).axes[0])


def test_other_trainings_are_drawn_beside_it() -> None:
    beside = [
        Earlier(name="first", steps=[5, 10], losses=[0.6, 0.5], sdr_db=[0.5, 1.5]),
        Earlier(name="second", steps=[5], losses=[0.7], sdr_db=[math.nan]),
    ]
    loss, sdr, *_ = Curves(("vocals", "rest"), 8, 0, beside).figure(HISTORY).axes
    np.testing.assert_allclose(lines(loss)["validation of first"], [[5, 0.6], [10, 0.5]])
    np.testing.assert_allclose(lines(loss)["validation of second"], [[5, 0.7]])
    np.testing.assert_allclose(lines(sdr)["mean of first"], [[5, 0.5], [10, 1.5]])
    assert lines(sdr).keys() == {"mean of first", "vocals", "rest"}


def test_steps_that_will_be_taken_again_are_dropped() -> None:
    made = curves(10)
    made.go_back(104)
    assert len(made) == 4
    assert cells(made)["step"] == "104"
    made.go_back(50)  # of an earlier run
    assert len(made) == 0


def test_it_can_be_drawn_before_the_first_step() -> None:
    assert len(Curves(("vocals",), 8, 0).figure([]).axes) == 7


@pytest.mark.parametrize("num_steps", [1, 299, 301, 1000])
def test_a_long_training_has_few_points(num_steps: int) -> None:
    [curve] = lines(curves(num_steps).figure([]).axes[3]).values()
    assert len(curve) <= 300
    assert curve[-1, 0] == 100 + num_steps
