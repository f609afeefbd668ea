"""A file that changes is looked at again, and has one current row."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.ingest import tracks as tracks_module
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.running.stage import StageResult
from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import SAMPLE_RATE, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


def noise(seed: int, seconds: float = 3.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    audio: np.ndarray = 0.05 * rng.standard_normal((round(seconds * SAMPLE_RATE), 1))
    return audio


def take(workspace: Workspace, folder: Path, **fields: Any) -> StageResult:
    values = {"workspace": workspace.location, "source": str(folder), **fields}
    return ingest(IngestParameters.model_validate(values))


def rows(workspace: Workspace, table: str, corpus: str = "music") -> list[dict[str, Any]]:
    """What is current."""
    manifests = Manifests(workspace)
    return [
        row
        for partition in manifests.partitions(table, corpus)
        for row in manifests.rows(partition)
    ]


def tracks(workspace: Workspace, corpus: str = "music") -> list[str]:
    """Names of the files that are current tracks, each whole."""
    found = rows(workspace, "tracks", corpus)
    assert len({row["track_id"] for row in found}) == len(found)
    return sorted(Path(row["source_url"]).name for row in found)


def rejects(workspace: Workspace, corpus: str = "music") -> dict[str, str]:
    return {Path(row["item"]).name: row["reason"] for row in rows(workspace, "rejects", corpus)}


def test_a_file_that_changes_is_one_track(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wholes = {}
    for seed, name in enumerate(("half", "most", "holes", "rights", "touched", "here", "there")):
        write(folder / f"{name}.wav", noise(seed))
        wholes[name] = (folder / f"{name}.wav").read_bytes()
    size = len(wholes["half"])
    (folder / "half.wav").write_bytes(wholes["half"][: size // 3])
    (folder / "most.wav").write_bytes(wholes["most"][: size - 3_000])
    (folder / "holes.wav").write_bytes(wholes["holes"][:44] + bytes(size - 44))
    with monkeypatch.context() as patch:  # root may read everything
        patch.setattr(os, "access", lambda path, _: not str(path).endswith("rights.wav"))
        take(workspace, folder)
        assert rejects(workspace) == {"half.wav": "truncated", "holes.wav": "silent"}
        assert len(tracks(workspace)) == 5
        assert take(workspace, folder).already_done
    for name in ("half", "most", "holes"):
        (folder / f"{name}.wav").write_bytes(wholes[name])
    os.utime(folder / "touched.wav", (1, 1))
    (folder / "here.wav").write_bytes(wholes["there"])
    (folder / "there.wav").write_bytes(wholes["here"])
    result = take(workspace, folder)
    assert tracks(workspace) == sorted(f"{name}.wav" for name in wholes)
    assert result.counts["tracks"] == len(wholes)
    assert result.counts["replaced_tracks"] == 1  # what there was of "most"
    assert not rejects(workspace)
    assert take(workspace, folder).already_done
    looks = rows(workspace, "source_files")
    assert len(looks) == 2 * len(wholes)
    assert [Path(look["source_url"]).name for look in looks if "un" in look["stamp"]] == [
        "rights.wav"
    ]


def test_music_that_another_file_has_stays(workspace: Workspace, folder: Path) -> None:
    write(folder / "1.wav", noise(1))
    shutil.copy(folder / "1.wav", folder / "copy.wav")
    silence = folder / "2.wav"
    write(silence, noise(2, seconds=1.0))
    take(workspace, folder)
    assert rejects(workspace) == {"copy.wav": "duplicate", "2.wav": "too_short"}
    write(silence, noise(2) * 0)
    stat = silence.stat()
    take(workspace, folder)
    refused = rows(workspace, "rejects")
    assert sorted(row["reason"] for row in refused) == ["duplicate", "silent"]
    take(workspace, folder, retry="rejected")
    assert rows(workspace, "rejects") == refused  # the same is found, and there once
    write(folder / "1.wav", noise(3))
    write(silence, noise(2))  # and nobody can see it
    os.utime(silence, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    take(workspace, folder)
    assert len(tracks(workspace)) == 2
    write(folder / "copy.wav", noise(4))
    result = take(workspace, folder, retry="rejected")
    assert result.counts["replaced_tracks"] == 1
    assert tracks(workspace) == ["1.wav", "2.wav", "copy.wav"]
    assert not rejects(workspace)
    assert take(workspace, folder, retry="rejected").already_done


def test_of_two_runs_at_once_one_keeps_the_audio(
    workspace: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "1.wav", noise(1))
    take(workspace, folder, corpus="music")
    # another run of the same corpus, which found the same in another folder
    manifests = Manifests(workspace)
    partition = manifests.latest("tracks", "music")
    [row] = manifests.rows(partition)
    [look] = rows(workspace, "source_files")
    theirs = {"source_url": "/0/1.wav"}
    manifests.write(replace(partition, table="source_files"), ["other"], [{**look, **theirs}])
    manifests.write(partition, ["other"], [{**row, **theirs}])
    # and one of another corpus that began at the same time
    monkeypatch.setattr(tracks_module, "audio_elsewhere", lambda _: {})
    write(folder / "2.wav", noise(2))
    take(workspace, folder, corpus="music")
    take(workspace, folder, corpus="also")
    assert tracks(workspace, "also") == ["1.wav", "2.wav"]
    assert tracks(workspace, "music") == []
    urls = [row["source_url"] for row in manifests.rows(partition, retired=True)]
    assert sorted(urls) == sorted(["/0/1.wav", str(folder / "2.wav")])
    assert rejects(workspace, "music") == {"1.wav": "duplicate"}


def test_a_run_that_is_overtaken_before_its_last_part_doubles_nothing(
    workspace: Workspace, folder: Path
) -> None:
    """It had written what the files are, slept, and wrote the tracks when another run had."""
    for seed, name in enumerate(("a.wav", "b.wav")):
        write(folder / name, noise(seed))
    take(workspace, folder)
    before = {table: rows(workspace, table) for table in ("tracks", "measures", "prints")}
    manifests = Manifests(workspace)
    [late] = manifests.parts(manifests.latest("tracks", "music"))
    content = workspace.read(late)
    workspace.remove(late)
    take(workspace, folder)
    workspace.put_bytes(late, content)
    assert {table: rows(workspace, table) for table in before} == before
    assert tracks(workspace) == ["a.wav", "b.wav"]


def test_audio_that_is_gone_is_made_again(workspace: Workspace, folder: Path) -> None:
    """It cost the track, and ingest said that all was done."""
    for seed, name in enumerate(("a.wav", "b.wav", "c.wav")):
        write(folder / name, noise(seed))
    for number, stem in enumerate(("drums", "bass", "other", "vocals")):
        write(folder.parent / f"set/train/Song/{stem}.wav", noise(50 + number))
    labelled = {"source": str(folder.parent / "set"), "corpus": "labelled", "labelled": True}

    def take_both() -> list[StageResult]:
        return [take(workspace, folder), take(workspace, folder, **labelled)]

    take_both()
    before = {table: rows(workspace, table, corpus) for table, corpus in BOTH}
    paths = [before[table][0]["path"] for table in ("tracks", "stems")]
    content = [workspace.read(path) for path in paths]
    for path in paths:
        workspace.remove(path)
    assert [result.already_done for result in take_both()] == [False, False]
    assert [workspace.read(path) for path in paths] == content
    assert {table: rows(workspace, table, corpus) for table, corpus in BOTH} == before
    assert [result.already_done for result in take_both()] == [True, True]


BOTH = (("tracks", "music"), ("stems", "labelled"), ("activity", "labelled"))


def described(workspace: Workspace, folder: Path) -> dict[str, str]:
    """The ids of the tracks, by the file in a folder that each names."""
    found = rows(workspace, "tracks")
    named = {row["source_url"]: row for row in found}
    assert len(named) == len(found)  # one current row a file
    for url, row in named.items():
        assert row["source_bytes"] == Path(url).stat().st_size
    return {str(Path(url).relative_to(folder)): row["track_id"] for url, row in named.items()}


def alone(tmp_path: Path, *wholes: bytes) -> list[str]:
    """The ids of files as tracks of a workspace where nothing ever moved."""
    folder = tmp_path / "alone"
    folder.mkdir()
    for number, whole in enumerate(wholes):
        (folder / f"{number}.wav").write_bytes(whole)
    workspace = Workspace(str(tmp_path / "workspace-alone"), create=True)
    take(workspace, folder)
    found = described(workspace, folder)
    return [found[f"{number}.wav"] for number in range(len(wholes))]


def test_a_track_names_the_file_that_holds_it(workspace: Workspace, folder: Path) -> None:
    """It kept the address of a file that held another song by then, so that both went by one."""
    write(folder / "a.wav", noise(1))
    write(folder / "b.wav", noise(2))
    first, second = (folder / "a.wav").read_bytes(), (folder / "b.wav").read_bytes()
    write(folder / "b.wav", noise(3))
    third = (folder / "b.wav").read_bytes()
    [one, two, three] = alone(folder.parent, first, second, third)
    (folder / "b.wav").unlink()
    take(workspace, folder)
    assert described(workspace, folder) == {"a.wav": one}
    # to another folder, and nothing is in its place
    (folder / "sub").mkdir()
    (folder / "a.wav").rename(folder / "sub" / "a.wav")
    result = take(workspace, folder)
    assert described(workspace, folder) == {"sub/a.wav": one}
    assert (result.counts["tracks"], result.counts["rejected"]) == (1, 0)
    assert not rejects(workspace)
    # to another name, and another song is in its place
    (folder / "sub" / "a.wav").rename(folder / "b.wav")
    (folder / "sub" / "a.wav").write_bytes(second)
    take(workspace, folder)
    assert described(workspace, folder) == {"b.wav": one, "sub/a.wav": two}
    # both change places
    (folder / "b.wav").write_bytes(second)
    (folder / "sub" / "a.wav").write_bytes(first)
    take(workspace, folder)
    assert described(workspace, folder) == {"b.wav": two, "sub/a.wav": one}
    assert not rejects(workspace)
    # of three copies the one goes that the others are duplicates of
    for name in ("x.wav", "y.wav"):
        (folder / name).write_bytes(second)
    take(workspace, folder)
    (folder / "b.wav").write_bytes(third)
    take(workspace, folder)
    assert described(workspace, folder) == {"b.wav": three, "sub/a.wav": one, "x.wav": two}
    [reject] = rows(workspace, "rejects")
    assert (reject["item"], reject["reason"]) == (str(folder / "y.wav"), "duplicate")
    assert reject["detail"] == f"same audio as file {folder / 'x.wav'}"
    assert take(workspace, folder).already_done
    take(workspace, folder, force=True)
    assert described(workspace, folder) == {"b.wav": three, "sub/a.wav": one, "x.wav": two}


def test_a_file_that_is_of_no_use_any_more_leaves_what_it_was(
    workspace: Workspace, folder: Path
) -> None:
    """It was in tracks and in rejects, and nothing said which holds."""
    write(folder / "a.wav", noise(1))
    whole = (folder / "a.wav").read_bytes()
    take(workspace, folder)
    [track_id] = described(workspace, folder).values()
    (folder / "a.wav").write_bytes(b"rubbish" * 100)
    take(workspace, folder)
    [reject] = rows(workspace, "rejects")
    assert reject["reason"] == "corrupt"
    assert reject["detail"].endswith(f"; track {track_id}, which the file was before, stays in use")
    assert tracks(workspace) == ["a.wav"]
    (folder / "a.wav").write_bytes(b"rubbish" * 99)
    take(workspace, folder)
    [again] = rows(workspace, "rejects")  # it went, where another size was all that was new
    assert again == {**reject, "source_bytes": 693}
    # another one that holds it takes its place
    (folder / "copy.wav").write_bytes(whole)
    take(workspace, folder)
    assert described(workspace, folder) == {"copy.wav": track_id}
    assert rejects(workspace) == {"a.wav": "corrupt"}


def test_what_is_retired_for_another_reason_owns_no_file(
    workspace: Workspace, folder: Path
) -> None:
    """A labelled song's audio that was moved was in neither manifest."""
    write(folder / "a.wav", noise(53))
    for number, stem in enumerate(("drums", "bass", "other", "vocals")):
        write(folder.parent / f"set/train/Song/{stem}.wav", noise(50 + number))
    take(workspace, folder)
    [track] = rows(workspace, "tracks")
    labelled = {"source": str(folder.parent / "set"), "corpus": "labelled", "labelled": True}
    take(workspace, folder, **labelled)
    assert tracks(workspace) == []
    (folder / "sub").mkdir()
    (folder / "a.wav").rename(folder / "sub" / "b.wav")
    write(folder / "other.wav", noise(9))
    take(workspace, folder)
    assert tracks(workspace) == ["other.wav"]
    [reject] = rows(workspace, "rejects")
    assert Path(reject["item"]).name == "b.wav"
    assert reject["detail"].startswith("same audio as labelled train song Song")
    manifests = Manifests(workspace)
    every = manifests.rows(manifests.latest("tracks", "music"), retired=True)
    urls = {row["track_id"]: Path(row["source_url"]).name for row in every}
    assert urls[track["track_id"]] == "b.wav"


def test_runs_with_other_parameters_keep_their_own_files(
    workspace: Workspace, folder: Path, tmp_path: Path
) -> None:
    """One's track lies where the other's duplicate does."""
    other = tmp_path / "other"
    for place in (folder, other):
        write(place / "a.wav", noise(1))
    take(workspace, folder)
    take(workspace, other, min_file_s=2.0)
    take(workspace, folder, min_file_s=2.0)
    write(folder / "long.wav", noise(3, seconds=4.0))
    take(workspace, folder, min_file_s=3.5)
    refused = {(row["item"], row["reason"]): row["detail"] for row in rows(workspace, "rejects")}
    assert refused[str(folder / "a.wav"), "duplicate"].endswith(str(other / "a.wav"))
    assert "stays in use" not in refused[str(folder / "a.wav"), "too_short"]
    urls = sorted(row["source_url"] for row in rows(workspace, "tracks"))
    assert urls == sorted(map(str, [folder / "a.wav", other / "a.wav", folder / "long.wav"]))
