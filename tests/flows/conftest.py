from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import distributed
import numpy as np
import pytest
import soundfile
import yaml
from matplotlib.figure import Figure
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    temporary_settings,
)
from prefect.testing.utilities import prefect_test_harness
from sqlalchemy import make_url

from flows.ingest import report as ingest_report
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.remix import report as remix_report
from flows.reports import artifacts, live_plot
from flows.reports.spectrogram import spectrogram_png
from flows.running import execution
from flows.running.execution import dask_client
from flows.running.parameters import WorkParameters
from flows.running.stage import StageResult
from storage.decoding.prints import can_print
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import TABLES
from storage.workspace import Workspace

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate
SOURCES = MUSIC.sources

PNG_OF, PLAYER_S, TIGHT_LAYOUT = artifacts.png_of, artifacts.PLAYER_S, Figure.tight_layout
BLANK = PNG_OF(Figure(figsize=(0.1, 0.1)))

SONG_S = 7.0
HISS = 0.001
SETTINGS: dict[str, Any] = {
    "workers": 1,
    "fit_detector": {"steps": 12, "batch_size": 4, "crop_s": 3.0},
    "score": {"batch_tracks": 1},
    "extract": {
        "min_duration_s": 1.0,
        "target_precision": 0.5,
        "min_songs": 2,
        "allow_insufficient_evidence": True,
    },
    "remix": {"remixes_per_segment": 2},
    "train": {
        "channels": 4,
        "depth": 3,
        "steps": 6,
        "batch_size": 2,
        "crop_s": 1.5,
        "weak_share": 0.5,
        "validate_every": 3,
        "checkpoint_every": 2,
        "validation_crops": 1,
    },
}
BROKEN = {
    "broken.mp3": "corrupt",
    "copy.wav": "duplicate",
    "empty.wav": "empty",
    "leak.wav": "labelled_test",
    "short.wav": "too_short",
    "silent.wav": "silent",
}


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> None:
    """A shell lets jobs in the background ignore Ctrl-C, and what they start inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A real Prefect server on a temporary database; gives a copy of that, as it is without runs.

    A server that finds such a one starts in a third of the time that it takes to make it.
    """
    # at its end, a flow run that has a heartbeat waits for it for up to a second
    quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
    silent = mock.patch.dict(os.environ, PREFECT_SERVER_ANALYTICS_ENABLED="false")
    with silent, prefect_test_harness(server_startup_timeout=600), quiet:
        database = make_url(PREFECT_SERVER_DATABASE_CONNECTION_URL.value()).database
        empty = tmp_path_factory.mktemp("database") / "prefect.db"
        with (
            closing(sqlite3.connect(str(database))) as found,
            closing(sqlite3.connect(empty)) as to,
        ):
            found.backup(to)
        yield empty


@pytest.fixture(scope="session", autouse=True)
def one_worker() -> Iterator[distributed.Client]:
    """Stages work in this process: a process of Dask's would first import all that this one has.

    Commands that tests start have processes of their own, as has what :func:`worker_processes`
    encloses.
    """
    with dask_client(WorkParameters(), in_process=True) as client:
        yield client


@contextmanager
def reports(*, drawn: bool) -> Iterator[None]:
    """Let stages report with or without what most of a short run goes into: pixels and MP3."""
    with ExitStack() as stack:
        for module in (artifacts, live_plot):
            draw = PNG_OF if drawn else blank
            stack.enter_context(mock.patch.object(module, "png_of", draw))
        for module in (artifacts, ingest_report, remix_report):
            player_s = PLAYER_S if drawn else 0.5
            stack.enter_context(mock.patch.object(module, "PLAYER_S", player_s))
        spectrogram = spectrogram_png if drawn else lambda *_: BLANK
        stack.enter_context(mock.patch.object(artifacts, "spectrogram_png", spectrogram))
        layout = TIGHT_LAYOUT if drawn else blank
        stack.enter_context(mock.patch.object(Figure, "tight_layout", layout))
        yield


def blank(_: Figure) -> bytes:
    return BLANK


@pytest.fixture(scope="session", autouse=True)
def quick_reports() -> Iterator[None]:
    """Of `pristine`, in ``reports/`` and by commands they are drawn."""
    with reports(drawn=False):
        yield


@contextmanager
def worker_processes() -> Iterator[None]:
    """Let who asks for a Dask client start a cluster of its own, as users have it."""
    nobodys: ContextVar[distributed.Client | None] = ContextVar("nobodys", default=None)
    with mock.patch.object(execution, "_shared", nobodys):
        yield


def play(seed: int, music: MusicFormat = MUSIC, song_s: float = SONG_S) -> dict[str, np.ndarray]:
    """Stems ``(T, C)`` of a song in which each source pauses once."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(song_s * music.sample_rate)) / music.sample_rate
    beat_s = rng.uniform(0.3, 0.5)
    chord = [rng.uniform(300, 600) * ratio for ratio in (1, 1.25, 1.5)]
    voice_hz = rng.uniform(180, 300)
    vibrato = 3 * np.sin(2 * np.pi * 5 * time_s)
    waves = {
        "drums": np.exp(-(time_s % beat_s) / 0.04) * rng.standard_normal(len(time_s)),
        "bass": np.sign(np.sin(2 * np.pi * rng.uniform(40, 90) * time_s)) * 0.5,
        "other": sum(np.sin(2 * np.pi * hz * time_s) for hz in chord) / 3,
        "vocals": sum(
            np.sin(2 * np.pi * voice_hz * k * time_s + vibrato) / k for k in (1, 2, 3, 4)
        ),
    }
    stems = {}
    for place, source in enumerate(music.sources):
        start = rng.uniform(0, song_s - 3.5)
        sounds = (time_s < start) | (time_s > start + 3.0)
        wave = waves[source] if source in waves else np.sin(2 * np.pi * 200 * 1.4**place * time_s)
        mono = 0.15 * rng.uniform(0.6, 1) * wave * sounds
        sides = np.stack([mono, mono * 0.8][: music.num_channels], axis=1)
        # where one channel tells all of the other, BSSEval takes museval's slow way
        noise = np.random.default_rng([seed, place]).standard_normal(sides.shape)
        stems[source] = (sides + HISS * noise * sounds[:, None]).astype(np.float32)
    return stems


def mix(stems: Mapping[str, np.ndarray]) -> np.ndarray:
    """The sum of stems."""
    return np.asarray(np.sum(list(stems.values()), axis=0))


def write(path: Path, audio: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, sample_rate)


@dataclass(frozen=True)
class Corpus:
    labelled: Path
    unlabelled: Path

    def settings(self, workspace: Path) -> dict[str, Any]:
        """The fields of :class:`PipelineParameters` for this corpus."""
        return {
            **SETTINGS,
            "workspace": str(workspace),
            "labelled": str(self.labelled),
            "unlabelled": str(self.unlabelled),
        }

    def config(self, workspace: Path) -> Path:
        """The same as a configuration file beside the workspace."""
        path = workspace.with_suffix(".yaml")
        path.write_text(yaml.safe_dump(self.settings(workspace)))
        return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Seven labelled songs; five songs without stems, and files that can't be used."""
    root = tmp_path_factory.mktemp("corpus")
    splits = {"train": 3, "valid": 3, "test": 1}
    number = 0
    for split, count in splits.items():
        for _ in range(count):
            number += 1
            for source, audio in (stems := play(number)).items():
                write(root / f"labelled/{split}/Song {number}/{source}.wav", audio)
            mixture = mix(stems)
            write(root / f"labelled/{split}/Song {number}/mixture.wav", mixture)
    folder = root / "unlabelled"
    for index, name in enumerate(("a b.wav", "live/é.flac", "c.mp3", "d.ogg", "e.wav")):
        write(folder / name, mix(play(100 + index)))
    (folder / "broken.mp3").write_bytes(b"not music" * 100)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "copy.wav").write_bytes((folder / "a b.wav").read_bytes())
    leak = next((root / "labelled/test").glob("*/mixture.wav"))
    (folder / "leak.wav").write_bytes(leak.read_bytes())
    write(folder / "short.wav", np.full((SAMPLE_RATE, 2), 0.1))
    write(folder / "silent.wav", np.zeros((SAMPLE_RATE * 6, 2)))
    return Corpus(root / "labelled", folder)


@dataclass(frozen=True)
class Finished:
    """A pipeline that ran to its end."""

    workspace: Workspace
    parameters: PipelineParameters
    results: list[StageResult]

    @property
    def manifests(self) -> Manifests:
        return Manifests(self.workspace)

    def rows(self, table: str, corpus: str | None = None) -> list[dict[str, Any]]:
        partitions = self.manifests.partitions(table, corpus)
        return [row for found in partitions for row in self.manifests.rows(found)]

    def only(self, table: str, corpus: str) -> Partition:
        [partition] = self.manifests.partitions(table, corpus)
        return partition


@pytest.fixture(scope="session")
def pristine(
    corpus: Corpus, prefect_server: Path, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The pipeline, run once on the corpus; tests take `finished`."""
    workspace = tmp_path_factory.mktemp("run") / "workspace"
    parameters = PipelineParameters.model_validate(corpus.settings(workspace))
    with reports(drawn=True):
        results = pipeline(parameters)
    (workspace / ".prefect").mkdir()
    shutil.copy(prefect_server, workspace / ".prefect")
    return Finished(Workspace(str(workspace)), parameters, results)


@pytest.fixture(scope="module")
def finished(pristine: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The file's own copy of it. Its tests may add to it, and change nothing in it."""
    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    shutil.copytree(pristine.workspace.root, workspace)
    parameters = pristine.parameters.model_copy(update={"workspace": str(workspace)})
    return Finished(Workspace(str(workspace)), parameters, pristine.results)


OF_PRINTS = {"prints", "duplicates"} if can_print() else set()
"""Tables that are written where the library is that makes acoustic fingerprints."""

TABLES_OF_TIMES = {"runs", "labelled_files", "source_files", "retired", "steps"}
"""Tables that tell when something was done or seen: no two workspaces have the same rows."""


def content(workspace: Workspace) -> dict[Partition, list[str]]:
    """The rows of every partition, sorted, but for those that tell when, not what."""
    manifests = Manifests(workspace)
    return {
        partition: sorted(repr(row) for row in manifests.rows(partition))
        for table in TABLES
        if table not in TABLES_OF_TIMES
        for partition in manifests.partitions(table)
    }


def assert_same(mine: dict[Partition, list[str]], theirs: dict[Partition, list[str]]) -> None:
    """Every partition of mine is in theirs, which other tests may add partitions to."""
    assert mine.keys() <= theirs.keys()
    for partition, rows in mine.items():
        assert rows == theirs[partition], partition
