"""The chain with other sources, at another rate, in mono: in small, from ingest to evaluate.

Among the labelled songs are some that come as a mixture and all stems but one, and a library of
single stems stands beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from flows.cli.overview import print_status
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import networks, registry
from flows.inputs.methods import choose_models
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.policy.calibration import calibrated
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.workspace import Workspace
from tests.flows.conftest import SETTINGS, Finished, play, write

# in mono, since BSSEval's filters want eight times the time for two channels
SEVEN = MusicFormat(
    sources=("kick", "snare", "cymbals", "bass", "keys", "other", "vocals"), num_channels=1
)
SPEECH = MusicFormat(sources=("vocals", "accompaniment"), sample_rate=16_000, num_channels=1)
SONG_S = 5.0
SPLITS = {"train": 2, "valid": 2, "test": 1}


def _write_corpus(root: Path, music: MusicFormat) -> None:
    number = 0
    for split, count in SPLITS.items():
        for _ in range(count):
            number += 1
            stems = play(number, music, SONG_S)
            if number % 2:  # the last source is what the mixture holds besides the others
                stems["mixture"] = np.sum(list(stems.values()), axis=0)
                del stems[music.sources[-1]]
            for source, audio in stems.items():
                path = root / f"labelled/{split}/Song {number}/{source}.wav"
                write(path, audio, music.sample_rate)
    stem = play(50, music, SONG_S)[music.sources[0]]
    write(root / f"library/{music.sources[0]}/single.wav", stem, music.sample_rate)
    for number in (100, 101):
        mixture = np.sum(list(play(number, music, SONG_S).values()), axis=0)
        write(root / f"unlabelled/{number}.wav", mixture, music.sample_rate)


@pytest.fixture(scope="module", params=[SEVEN, SPEECH], ids=["seven", "speech"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The chain on a corpus of a format, which is said once, to the first ingest."""
    music: MusicFormat = request.param
    root = tmp_path_factory.mktemp("any")
    _write_corpus(root, music)
    declared: dict[str, Any] = {
        "workspace": str(root / "workspace"),
        "sources": list(music.sources),
        "sample_rate": music.sample_rate,
        "channels": music.num_channels,
    }
    library = {"source": str(root / "library"), "corpus": "library", "labelled": True}
    ingest(IngestParameters.model_validate({**declared, **library}))
    settings = {
        **SETTINGS,
        **declared,
        "labelled": str(root / "labelled"),
        "unlabelled": str(root / "unlabelled"),
        "libraries": ["library"],
        "baseline": False,
    }
    settings["fit_detector"] = {"steps": 6, "batch_size": 2, "crop_s": 2.0}
    settings["extract"] = {**settings["extract"], "hysteresis": 2.0, "target_precision": 0.3}
    parameters = PipelineParameters.model_validate(settings)
    results = pipeline(parameters)
    return Finished(Workspace(str(root / "workspace")), parameters, results)


def test_everything_in_the_workspace_is_of_its_music(made: Finished) -> None:
    music = made.workspace.music
    names = {*music.sources, "mixture"}
    assert {row["sample_rate"] for row in made.rows("tracks")} == {music.sample_rate}
    for table in ("stems", "activity"):
        assert {row["source"] for row in made.rows(table, "labelled")} == names
        assert {row["source"] for row in made.rows(table, "library")} == {music.sources[0]}
    assert {row["hop_samples"] for row in made.rows("activity")} == {music.hop_samples}
    for row in made.rows("scores"):
        assert row["sources"] == list(music.sources)
        assert row["hop_samples"] == music.hop_samples
        assert len(row["silence_probability"]) == len(music.sources)
        assert row["num_frames"] == -(-row["num_samples"] // music.hop_samples)
    for row in [*made.rows("stems"), *made.rows("tracks")]:
        path = Path(made.workspace.resolve(row["path"]))
        with soundfile.SoundFile(path) as audio:
            assert (audio.samplerate, audio.channels) == (music.sample_rate, music.num_channels)
            assert row["duration_s"] == audio.frames / music.sample_rate


def test_a_stem_that_is_not_given_is_the_rest_of_the_mixture(made: Finished) -> None:
    music = made.workspace.music
    rest = [row for row in made.rows("stems", "labelled") if row["source"] == music.sources[-1]]
    for row in rest:
        stem = play(int(row["song"].split()[1]), music, SONG_S)[music.sources[-1]]
        found, _ = soundfile.read(made.workspace.resolve(row["path"]), always_2d=True)
        gain = 10 ** (row["gain_db"] / 20)
        np.testing.assert_allclose(found, stem * gain, atol=2e-4)


def test_detector_and_model_heard_the_library(made: Finished) -> None:
    [single] = {row["track_id"] for row in made.rows("stems", "library")}
    partitions = made.manifests.partitions("heard")
    assert {found.corpus for found in partitions} == {"labelled"}
    assert len(partitions) == 2
    for found in partitions:
        assert single in {row["track_id"] for row in made.manifests.rows(found)}


def test_segments_and_remixes_are_of_its_sources(made: Finished) -> None:
    music, segments = made.workspace.music, made.rows("segments")
    assert segments, "nothing to remix would prove nothing"
    for row in segments:
        assert set(row["silent_sources"]) <= set(music.sources)
        length = row["stop_sample"] - row["start_sample"]
        assert row["duration_s"] == length / music.sample_rate
        assert row["start_sample"] % music.hop_samples == 0
    added = {stem["source"] for row in made.rows("remixes") for stem in row["added"]}
    assert added
    assert added <= set(music.sources)


def test_test_songs_are_evaluated_source_by_source(made: Finished) -> None:
    music, rows = made.workspace.music, made.rows("evaluations")
    assert [row["source"] for row in rows] == list(music.sources)
    found = json.loads(made.workspace.read(rows[0]["museval_path"]))
    assert [target["name"] for target in found["targets"]] == list(music.sources)
    seconds = [frame["time"] for frame in found["targets"][0]["frames"]]
    assert seconds == list(range(int(SONG_S)))


def test_what_people_see_names_every_source(
    made: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    print_status(made.workspace.location, Console(width=400))
    shown = capsys.readouterr().out
    assert str(made.workspace.music) in shown
    assert all(source in shown for source in made.workspace.music.sources)
    reports = made.workspace.find("reports")
    for source in made.workspace.music.sources:
        assert any(path.endswith(f"{source}-estimate.mp3") for path in reports), source


def test_what_was_made_of_other_music_is_refused_with_both(made: Finished, tmp_path: Path) -> None:
    """A detector and a model, in a workspace that differs in one thing alone."""
    music = made.workspace.music
    other = MusicFormat(
        sources=music.sources[::-1],
        sample_rate=music.sample_rate,
        num_channels=music.num_channels,
    )
    workspace = Workspace(str(tmp_path / "w"), create=True, music=other)
    [detector] = registry.names(made.workspace, "detectors")
    [model] = registry.names(made.workspace, "models")
    for kind, name in (("detectors", detector), ("models", model)):
        for file in (registry.DESCRIPTION, registry.WEIGHTS):
            path = f"{kind}/{name}/{file}"
            workspace.put_bytes(path, made.workspace.read(path))
    both = f"{music}.*this workspace holds {other}"
    with pytest.raises(UserError, match=f"detector '{detector}' hears {music}.*{other}"):
        networks.load_detector(workspace, detector, "cpu")
    with pytest.raises(UserError, match=f"detector '{detector}' hears {music}.*{other}"):
        calibrated(workspace, detector, made.parameters.extract)
    with pytest.raises(UserError, match=f"model '{model}' separates {both}"):
        choose_models(workspace, [model])


def test_continuing_needs_no_options_and_other_ones_are_refused(made: Finished) -> None:
    again = pipeline(
        made.parameters.model_copy(
            update={"sources": [], "sample_rate": 0, "channels": 0, "until_stage": "remix"}
        )
    )
    assert all(result.already_done for result in again)
    other = made.parameters.model_copy(update={"sample_rate": 22_050})
    with pytest.raises(UserError, match=r"can't hold .* at 22050 Hz"):
        pipeline(other)
