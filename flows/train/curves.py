"""How a training goes, in pictures and figures: what its page in the Prefect UI shows."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from demucs_core.training.validation import Validation
from flows.reports.loss_plots import binned
from flows.reports.markdown import number, table
from flows.reports.plots import colors_of
from flows.train.earlier import Earlier

DRAWN = ("loss", "labelled_loss", "weak_loss", "gradient_norm", "learning_rate", "wait_s", "step_s",
         "memory_bytes")  # fmt: skip
"""Columns of the manifest ``steps``."""
RECENT = 50
"""Steps that the figures of now are means over."""
SIZE_IN = (12.0, 6.0)
STYLES = ("-", "--", "-.", ":")
"""Of the lines of other trainings."""
GIB = 2**30


class Curves:
    """The figures of the steps of this run, in four bytes each.

    Args:
        sources: of the workspace.
        batch_size: examples a step.
        first_step: steps that an earlier run did.
        beside: other trainings, which are drawn thin and grey.
    """

    def __init__(
        self,
        sources: Sequence[str],
        batch_size: int,
        first_step: int,
        beside: Sequence[Earlier] = (),
    ) -> None:
        self._sources, self._batch_size, self._first_step = sources, batch_size, first_step
        self._beside = beside
        self._values = {name: array("f") for name in DRAWN}

    def __len__(self) -> int:
        return len(self._values["loss"])

    def add(self, row: Mapping[str, Any]) -> None:
        """Take the row of a step."""
        for name, values in self._values.items():
            values.append(row[name])

    def go_back(self, step: int) -> None:
        """Drop the steps after ``step``: they will be taken again."""
        for values in self._values.values():
            del values[max(step - self._first_step, 0) :]

    def _mean(self, name: str) -> float:
        """Of what is known of the last steps."""
        values = np.array(self._values[name][-RECENT:])
        known = values[np.isfinite(values)]
        return float(known.mean()) if len(known) else float("nan")

    def words(self, history: Sequence[Validation]) -> str:
        """The figures of now as a table: means over the last steps, and the best validation."""
        if not len(self):
            return ""
        step_s, best = self._mean("step_s"), next((v for v in reversed(history) if v.best), None)
        cells = {
            "step": number(self._first_step + len(self)),
            "loss of labelled songs": _told(self._mean("labelled_loss")),
            "of remixes": _told(self._mean("weak_loss")),
            "best validation": "" if best is None else _told(best.loss),
            "its SDR (dB)": "" if best is None or not best.sdr_db else _told(best.mean_sdr_db),
            "learning rate": _told(self._mean("learning_rate")),
            "gradient norm": _told(self._mean("gradient_norm")),
            "examples a second": _told(self._batch_size / step_s if step_s else float("nan")),
            "of the time waiting for data": f"{self._waiting():.1%}",
            "memory (GiB)": _told(self._mean("memory_bytes") / GIB),
        }
        return table([cells])

    def _waiting(self) -> float:
        step_s = self._mean("step_s")
        return self._mean("wait_s") / step_s if step_s else 0.0

    def figure(self, history: Sequence[Validation]) -> Figure:
        """Loss, SDR a source, rate and norm, throughput, waiting and memory over the steps.

        Args:
            history: the validations so far.
        """
        figure = Figure(figsize=SIZE_IN)
        loss, sdr, rate, speed, waiting, memory = figure.subplots(2, 3).flat
        steps = [entry.step for entry in history]
        for other, style in zip(self._beside, cycle(STYLES), strict=False):
            like: dict[str, Any] = {"color": "#999999", "linestyle": style, "linewidth": 1}
            loss.plot(other.steps, other.losses, label=f"validation of {other.name}", **like)
            if np.isfinite(other.sdr_db).any():
                sdr.plot(other.steps, other.sdr_db, label=f"mean of {other.name}", **like)
        self._draw(loss, "labelled_loss", color="#4c72b0", label="labelled songs")
        self._draw(loss, "weak_loss", color="#dd8452", label="remixes")
        loss.plot(
            steps, [entry.loss for entry in history], ".-", color="#222222", label="validation"
        )
        for index, (source, color) in enumerate(colors_of(self._sources).items()):
            values = [entry.sdr_db[index] if entry.sdr_db else np.nan for entry in history]
            sdr.plot(steps, values, ".-", label=source, color=color)
        self._draw(rate, "learning_rate", color="#222222", label="learning rate")
        norm = rate.twinx()
        self._draw(norm, "gradient_norm", color="#c44e52", label="gradient norm")
        norm.set_ylabel("gradient norm", color="#c44e52")
        norm.spines["top"].set_visible(False)
        took, waited = self._binned("step_s"), self._binned("wait_s")
        with np.errstate(divide="ignore", invalid="ignore"):
            speed.plot(took[0], self._batch_size / took[1], color="#222222")
            waiting.plot(took[0], 100 * waited[1] / took[1], color="#222222")
        memory.plot(*self._binned("memory_bytes", GIB), color="#222222")
        for axes, name in (
            (loss, "L1 loss"), (sdr, "validation SDR (dB)"), (rate, "learning rate"),
            (speed, "examples a second"), (waiting, "% of the time waiting for data"),
            (memory, "memory (GiB)"),
        ):  # fmt: skip
            axes.set(xlabel="step", ylabel=name)
            axes.spines["top"].set_visible(False)
            axes.spines["right"].set_visible(axes is rate)
        for axes in (speed, waiting, memory):
            highest = axes.dataLim.ymax  # infinite where nothing is drawn
            axes.set_ylim(bottom=0, top=1.1 * max(highest, 1e-3) if np.isfinite(highest) else 1)
        for axes in (loss, sdr):
            axes.legend(frameon=False, fontsize="small")
        figure.tight_layout()
        return figure

    def _binned(
        self, name: str, unit: float = 1.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        steps, values = binned(self._values[name], self._first_step)
        return steps, values / unit

    def _draw(self, axes: Axes, name: str, *, color: str, label: str) -> None:
        """A curve of what is known; nothing where nothing is."""
        steps, values = self._binned(name)
        if np.isfinite(values).any():
            axes.plot(steps, values, linewidth=1, color=color, label=label)


def _told(value: float) -> str:
    return "" if np.isnan(value) else number(value)
