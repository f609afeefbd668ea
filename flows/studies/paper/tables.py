"""What the files of a study hold of trainings that ended in another workspace, on another day.

A study takes days, and the machine of yesterday may be gone; its files in the output folder are
small, and outlive it. Songs, seeds and options are the same wherever the study goes on (the samples
of a song but for their last bits), so that only what nobody has finished is left to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demucs_core.training.examples import GROUPED_EXAMPLES
from demucs_core.training.validation import GROUPED_VALIDATION, Validation
from flows.studies.paper.findings import Found, Run
from flows.studies.paper.parameters import PaperParameters
from flows.studies.paper.trainings import Key, State, Training
from flows.train.flow import VERSION
from storage.errors import UserError
from storage.fingerprint import short_hash

TABLES = ("trainings", "scores", "validations")
"""The files of a study that hold rows, by what their rows are about."""


def asked_of(parameters: PaperParameters) -> str:
    """What a training of the study is asked for, by a name: with another, another comes of it."""
    versions = [VERSION, GROUPED_EXAMPLES, GROUPED_VALIDATION]
    return short_hash(json.dumps([versions, parameters.content()], sort_keys=True), 8)


def path_of(parameters: PaperParameters, folder: str, table: str) -> Path:
    """The file of a table of the study in a folder."""
    return Path(folder, f"{parameters.study}-{table}.parquet")


def read_earlier(
    parameters: PaperParameters,
    trainings: Sequence[Training],
    songs: Sequence[str],
    sources: Sequence[str],
) -> dict[Key, Found]:
    """Read the trainings that were scored on every test song, by arm and seed.

    Args:
        parameters: of the study.
        trainings: all of it.
        songs: names of the test songs, in the order of the scores.
        sources: names of the sources, likewise.

    Raises:
        UserError: a file of the study is not there, or can't be read.
    """
    if not parameters.earlier:
        return {}
    rows = {table: _rows(path_of(parameters, parameters.earlier, table)) for table in TABLES}
    about = {
        (row["arm"], row["seed"]): row
        for row in rows["trainings"]
        if row.get("asked") == asked_of(parameters)
    }
    scores: dict[Key, dict[tuple[str, str], float]] = {}
    for row in rows["scores"]:
        if not row["curve"]:
            of_training = scores.setdefault((row["arm"], row["seed"]), {})
            of_training[row["song"], row["source"]] = row["sdr_db"]
    cells = [(song, source) for song in songs for source in sources]
    found = {}
    for training in trainings:
        of_songs = scores.get(training.key, {})
        if training.key not in about or of_songs.keys() != set(cells):
            continue
        row = about[training.key]
        history = [
            _validation(entry, sources)
            for entry in rows["validations"]
            if (entry["arm"], entry["seed"]) == training.key
        ]
        sdr_ns = np.array([of_songs[cell] for cell in cells]).reshape(len(songs), len(sources))
        found[training.key] = Found(
            training=training,
            state=State(
                model=row["model"],
                trained=True,
                history=history,
                remixes=row["remixes"],
                elsewhere=True,
            ),
            sdr_ns=sdr_ns,
            train=Run(run_id=row["train_run"], duration_s=row["train_s"]),
            evaluate=Run(run_id=row["evaluate_run"]),
        )
    return found


def left_to_do(wanted: Sequence[Training], earlier: Mapping[Key, Found]) -> list[Training]:
    """What of it is to be trained here: no file holds the model that another arm waits for."""
    left = {training.key for training in wanted if training.key not in earlier}
    awaited = {(training.arm.after, training.seed) for training in wanted if training.key in left}
    return [training for training in wanted if training.key in left | awaited]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise UserError(
            f"--earlier: {path} is not a file of this study that can be read "
            f"({str(error).splitlines()[0]}); name the folder that it was written to"
        ) from error
    return rows


def _validation(row: Mapping[str, Any], sources: Sequence[str]) -> Validation:
    names = [f"{source}_sdr_db" for source in sources]
    return Validation(
        step=row["step"],
        train_loss=row["train_loss"],
        loss=row["loss"],
        sdr_db=tuple(row[name] for name in names if row.get(name) is not None),
        best=row["best"],
    )
