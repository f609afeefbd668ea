"""Scoring makes what is lost again, and stops for no track."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs import registry
from flows.inputs.forgotten import FORGOTTEN, RECORDS
from flows.running.rejects import reject_row
from flows.score.flow import score
from flows.score.options import ScoreParameters
from flows.score.worker import ScoreBatch, score_batch
from storage.tables.manifests import Manifests, Partition
from storage.weights import load_tensors
from storage.workspace import Workspace
from tests.flows.conftest import Finished, play, write


def test_a_lost_part_is_made_again_byte_for_byte(finished: Finished) -> None:
    partition = finished.only("scores", "music")
    part = finished.manifests.parts(partition)[0]
    before = finished.workspace.read(part)
    finished.workspace.remove(part)
    score(ScoreParameters(workspace=finished.workspace.location, workers=1, batch_tracks=1))
    assert finished.workspace.read(part) == before


def test_a_track_that_cannot_be_scored_stops_no_other(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    folder = tmp_path / "music"
    for number in (1, 2):
        write(folder / f"{number}.wav", np.sum(list(play(200 + number).values()), axis=0))
    ingest(IngestParameters(workspace=workspace.location, workers=1, source=str(folder)))
    detector = registry.names(finished.workspace, "detectors")[0]
    for name in (registry.WEIGHTS, registry.DESCRIPTION):
        path = f"detectors/{detector}/{name}"
        workspace.put_bytes(path, finished.workspace.read(path))
    [broken] = workspace.find("audio")[:1]
    whole = workspace.read(broken)
    workspace.put_bytes(broken, whole[:1000])
    result = score(ScoreParameters(workspace=workspace.location, workers=1))
    assert (result.counts["tracks"], result.counts["rejected"]) == (1, 1)
    [reject] = Finished(workspace, finished.parameters, []).rows("rejects")
    assert reject["stage"] == "score"
    assert Path(broken).stem == reject["item"]
    workspace.put_bytes(broken, whole)
    result = score(ScoreParameters(workspace=workspace.location, workers=1))
    assert (result.counts["tracks"], result.counts["rejected"]) == (1, 0)
    assert Finished(workspace, finished.parameters, []).rows("rejects") == []


def test_damaged_audio_is_scored_once_it_is_mended(finished: Finished, tmp_path: Path) -> None:
    """One byte of it; or where the file is away for a while."""
    workspace = Workspace(str(tmp_path / "w"), create=True)
    detector = registry.names(finished.workspace, "detectors")[0]
    for file in (registry.WEIGHTS, registry.DESCRIPTION):
        path = f"detectors/{detector}/{file}"
        workspace.put_bytes(path, finished.workspace.read(path))
    track = finished.rows("tracks")[0]
    whole = finished.workspace.read(track["path"])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    target, manifests = Partition("scores", "music", "f1"), Manifests(workspace)
    batch = ScoreBatch(target, workspace, detector, "cpu", 1, [track])
    for content in (None, bytes(flipped), whole):
        if content is not None:
            workspace.put_bytes(track["path"], content)
        counts = score_batch(batch)
        done = content == whole
        assert (counts["tracks"], counts["rejected"]) == (done, not done)
        assert manifests.items(target) == ({track["track_id"]} if done else set())
    [reject] = manifests.rows(Partition("rejects", "music", "f1"))
    assert reject["reason"] == "damaged_audio"
    assert f"{track['path']} is missing; `silentmix fsck`" in reject["detail"]

    # forgotten while it is scored, it is no reject
    record = reject_row("forget", track["track_id"], *FORGOTTEN)
    manifests.write(Partition("rejects", "music", RECORDS), [track["track_id"]], [record])
    workspace.remove(track["path"])
    counts = score_batch(replace(batch, partition=Partition("scores", "music", "f2")))
    assert counts["rejected"] == 0
    assert not manifests.parts(Partition("rejects", "music", "f2"))


def test_a_detector_that_gives_nan_scores_nothing(finished: Finished, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    detector = registry.names(finished.workspace, "detectors")[0]
    folder = f"detectors/{detector}"
    tensors, _ = load_tensors(finished.workspace, f"{folder}/{registry.WEIGHTS}")
    broken = {name: np.full_like(value, np.nan) for name, value in tensors.items()}
    description = registry.describe(finished.workspace, "detectors", detector)
    registry.store_weights(workspace, "detectors", detector, broken, description)
    track = finished.rows("tracks")[0]
    workspace.put_bytes(track["path"], finished.workspace.read(track["path"]))
    target = Partition("scores", "music", "f1")
    counts = score_batch(ScoreBatch(target, workspace, detector, "cpu", 1, [track]))
    assert (counts["tracks"], counts["rejected"]) == (0, 1)
    manifests = Manifests(workspace)
    assert manifests.count(target) == 0
    assert manifests.items(target) == {track["track_id"]}
    [reject] = manifests.rows(Partition("rejects", "music", "f1"))
    assert (reject["reason"], reject["detail"]) == ("not_scored", "the detector gave NaN")
