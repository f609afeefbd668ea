"""The demo on songs of ten seconds, with trainings of two steps; and what it makes of scores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from flows.evaluate.options import EvaluateParameters
from flows.evaluate.summary import Verdict
from flows.studies import demo, side_by_side
from flows.studies.demo import run_demo
from flows.studies.demo_options import DemoParameters
from flows.studies.demo_summary import conclusion
from flows.studies.side_by_side import Job, Slot, do, run_side_by_side
from flows.train.options import TrainParameters
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

POLICY = {
    "target_precision": 0.05, "min_duration_s": 0.5, "min_songs": 2,
    "allow_insufficient_evidence": True,
}  # fmt: skip


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> list[Slot]:
    """Two jobs side by side, but each is done in this process where it begins; lists them."""
    begun = list[Slot]()

    def begin(job: Job, *_: Any) -> Slot:
        answer, theirs = Pipe(duplex=False)
        theirs.send(do(job))
        begun.append(Slot(job, Mock(spec=SpawnProcess), answer, 0))
        return begun[-1]

    monkeypatch.setattr(side_by_side, "_begin", begin)
    monkeypatch.setattr(demo, "how_many", lambda *_: 2)
    return begun


@pytest.mark.usefixtures("two_cores")
def test_three_models_alike_but_for_what_they_learn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "POLICY", POLICY)
    fit = {"steps": 4, "batch_size": 2, "crop_s": 3.0}
    monkeypatch.setattr(demo, "STAGES", {"fit_detector": fit, "extract": POLICY})
    training = {"channels": 2, "depth": 2, "steps": 2, "crop_s": 2.0, "batch_size": 2}
    monkeypatch.setattr(demo, "TRAINING", {**training, "validation_crops": 1, "weak_share": 0.5})
    parameters = DemoParameters(
        workspace=str(tmp_path / "demo"), train_songs=1, valid_songs=2, test_songs=2,
        unlabelled_songs=3, song_s=10.0, workers=1,
    )  # fmt: skip
    console = Console(record=True, width=100, quiet=False)
    run_demo(parameters, console)
    said = console.export_text()
    assert "labelled songs alone" in said
    assert "2 test songs show nothing" in said
    manifests = Manifests(Workspace(parameters.workspace))
    assert manifests.latest("segments", demo.MUSIC) != manifests.latest("segments", demo.TRUTH)
    assert manifests.count(manifests.latest("remixes", demo.TRUTH)) > 0
    runs = [row for part in manifests.partitions("runs") for row in manifests.rows(part)]
    assert [row["stage"] for row in sorted(runs, key=lambda row: row["started_at"])] == [
        *("ingest", "ingest", "train", "fit-detector", "score", "extract", "remix", "train"),
        *("true-segments", "remix", "train", "evaluate", "evaluate"),
        *("evaluate", "evaluate", "evaluate"),
    ], "a training begins as soon as it can; two models are evaluated beside the last one"


def test_an_error_between_two_trainings_ends_those_at_work(
    two_cores: list[Slot], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(side_by_side, "train", Mock())
    job = Job(label="a", log="a.log", train=TrainParameters(), evaluate=None)

    def jobs() -> Iterator[Job]:
        yield job
        raise UserError("no room")

    with pytest.raises(UserError, match="no room"):
        run_side_by_side(
            jobs(), num_processes=2, device="cpu", logs=tmp_path, on_end=lambda *_: None
        )
    [slot] = two_cores
    assert isinstance(slot.process, Mock)
    assert [call[0] for call in slot.process.method_calls] == ["terminate", "join"]


@pytest.mark.parametrize(
    ("device", "num_processes", "loaders"), [("cpu", 2, 0), ("cuda:0", 14, 0), ("cuda:0", 2, 7)]
)
def test_trainings_side_by_side_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, device: str, num_processes: int, loaders: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    job = Job(label="a", log="a.log", train=TrainParameters(), evaluate=EvaluateParameters())
    told = job.on(device, num_processes)
    assert told.train.loader_workers == loaders
    assert told.evaluate is not None
    assert told.train.device == told.evaluate.device == device


def verdict(median_db: float | None, *, shown: bool) -> Verdict:
    return Verdict(
        method="m", source="mean", num_songs=20, median_db=median_db, low_db=-0.1, high_db=0.9,
        p_value=0.25, shown=shown, sentence="",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("median_db", "shown", "says"),
    [
        (0.5, True, "Unlabelled music gave +0.50 dB"),
        (-0.5, True, "Unlabelled music did harm: -0.50 dB"),
        (0.5, False, "No difference is shown: +0.50 dB"),
        (None, False, "20 test songs show nothing"),
    ],
)
def test_the_last_line_says_what_the_songs_show(
    median_db: float | None, shown: bool, says: str
) -> None:
    remixes, ceiling = verdict(median_db, shown=shown), verdict(0.7, shown=True)
    assert says in conclusion(remixes, ceiling, improving=0)[0]
    last = conclusion(remixes, ceiling, improving=2)[-1]
    assert ("at the last step: 2 of 3" in last) is (median_db is not None)


def test_the_demo_wants_a_local_folder() -> None:
    with pytest.raises(UserError, match="wants a local folder"):
        run_demo(DemoParameters(workspace="memory://demo"), Console())
