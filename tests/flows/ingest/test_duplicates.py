"""The same music in another sound: a song held out is refused, a track's copy is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.provenance.forget import forget
from flows.running.stage import StageResult
from storage.decoding.prints import HOW_TO_GET, can_print
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace
from tests.flows.conftest import SAMPLE_RATE, SOURCES, write

pytestmark = pytest.mark.skipif(not can_print(), reason=HOW_TO_GET)
SONG_S = 14.0


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


def melody(seed: int) -> np.ndarray:
    """A song ``(T, 2)``: tones, four a second."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(SONG_S * SAMPLE_RATE)) / SAMPLE_RATE
    hertz = 110 * 2 ** (rng.integers(0, 36, int(4 * SONG_S) + 1) / 12)
    tone = np.sin(2 * np.pi * np.cumsum(hertz[(4 * time_s).astype(int)]) / SAMPLE_RATE)
    return 0.3 * np.stack([tone, tone], axis=1) + 0.001 * rng.standard_normal((len(tone), 2))


def write_labelled(root: Path) -> Path:
    """A set of one song a split, each of which is a melody and three hisses."""
    for seed, split in enumerate(("train", "valid", "test")):
        for place, source in enumerate(SOURCES):
            hiss = 0.002 * np.random.default_rng([seed, place]).standard_normal((1, 2))
            audio = melody(seed) if source == "other" else np.repeat(hiss, 1000, axis=0)
            write(root / split / "Song" / f"{source}.wav", audio)
    return root


def write_copies(folder: Path, audio: np.ndarray, name: str) -> None:
    """A song in other encodings: lossy, softer, after a leader of silence, cut."""
    leader = np.zeros((round(1.234 * SAMPLE_RATE), 2))
    for kind, changed in {
        "lossy.mp3": audio,
        "softer.ogg": audio * 10 ** (-1 / 20),
        "late.mp3": np.concatenate([leader, audio]),
        "cut.wav": audio[round(2.5 * SAMPLE_RATE) :],
    }.items():
        path = folder / f"{name} {kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, changed, SAMPLE_RATE)


def take(workspace: Workspace, source: Path, **fields: Any) -> StageResult:
    values = {"workspace": workspace.location, "source": str(source), **fields}
    return ingest(IngestParameters.model_validate(values))


def rows(workspace: Workspace, table: str, corpus: str = "music") -> list[dict[str, Any]]:
    manifests = Manifests(workspace)
    return [row for found in manifests.partitions(table, corpus) for row in manifests.rows(found)]


def test_songs_held_out_are_refused_in_any_encoding_and_order(
    workspace: Workspace, tmp_path: Path
) -> None:
    labelled = write_labelled(tmp_path / "set")
    for seed, split in enumerate(("train", "valid", "test")):
        write_copies(tmp_path / "music", melody(seed), split)
    write_copies(tmp_path / "music", melody(9), "own")
    take(workspace, labelled, corpus="labelled", labelled=True)
    assert take(workspace, tmp_path / "music").counts["tracks"] == 8
    refused = {Path(row["item"]).name: row for row in rows(workspace, "rejects")}
    assert len(refused) == 8
    for name, row in refused.items():
        split = name.split()[0]
        assert row["reason"] == f"labelled_{split}"
        assert f"labelled {split} song Song (" in row["detail"]
    assert {Path(row["source_url"]).name.split()[0] for row in rows(workspace, "tracks")} == {
        "train", "own"
    }  # fmt: skip
    assert len(workspace.find("audio/music")) == 8
    found = [row for row in rows(workspace, "duplicates") if row["reason"] != "near_duplicate"]
    assert len(found) == 8
    late = [row for row in found if abs(row["start_s"] - row["other_start_s"] - 1.234) < 0.3]
    assert len(late) == 2
    assert take(workspace, tmp_path / "music").already_done
    # in the other order the same are left out, by being retired
    other = Workspace(str(tmp_path / "other"), create=True)
    assert take(other, tmp_path / "music").counts["tracks"] == 16
    told = take(other, labelled, corpus="labelled", labelled=True)
    assert told.counts["labelled_test_tracks"] == told.counts["labelled_valid_tracks"] == 4
    assert sorted(row["track_id"] for row in rows(other, "tracks")) == sorted(
        row["track_id"] for row in rows(workspace, "tracks")
    )
    assert take(other, labelled, corpus="labelled", labelled=True).already_done


def test_of_tracks_with_the_same_music_the_later_ones_are_told(
    workspace: Workspace, tmp_path: Path
) -> None:
    for seed in (1, 2):
        write_copies(tmp_path / "music", melody(seed), f"song-{seed}")
    result = take(workspace, tmp_path / "music")
    name_of = {row["track_id"]: Path(row["source_url"]).name for row in rows(workspace, "tracks")}
    assert len(name_of) == 8
    found = rows(workspace, "duplicates")
    assert {name_of[row["track_id"]] for row in found} == {
        f"song-{seed} {kind}" for seed in (1, 2) for kind in ("late.mp3", "lossy.mp3", "softer.ogg")
    }
    for row in found:
        mine, other = name_of[row["track_id"]], name_of[row["other_id"]]
        assert mine > other
        assert mine.split()[0] == other.split()[0]
        assert row["reason"] == "near_duplicate"
        assert row["overlap_s"] > 8.0
        assert row["share"] > 0.6
    assert result.counts["near_duplicates"] == 6
    assert any("hold music that another track holds" in note for note in result.notes)
    # what comes later is compared with what was there, in other corpora too
    write_copies(tmp_path / "more", melody(2) * 0.4, "again")
    assert take(workspace, tmp_path / "more", corpus="more").counts["near_duplicates"] == 4
    assert "music" in {row["other_corpus"] for row in rows(workspace, "duplicates", "more")}
    assert take(workspace, tmp_path / "music").already_done


def test_prints_go_when_their_audio_is_forgotten(workspace: Workspace, tmp_path: Path) -> None:
    write_copies(tmp_path / "music", melody(1), "song")
    take(workspace, tmp_path / "music")
    ids = sorted(row["track_id"] for row in rows(workspace, "prints"))
    assert ids == sorted(row["track_id"] for row in rows(workspace, "tracks"))
    forget(workspace, [ids[0]])
    assert sorted(row["track_id"] for row in rows(workspace, "prints")) == ids[1:]
    manifests = Manifests(workspace)
    [tracks] = manifests.partitions("tracks", "music")
    assert manifests.count(Partition("prints", "music", tracks.fingerprint)) == 3


def test_a_song_in_another_sound_is_in_one_split_alone(
    workspace: Workspace, tmp_path: Path
) -> None:
    root = write_labelled(tmp_path / "set")
    for source in SOURCES:  # the training song once more, softer: as a test song
        audio, _ = soundfile.read(root / "train/Song" / f"{source}.wav")
        write(root / "test/Leak" / f"{source}.wav", audio * 0.8)
    take(workspace, root, corpus="labelled", labelled=True)
    splits = {(row["split"], row["song"]) for row in rows(workspace, "stems", "labelled")}
    assert splits == {("test", "Leak"), ("test", "Song"), ("valid", "Song")}
    [reject] = rows(workspace, "rejects", "labelled")
    assert reject["item"] == "train/Song"
    assert "labelled test song Leak" in reject["detail"]


def test_what_earlier_versions_did_not_make_is_made_when_asked_for(
    workspace: Workspace, tmp_path: Path
) -> None:
    write_copies(tmp_path / "music", melody(9), "song")
    labelled = write_labelled(tmp_path / "set")
    takes: list[dict[str, Any]] = [
        {"source": tmp_path / "music"},
        {"source": labelled, "corpus": "labelled", "labelled": True},
    ]
    for fields in takes:
        take(workspace, **fields)
    whole = {
        (table, corpus): sorted(map(repr, rows(workspace, table, corpus)))
        for table in ("prints", "measures", "duplicates")
        for corpus in ("music", "labelled")
    }
    assert [len(found) for found in whole.values()] == [4, 15, 4, 0, 6, 0]
    for (table, corpus), found in whole.items():
        for part in workspace.find(f"manifests/{table}/corpus={corpus}") if found else []:
            workspace.remove(part)
    for fields in takes:
        assert take(workspace, **fields).already_done
        assert not rows(workspace, "prints", fields.get("corpus", "music"))
    notes = take(workspace, **takes[0]).notes
    assert any("2 songs held out have no acoustic fingerprint" in note for note in notes)
    for fields in (takes[1], takes[0]):
        assert not take(workspace, **fields, complete=True).already_done
        assert take(workspace, **fields, complete=True).already_done
    for (table, corpus), found in whole.items():
        assert sorted(map(repr, rows(workspace, table, corpus))) == found
