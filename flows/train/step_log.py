"""What each step of a training showed → ``steps``, and as events for TensorBoard."""

from __future__ import annotations

import math
import resource
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from demucs_core.training.trainer import StepReport
from flows.running.stage import StageRun
from storage.addresses import is_url
from storage.errors import UserError
from storage.tables.edits import remove_parts
from storage.tables.manifests import Partition
from storage.tables.schemas import STEPS


class Events(Protocol):
    """What takes scalars: TensorBoard's ``SummaryWriter``, of which no more is used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """Take one."""

    def close(self) -> None:
        """Write all of them."""


def how_to_look(folder: str) -> str:
    """The command that shows the events below a folder; empty where none are written."""
    if not folder:
        return ""
    place = folder if is_url(folder) else str(Path(folder).absolute())
    return f"TensorBoard shows the steps: `{shlex.join(['tensorboard', '--logdir', place])}`"


class StepLog:
    """Keeps the rows of steps, and writes them as the checkpoints are, a part each.

    Args:
        run: the training's.
        events: takes the same figures at once, or None.
    """

    def __init__(self, run: StageRun, events: Events | None = None) -> None:
        self._run, self._events = run, events
        self._rows: list[Mapping[str, Any]] = []

    def go_back(self, step: int) -> None:
        """Drop the steps after ``step``: they will be taken again."""
        self._rows = [row for row in self._rows if row["step"] <= step]
        manifests, partition = self._run.manifests, self._partition
        later = {item for item in manifests.items(partition) if _last(item) > step}
        remove_parts(manifests, partition, manifests.within(partition, later))

    def add(self, report: StepReport) -> Mapping[str, Any]:
        """Keep the row of a step, and return it."""
        row = _row(report)
        self._rows.append(row)
        if self._events is not None:
            for tag, value in _scalars(row, self._run.workspace.music.sources):
                self._events.add_scalar(tag, value, report.step)
        return row

    def write(self) -> None:
        """Write the rows since the last time."""
        if self._rows:
            first, last = self._rows[0]["step"], self._rows[-1]["step"]
            self._run.manifests.write(self._partition, [f"{first}-{last}"], self._rows)
            self._rows = []

    @property
    def _partition(self) -> Partition:
        return self._run.partition(STEPS.name)


@contextmanager
def events(folder: str, model: str) -> Iterator[Events | None]:
    """What takes the events of a training, in a folder of its own below ``folder``.

    Raises:
        UserError: TensorBoard is not installed, or the folder can't be written.
    """
    if not folder:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError(
            f"tensorboard: needs the package tensorboard, which can't be imported here ({error}): "
            "pip install 'silentmix[tensorboard]'"
        ) from error
    try:
        writer: Events = SummaryWriter(f"{folder}/{model}")
    except OSError as error:
        raise UserError(
            f"tensorboard: {folder}: no folder to write events to ({error.strerror}); name another"
        ) from error
    try:
        yield writer
    finally:
        writer.close()


def _row(report: StepReport) -> dict[str, Any]:
    figures, validation = report.figures, report.validation
    return {
        "step": report.step,
        "loss": figures.loss,
        "labelled_loss": figures.labelled_loss,
        "weak_loss": figures.weak_loss,
        "gradient_norm": figures.gradient_norm,
        "learning_rate": figures.learning_rate,
        "wait_s": report.wait_s,
        "step_s": report.step_s,
        "examples_per_s": report.examples_per_s,
        "memory_bytes": _memory_bytes(),
        "validation_loss": math.nan if validation is None else validation.loss,
        "validation_sdr_db": [] if validation is None else list(validation.sdr_db),
    }


def _scalars(row: Mapping[str, Any], sources: Sequence[str]) -> Iterator[tuple[str, float]]:
    """The figures of a row that are known, by tag."""
    for name, value in row.items():
        if name != "step" and isinstance(value, int | float) and not math.isnan(value):
            yield f"train/{name}", value
    yield "train/wait_share", row["wait_s"] / row["step_s"]
    for source, sdr_db in zip(sources, row["validation_sdr_db"], strict=False):
        if not math.isnan(sdr_db):
            yield f"validation/sdr_db/{source}", sdr_db


def _memory_bytes() -> int:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _last(item: str) -> int:
    return int(item.partition("-")[2])
