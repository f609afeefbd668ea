"""Ingest again: with other parameters, other tags, other names, and after a failure."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from prefect import flow

from flows.ingest import flow as ingest_module
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.ingest.track_rows import Outcome, TrackBatch, ingest_files
from flows.inputs.usable_tracks import usable_tracks
from flows.running.parameters import StageParameters
from flows.running.stage import StageResult, stage_run
from flows.score.flow import _reject_leaked
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import BROKEN, Corpus, Finished, play, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two songs."""
    for number in (1, 2):
        write(tmp_path / f"music/{number}.wav", mixture(number))
    return tmp_path / "music"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


def mixture(seed: int) -> np.ndarray:
    audio: np.ndarray = np.sum(list(play(seed).values()), axis=0)
    return audio


def take(workspace: Workspace, source: Path, **fields: object) -> StageResult:
    values = {"workspace": workspace.location, "source": str(source), **fields}
    return ingest(IngestParameters.model_validate(values))


def reasons(workspace: Workspace, corpus: str) -> dict[str, str]:
    manifests = Manifests(workspace)
    return {
        Path(row["item"]).name: row["reason"]
        for partition in manifests.partitions("rejects", corpus)
        for row in manifests.rows(partition)
    }


def test_other_parameters_find_the_same_music_and_keep_its_audio(
    workspace: Workspace, folder: Path
) -> None:
    first = take(workspace, folder)
    audio = workspace.find("audio")
    second = take(workspace, folder, min_file_s=2.0)
    assert second.fingerprint != first.fingerprint
    assert second.counts["tracks"] == first.counts["tracks"] == 2
    assert not reasons(workspace, "music")
    assert workspace.find("audio") == audio


def test_audio_that_another_partition_names_is_not_removed(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    take(workspace, folder)
    audio = workspace.find("audio/music")
    labelled_copy(tmp_path / "set", folder / "1.wav")
    take(workspace, tmp_path / "set", corpus="labelled", labelled=True)
    result = take(workspace, folder, min_file_s=2.0)
    assert result.counts["tracks"] == 1
    assert reasons(workspace, "music") == {"1.wav": "labelled_test"}
    assert workspace.find("audio/music") == audio


def labelled_copy(root: Path, mixture_file: Path) -> None:
    for split, seed in (("train", 50), ("test", 51)):
        for source, audio in play(seed).items():
            write(root / split / "Song" / f"{source}.wav", audio)
    (root / "test" / "Song" / "mixture.wav").write_bytes(mixture_file.read_bytes())


def test_a_test_song_found_out_later_is_not_scored(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    take(workspace, folder)
    labelled_copy(tmp_path / "set", folder / "1.wav")
    take(workspace, tmp_path / "set", corpus="labelled", labelled=True)
    # ingest was killed before it said so
    [told] = Manifests(workspace).partitions("retired", "music")
    for part in Manifests(workspace).parts(told):
        workspace.remove(part)

    @flow
    def tracks_to_score() -> list[dict[str, Any]]:
        parameters = StageParameters(workspace=workspace.location)
        with stage_run(
            "score", parameters, corpus="music", fingerprint="f1", workspace=workspace
        ) as run:
            source = run.manifests.latest("tracks", run.corpus)
            tracks, leaked = usable_tracks(run.manifests, source)
            _reject_leaked(run, leaked)
            return tracks

    [track] = tracks_to_score()
    assert tracks_to_score() == [track]
    manifests = Manifests(workspace)
    [reject] = manifests.rows(Partition("rejects", "music", "f1"))
    assert reject["reason"] == "labelled_test"
    assert "Song" in reject["detail"]
    assert reject["item"] != track["track_id"]


def test_a_file_with_new_tags_is_the_same_track(workspace: Workspace, folder: Path) -> None:
    take(workspace, folder)
    with soundfile.SoundFile(folder / "1.wav", "r+") as file:
        file.title = "another name"
    result = take(workspace, folder)
    assert not result.already_done
    assert result.counts["tracks"] == 2
    manifests = Manifests(workspace)
    assert manifests.count(manifests.latest("tracks", "music")) == 2
    assert not reasons(workspace, "music")
    assert take(workspace, folder).already_done


def test_names_that_are_no_unicode(workspace: Workspace, folder: Path) -> None:
    os.rename(folder / "1.wav", os.fsencode(folder) + b"/caf\xe9.wav")  # noqa: PTH104
    assert take(workspace, folder).counts["tracks"] == 2
    assert take(workspace, folder).already_done


def test_a_batch_that_fails_is_not_taken_for_another(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "3.wav", mixture(3))

    def ingest_or_fail(batch: TrackBatch) -> Outcome:
        if batch.files[0].path.endswith("/1.wav"):
            raise OSError("the disk blinked")
        return ingest_files(batch)

    monkeypatch.setattr(ingest_module, "ingest_files", ingest_or_fail)
    with pytest.raises(OSError, match="the disk blinked"):
        take(workspace, folder, batch_files=1)
    manifests = Manifests(workspace)
    partition = manifests.latest("tracks", "music")
    urls = {row["source_url"] for row in manifests.rows(partition)}
    assert {Path(url).name for url in urls} == {"2.wav", "3.wav"}
    assert {item.split("|")[0] for item in manifests.items(partition)} == urls
    monkeypatch.undo()
    assert take(workspace, folder, batch_files=1).counts["tracks"] == 3


def test_what_cannot_be_used_is_rejected_with_its_reason(finished: Finished) -> None:
    reasons = {Path(row["item"]).name: row["reason"] for row in finished.rows("rejects")}
    assert reasons == BROKEN


def test_the_audio_is_what_the_manifest_says(finished: Finished) -> None:
    reader = CropReader(finished.workspace.location)
    for row in finished.rows("tracks"):
        audio = reader(row["path"], 0, row["num_samples"] + 1)
        assert not audio[:, -1].any()
        pcm = np.rint(audio[:, :-1].T * 32768).astype("<i2")
        assert hashlib.sha256(pcm.tobytes()).hexdigest() == row["content_hash"]


def test_a_stem_that_is_silent_is_inactive(finished: Finished) -> None:
    activity = [row for row in finished.rows("activity") if row["source"] != "mixture"]
    for row in activity:
        silent = np.array(row["level_db"]) < -100
        assert silent.any()
        assert not (np.array(row["active"]) & silent).any()


def test_the_same_music_under_another_name_is_all_duplicates(
    finished: Finished, corpus: Corpus
) -> None:
    location = finished.workspace.location
    common = {"workspace": location, "workers": 1, "source": str(corpus.unlabelled)}
    audio = finished.workspace.find("audio")
    again = ingest(IngestParameters(**common, corpus="again", batch_files=3))
    assert again.fingerprint == finished.only("tracks", "music").fingerprint
    assert again.counts["tracks"] == 0
    assert {row["reason"] for row in finished.manifests.rows(finished.only("rejects", "again"))} \
        == {*BROKEN.values()}  # fmt: skip
    assert finished.workspace.find("audio") == audio


def test_new_files_are_added_and_lost_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "music"
    write(folder / "b.wav", np.sum(list(play(301).values()), axis=0))
    parameters = IngestParameters(workspace=str(tmp_path / "w"), workers=1, source=str(folder))
    assert ingest(parameters).counts["new_tracks"] == 1
    write(folder / "a.wav", np.sum(list(play(302).values()), axis=0))
    (folder / "b.wav").unlink()
    result = ingest(parameters)
    assert (result.counts["new_tracks"], result.counts["tracks"]) == (1, 2)
    assert ingest(parameters).already_done


def test_a_worker_starts_without_what_runs_the_flow() -> None:
    told = "import sys, flows.ingest.track_rows; print({'prefect', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "set()"
