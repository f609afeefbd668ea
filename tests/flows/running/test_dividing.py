"""What kills every worker that it is given to is found by halving, and costs itself alone."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import dask
import distributed
import pytest
from prefect import flow

from flows.catalogue import BY_NAME
from flows.evaluate import flow as evaluating
from flows.evaluate.options import EvaluateParameters
from flows.extract import flow as extracting
from flows.extract.options import ExtractParameters
from flows.ingest import completing
from flows.ingest import flow as ingesting
from flows.ingest.options import IngestParameters
from flows.remix import flow as remixing
from flows.remix.options import RemixParameters
from flows.running import execution
from flows.running.dividing import Divisible, halved
from flows.running.execution import dask_client, run_batches
from flows.running.parameters import StageParameters
from flows.running.progress import progress
from flows.running.rejects import WORKER_DIED
from flows.score import worker as scoring
from flows.score.options import ScoreParameters
from flows.yields import flow as yielding
from flows.yields.options import YieldsParameters
from storage.errors import UserError
from storage.tables.manifests import Partition
from storage.workspace import Workspace
from tests.flows.conftest import SOURCES, Corpus, Finished, content, worker_processes

KILLER = "killer"


@dataclass(frozen=True)
class Names(Divisible[str]):
    names: Sequence[str]

    def halves(self) -> Sequence[Self]:
        return [replace(self, names=names) for names in halved(self.names)]

    def refused(self, detail: str) -> str:
        [name] = self.names
        assert "died" in detail
        return f"refused {name}"


def done(batch: Names) -> str:
    """The work: what one of its items does to the process is what a bad file can do."""
    if KILLER in batch.names:
        os.kill(os.getpid(), signal.SIGKILL)
    return " ".join(batch.names)


def killed() -> distributed.KilledWorker:
    """What Dask raises where the workers of a batch died."""
    worker: Any = SimpleNamespace(address="tcp://127.0.0.1:1")
    return distributed.KilledWorker("work", worker, 1)


def dead(batch: Names) -> str:
    """The same, in a process that is to live on: what Dask tells then."""
    if KILLER in batch.names:
        raise killed()
    return " ".join(batch.names)


def results(
    client: distributed.Client,
    work: Callable[[Any], str],
    *batches: object,
    most_workers: int = 0,
) -> list[str]:
    @flow
    def run() -> list[str]:
        with progress("names", len(batches), "batches") as bar:
            return list(run_batches(client, work, batches, bar, most_workers=most_workers))

    return run()


def test_a_batch_that_kills_its_workers_costs_one_item() -> None:
    """Of a real cluster; the batches beside it, which were on the same worker, are whole."""
    with worker_processes(), dask_client(StageParameters(workers=1)) as client:
        found = results(client, done, Names(["a", "b"]), Names([KILLER]), Names(["c"]))
    assert found == ["a b", "refused killer", "c"]


def test_so_does_one_where_few_workers_may_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the batches that wait for a worker that died are given to the one after it."""
    monkeypatch.setattr(execution, "NO_WORKERS_S", 2)
    with worker_processes(), dask_client(StageParameters(workers=2)) as client:
        found = results(client, done, Names([KILLER]), Names(["a"]), most_workers=1)
    assert found == ["refused killer", "a"]


def test_a_worker_that_is_being_started_again_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one that dies for the second time when Dask looks what became of the first."""
    monkeypatch.setattr(execution, "NO_WORKERS_S", 10)
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "10 ms"}),
        worker_processes(),
        dask_client(StageParameters(workers=1)) as client,
    ):
        found = results(client, done, Names([KILLER]), Names(["a"]))
    assert found == ["refused killer", "a"]


def test_pieces_are_as_large_as_they_can_be_and_in_order(one_worker: distributed.Client) -> None:
    batch = Names(["a", "b", "c", "d", "e", KILLER, "f", "g"])
    found = results(one_worker, dead, batch, Names(["h"]))
    assert found == ["a b c d", "e", "refused killer", "f g", "h"]


def test_what_can_not_be_divided_is_said_in_a_line(one_worker: distributed.Client) -> None:
    """The others are done nevertheless."""
    found: list[int] = []

    def work(number: int) -> int:
        if number == 1:
            raise killed()
        return number

    @flow
    def run() -> None:
        with progress("numbers", 3, "batches") as bar:
            for result in run_batches(one_worker, work, range(3), bar):
                found.append(result)  # noqa: PERF402  what comes before an error counts

    with pytest.raises(UserError, match="every process that worked on it died"):
        run()
    assert found == [0, 2]


@pytest.fixture
def copy(pristine: Finished, tmp_path: Path) -> Finished:
    shutil.copytree(pristine.workspace.root, tmp_path / "workspace")
    return replace(pristine, workspace=Workspace(str(tmp_path / "workspace")))


def kill_at(monkeypatch: pytest.MonkeyPatch, module: Any, work: str, name: str) -> None:
    """Let a stage's work die of the batches that hold an item."""
    whole = getattr(module, work)

    def dies(batch: Any) -> Any:
        if name in names_in(batch):
            raise killed()
        return whole(batch)

    monkeypatch.setattr(module, work, dies)


def names_in(batch: Any) -> list[str]:
    """Of the items of a batch of any stage, what a reject calls them."""
    if hasattr(batch, "files"):
        return [file.url for file in batch.files]
    if hasattr(batch, "songs"):
        return [f"{song.split}/{song.name}" for song in batch.songs]
    if hasattr(batch, "song"):
        return [batch.song.track_id]
    if hasattr(batch, "tracks"):
        return [track["track_id"] for track in batch.tracks]
    if hasattr(batch, "audio"):
        return [audio.path for audio in batch.audio]
    if hasattr(batch, "named"):
        return [""]
    return list(batch.names())


def rows_of(finished: Finished) -> dict[Partition, list[str]]:
    """Of every partition that has some."""
    return {partition: rows for partition, rows in content(finished.workspace).items() if rows}


@pytest.mark.parametrize("stage", ["score", "extract", "remix", "evaluate"])
def test_every_stage_refuses_one_and_tries_it_again(
    copy: Finished, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The next run, in which it kills nobody, makes what an undisturbed one did."""
    undisturbed = rows_of(copy)
    common: dict[str, Any] = {"workspace": copy.workspace.location, "workers": 1}
    options = copy.parameters
    [module, work, parameters, table, column] = {
        "score": (
            scoring, "score_batch", ScoreParameters(**common, batch_tracks=4), "scores", "track_id",
        ),
        "extract": (
            extracting, "extract_batch",
            ExtractParameters(**common, **options.extract.model_dump()), "segments", "track_id",
        ),
        "remix": (
            remixing, "remix_batch",
            RemixParameters(**common, **options.remix.model_dump()), "remixes", "segment_id",
        ),
        "evaluate": (evaluating, "evaluate_song", EvaluateParameters(**common), "evaluations",
                     "track_id"),
    }[stage]  # fmt: skip
    run: Any = BY_NAME[stage].load_flow()
    corpus = "labelled" if stage == "evaluate" else "music"
    target = copy.manifests.partitions(table, corpus)[0]
    killer = next(copy.manifests.rows(target, [column]))[column]
    with monkeypatch.context() as patch:
        kill_at(patch, module, work, killer)
        # of the one test song nothing is left to compare
        alone = pytest.raises(UserError, match="died") if stage == "evaluate" else nullcontext()
        with alone:
            run(parameters.model_copy(update={"force": True}))
    reject, *_ = [row for row in copy.rows("rejects", corpus) if row["stage"] == stage]
    assert (reject["item"], reject["reason"]) == (killer, WORKER_DIED)
    every = {row[column] for row in copy.manifests.rows(target, [column])}
    assert killer not in every
    assert stage == "evaluate" or every
    run(parameters)
    assert rows_of(copy) == undisturbed


def test_what_completes_a_corpus_leaves_one_out(
    copy: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And makes it the next time."""
    undisturbed = rows_of(copy)
    [target] = copy.manifests.partitions("measures", "music")
    for path in copy.manifests.parts(target):
        copy.workspace.remove(path)
    killer = next(copy.manifests.rows(replace(target, table="tracks"), ["path"]))["path"]
    settings = {**copy.parameters.ingest.model_dump(), "workspace": copy.workspace.location}
    source = copy.parameters.unlabelled
    parameters = IngestParameters(**settings, workers=1, source=source, complete=True)
    with monkeypatch.context() as patch:
        kill_at(patch, completing, "hear", killer)
        result = ingesting.ingest(parameters)
    assert any(killer in note and "died" in note for note in result.notes)
    ingesting.ingest(parameters)
    assert rows_of(copy) == undisturbed


def test_what_nothing_can_be_done_without_is_named(
    copy: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_at(monkeypatch, yielding, "yields_of_batch", "")
    parameters = YieldsParameters(workspace=copy.workspace.location, workers=1)
    with pytest.raises(UserError, match=r"manifests/scores/.*\.parquet: every process"):
        yielding.yields(parameters)


@pytest.mark.parametrize("labelled", [False, True])
def test_ingest_refuses_one_file_or_song(
    corpus: Corpus, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    labelled: bool,
) -> None:  # fmt: skip
    source, name, table = corpus.unlabelled, "music", "tracks"
    if labelled:
        source, name, table = corpus.labelled, "labelled", "stems"
    workspace = Workspace(str(tmp_path / "w"), create=True)
    parameters = IngestParameters(
        workspace=workspace.location, workers=1, source=str(source), corpus=name, labelled=labelled,
    )  # fmt: skip
    killer = "train/Song 1" if labelled else str(corpus.unlabelled / "c.mp3")
    mine = Finished(workspace, finished.parameters, [])
    with monkeypatch.context() as patch:
        kill_at(patch, ingesting, "ingest_songs" if labelled else "ingest_files", killer)
        ingesting.ingest(parameters)
    [reject] = [row for row in mine.rows("rejects") if row["reason"] == WORKER_DIED]
    assert reject["item"] == killer
    without = len(mine.rows(table))
    ingesting.ingest(parameters.model_copy(update={"retry": "rejected"}))
    assert [row for row in mine.rows("rejects") if row["reason"] == WORKER_DIED] == []
    assert len(mine.rows(table)) == without + (1 + len(SOURCES) if labelled else 1)
