"""What changes a result is in its fingerprint, and what does not is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from demucs_core.activity import ActivityConfig
from demucs_core.detector.training import DetectorTrainer
from flows.fit_detector import flow as fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.ingest import flow as ingest_flow
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.remix import flow as remix
from flows.remix.options import RemixParameters
from flows.running.parameters import StageParameters
from flows.train import flow as train
from flows.train.options import TrainParameters
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import play, write

LABELLED_0_1_0, TRACKS_0_1_0 = "f6dc088bad266", "f3a5c1965c3a4"
"""What 0.1.0 calls what it makes of a labelled set and of tracks, with all parameters' defaults."""


@pytest.fixture
def labelled(tmp_path: Path) -> Callable[..., Workspace]:
    """Makes a workspace that holds a labelled set, ingested with some parameters."""
    for split, seed in (("train", 1), ("valid", 2)):
        for source, audio in play(seed).items():
            write(tmp_path / "set" / split / "Song" / f"{source}.wav", audio)

    def make(name: str, **parameters: Any) -> Workspace:
        workspace = Workspace(str(tmp_path / name), create=True)
        values = {
            "workspace": workspace.location,
            "source": str(tmp_path / "set"),
            "corpus": "labelled",
            "labelled": True,
        }
        ingest(IngestParameters.model_validate(values | parameters))
        for table in ("segments", "remixes"):
            Manifests(workspace).write(Partition(table, "music", "f1"), ["t"], [])
        return workspace

    return make


class Named(Exception):  # noqa: N818
    """Tells the fingerprint a stage would write under, in place of its work."""


@pytest.fixture
def name_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    def tell(*_: object, fingerprint: str, **__: object) -> NoReturn:
        raise Named(fingerprint)

    def find(module: ModuleType, parameters: StageParameters) -> str:
        monkeypatch.setattr(module, "stage_run", tell)
        stage = getattr(module, module.__name__.split(".")[-2])
        with pytest.raises(Named) as named:
            stage(parameters)
        return str(named.value)

    return find


def test_music_is_in_the_names_of_what_it_changes_and_the_default_in_none(
    tmp_path: Path, name_of: Callable[..., str]
) -> None:
    """What 0.1.0 made keeps its name, and its workspaces are continued."""
    for source in ("vocals", "other", "drums", "bass"):
        write(tmp_path / "set/train/Song" / f"{source}.wav", play(1)[source])
    formats = (
        MusicFormat(),
        MusicFormat(sources=("vocals", "other", "drums", "bass")),
        MusicFormat(sample_rate=48_000),
        MusicFormat(num_channels=1),
    )
    names: dict[bool, list[str]] = {True: [], False: []}
    for number, music in enumerate(formats):
        workspace = Workspace(str(tmp_path / f"w{number}"), create=True, music=music).location
        for labelled, made in names.items():
            source = str(tmp_path / "set")
            made.append(
                name_of(
                    ingest_flow,
                    IngestParameters(workspace=workspace, source=source, labelled=labelled),
                )
            )
    assert len(set(names[True])) == 4
    # the samples of a track know nothing of sources
    assert len(set(names[False])) == 3
    assert names[False][0] == names[False][1]
    assert (names[True][0], names[False][0]) == (LABELLED_0_1_0, TRACKS_0_1_0)


def test_labels_made_otherwise_make_another_detector_and_other_remixes(
    labelled: Callable[..., Workspace], name_of: Callable[..., str]
) -> None:
    """The songs are the same, but not what is known of them."""
    names: list[tuple[str, str]] = []
    otherwise: tuple[dict[str, float], ...] = ({"relative_db": -20.0}, {"close_gap_s": 1.0})
    for options in ({}, *otherwise, {}):
        location = labelled(f"w{len(names)}", **options).location
        names.append(
            (
                name_of(fit_detector, FitDetectorParameters(workspace=location)),
                name_of(remix, RemixParameters(workspace=location)),
            )
        )
    assert names[0] == names[3]
    for kind in zip(*names, strict=True):
        assert len(set(kind)) == 3


def test_the_detector_is_trained_by_the_labels_definition(
    labelled: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by the default: what is silent in an example would be something else."""
    heard: list[ActivityConfig] = []

    class Told(Exception):  # noqa: N818
        """Ends the stage before it trains."""

    def note(trainer: DetectorTrainer, *_: object) -> NoReturn:
        heard.append(trainer.examples.config.activity)
        raise Told

    monkeypatch.setattr(fit_detector, "_run", note)
    options = {"relative_db": -20.0, "absolute_db": -50.0, "close_gap_s": 0.3}
    location = labelled("w", **options).location
    evidence = {"allow_insufficient_evidence": True}
    with pytest.raises(Told):
        fit_detector.fit_detector(FitDetectorParameters(workspace=location, **evidence))
    assert heard == [ActivityConfig(**options)]


SAME: list[dict[str, Any]] = [
    {"workers": 7},
    {"dask_address": "tcp://nowhere:1"},
    {"device": "cpu"},
    {"loader_workers": 3},
    {"checkpoint_every": 3},
    {"threads": 3, "accumulation": 3, "compile": True, "recompute": True},
    {"optimizer": "adam", "ema_decays": []},
]
OTHER: list[dict[str, Any]] = [
    {"steps": 3},
    {"seed": 3},
    {"weak_share": 0.0},
    {"validate_every": 3},
    {"confidence_weighting": 2.0},
    {"optimizer": "adamw"},
    {"ema_decays": [0.9]},
]


def test_where_and_how_fast_a_model_is_trained_is_not_in_its_name(
    labelled: Callable[..., Workspace], name_of: Callable[..., str]
) -> None:
    location = labelled("w").location

    def name(**fields: Any) -> str:
        return name_of(train, TrainParameters(workspace=location, **fields))

    assert {name(**fields) for fields in SAME} == {name()}
    assert len({name(), *(name(**fields) for fields in OTHER)}) == len(OTHER) + 1
    assert name(weak_share=0, corpora=[]) == name(weak_share=0, corpora=["nobodys"])
