"""How trainings before this one went, to be drawn beside it."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from flows.inputs.given_names import names_of
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import last_runs

MOST = 4


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """The validations of a training.

    Attributes:
        name: that its model was given, or its id.
        steps: after which they were.
        losses: of them.
        sdr_db: mean over the sources; NaN where it is of none.
    """

    name: str
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    sdr_db: list[float] = field(default_factory=list)


def earlier_trainings(manifests: Manifests, own: Partition, stage: str) -> list[Earlier]:
    """The last few trainings on the same corpus that ended well, oldest first.

    One whose record is damaged is left out.

    Args:
        manifests: of the workspace.
        own: where this training's steps are written.
        stage: that trains.
    """
    found: list[Earlier] = []
    with suppress(UserError):
        before = [each.fingerprint for each in last_runs(manifests, (stage,))
                  if each.corpus == own.corpus and each.fingerprint != own.fingerprint]  # fmt: skip
        for model in before[-MOST:]:
            with suppress(UserError):
                found.append(_read(manifests, replace(own, fingerprint=model)))
    return [each for each in found if each.steps]


def _read(manifests: Manifests, partition: Partition) -> Earlier:
    model = partition.fingerprint
    found = Earlier(name=(names_of(manifests.workspace, "models", model) or [model])[0])
    columns = ["step", "validation_loss", "validation_sdr_db"]
    rows: list[dict[str, Any]] = []
    for batch in manifests.scan(partition, columns):  # a row a step, of which few have a validation
        rows += batch.filter(pc.invert(pc.is_nan(batch["validation_loss"]))).to_pylist()
    for row in sorted(rows, key=lambda row: int(row["step"])):
        known = [value for value in row["validation_sdr_db"] if not math.isnan(value)]
        found.steps.append(row["step"])
        found.losses.append(row["validation_loss"])
        found.sdr_db.append(float(np.mean(known)) if known else math.nan)
    return found
