"""The study's rows as Parquet: written after every training, and read where a study goes on.

A study takes days, and the machine of yesterday may be gone; these files are small, and outlive it.
Songs, seeds and options are the same wherever the study goes on (the samples of a song but for
their last bits), so that only what nobody has finished is left to do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demo_corpus.files import appear
from demucs_core.training.examples import GROUPED_EXAMPLES
from demucs_core.training.validation import GROUPED_VALIDATION, Validation
from flows.studies.paper.findings import Found, PaperFindings, Run
from flows.studies.paper.parameters import PaperParameters
from flows.studies.paper.trainings import Key, State, Training
from flows.train.flow import VERSION
from storage.errors import UserError
from storage.fingerprint import short_hash

TRAININGS, SCORES, VALIDATIONS, SILENCES = "trainings", "scores", "validations", "silences"


def write_tables(parameters: PaperParameters, findings: PaperFindings) -> list[Path]:
    """Write the rows, each file whole or not at all; returns those that have any."""
    files = []
    for table, rows in {
        TRAININGS: _training_rows(findings, asked_of(parameters)),
        SCORES: _score_rows(findings),
        VALIDATIONS: _validation_rows(findings),
        SILENCES: findings.silence_rows(),
    }.items():
        if rows:
            path = _path_of(parameters, parameters.output, table)
            appear(path, partial(pq.write_table, pa.Table.from_pylist(rows)))
            files.append(path)
    return files


def asked_of(parameters: PaperParameters) -> str:
    """What a training of the study is asked for, by a name: with another, another comes of it."""
    versions = [VERSION, GROUPED_EXAMPLES, GROUPED_VALIDATION]
    return short_hash(json.dumps([versions, parameters.content()], sort_keys=True), 8)


def read_silences(parameters: PaperParameters) -> list[dict[str, Any]]:
    """What the detectors of earlier workspaces found.

    Raises:
        UserError: the file of the study can't be read.
    """
    path = _path_of(parameters, parameters.earlier, SILENCES)
    return _rows(path) if parameters.earlier and path.exists() else []


def _path_of(parameters: PaperParameters, folder: str, table: str) -> Path:
    return Path(folder, f"{parameters.study}-{table}.parquet")


def read_earlier(
    parameters: PaperParameters,
    trainings: Sequence[Training],
    songs: Sequence[str],
    sources: Sequence[str],
) -> dict[Key, Found]:
    """Read the trainings that came to their end, scores of every test song included.

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
    trained, scored, validated = (
        _rows(_path_of(parameters, parameters.earlier, table))
        for table in (TRAININGS, SCORES, VALIDATIONS)
    )
    asked = asked_of(parameters)
    about = {_key(row): row for row in trained if row.get("asked") == asked and row["trained"]}
    scores: dict[Key, dict[tuple[str, str], float]] = {}
    for row in scored:
        if not row["curve"]:
            scores.setdefault(_key(row), {})[row["song"], row["source"]] = row["sdr_db"]
    histories: dict[Key, list[Validation]] = {}
    for row in validated:
        histories.setdefault(_key(row), []).append(_validation(row, sources))
    cells, found = [(song, source) for song in songs for source in sources], {}
    for training in trainings:
        of_songs = scores.get(training.key, {})
        is_scored = of_songs.keys() == set(cells)
        if training.key not in about or not (is_scored or training.arm.mixit):
            continue
        row = about[training.key]
        sdr_ns = None
        if is_scored:
            sdr_ns = np.reshape([of_songs[cell] for cell in cells], (len(songs), len(sources)))
        found[training.key] = Found(
            training=training,
            state=State(
                model=row["model"],
                trained=True,
                history=histories.get(training.key, []),
                remixes=row["remixes"],
                elsewhere=row.get("workspace", 1),
            ),
            sdr_ns=sdr_ns,
            train=Run(run_id=row["train_run"], duration_s=row["train_s"]),
            evaluate=Run(run_id=row["evaluate_run"]),
        )
    return found


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


def _key(row: Mapping[str, Any]) -> Key:
    return row["arm"], row["seed"]


def _training_rows(findings: PaperFindings, asked: str) -> list[dict[str, Any]]:
    this = findings.workspace
    return [
        {
            "arm": each.training.arm.key,
            "seed": each.training.seed,
            "asked": asked,
            "workspace": each.state.elsewhere or this,
            "model": each.state.model,
            "train_run": each.train.run_id,
            "train_s": each.train.duration_s,
            "evaluate_run": each.evaluate.run_id,
            "remixes": each.state.remixes,
            "trained": each.state.trained,
            "problem": findings.problem(each),
        }
        for each in findings.found
    ]


def _score_rows(findings: PaperFindings) -> list[dict[str, Any]]:
    points = [("", math.nan, each) for each in findings.found]
    points += [
        (point.curve, point.value, each) for point in findings.points for each in point.found
    ]
    return [
        {
            "curve": curve,
            "value": value,
            "arm": each.training.arm.key,
            "seed": each.training.seed,
            "song": song,
            "source": source,
            "sdr_db": float(each.sdr_ns[row, column]),
        }
        for curve, value, each in points
        if each.sdr_ns is not None
        for row, song in enumerate(findings.songs)
        for column, source in enumerate(findings.sources)
    ]


def _validation_rows(findings: PaperFindings) -> list[dict[str, Any]]:
    return [
        {
            "arm": each.training.arm.key,
            "seed": each.training.seed,
            "step": entry.step,
            "train_loss": entry.train_loss,
            "loss": entry.loss,
            **{
                f"{source}_sdr_db": sdr_db
                for source, sdr_db in zip(findings.sources, entry.sdr_db, strict=False)
            },
            "best": entry.best,
        }
        for each in findings.found
        for entry in each.state.history
    ]
