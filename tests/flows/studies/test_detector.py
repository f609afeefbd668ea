"""The study of the detector: real stages on a few seconds of music, so its figures mean nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows.studies.detector import study_detector
from flows.studies.detector_options import StudyDetectorParameters
from flows.studies.detector_report import write_detector_study
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import Corpus

MUSIC = MusicFormat()
SOURCES = MUSIC.sources


@pytest.fixture
def parameters(tmp_path: Path, corpus: Corpus) -> StudyDetectorParameters:
    return StudyDetectorParameters(
        workspace=str(tmp_path / "study"),
        output=str(tmp_path / "out"),
        architectures=("logmel-crnn",),
        songs=2,
        calibration_songs=2,
        test_songs=2,
        song_s=10.0,
        steps=2,
        labelled_real=str(corpus.labelled),
        workers=1,
    )


def test_a_study_tells_what_it_found_and_how_and_a_second_one_costs_nothing(
    parameters: StudyDetectorParameters,
) -> None:
    [found] = study_detector(parameters)
    assert found.stitching_error < 1e-4
    assert found.realtime_factor > 0
    assert found.test.num_songs == parameters.test_songs
    assert {source.source for source in found.calibration.sources} == set(SOURCES)
    assert found.real is not None
    assert all(quality.wanted_s >= 0 for quality in found.real.values())

    paths = write_detector_study(parameters, [found])
    assert [path.suffix for path in paths] == [".md", ".json", ".png", ".png"]
    assert all(0 < path.stat().st_size < 100_000 for path in paths)
    markdown = paths[0].read_text()
    assert "silentmix study detector --architectures logmel-crnn --songs 2" in markdown
    assert markdown.count("| logmel-crnn | bass |") == 2  # generated songs, and real ones
    figures = json.loads(paths[1].read_text(), parse_constant=lambda name: pytest.fail(name))
    assert figures["detectors"][0]["extracted"].keys() == set(SOURCES)

    manifests = Manifests(Workspace(parameters.workspace))
    partitions = [p for table in ("scores", "segments") for p in manifests.partitions(table)]
    [again] = study_detector(parameters)
    assert again.detector == found.detector
    assert again.quality == found.quality
    assert partitions == [p for t in ("scores", "segments") for p in manifests.partitions(t)]

    with pytest.raises(UserError, match=r"the study in it has songs 2; choose another workspace"):
        study_detector(parameters.model_copy(update={"songs": 3}))


def test_a_study_on_a_bucket_is_refused() -> None:
    with pytest.raises(UserError, match="s3://bucket: the study wants a local folder"):
        study_detector(StudyDetectorParameters(workspace="s3://bucket"))
