from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.decoding.ffmpeg import put_ffmpeg_on_path
from storage.museval_folder import (
    MusevalFolderError,
    file_stem,
    frame_median,
    read_results,
    result_path,
    run_folders,
)
from storage.museval_json import METRICS, to_museval
from storage.workspace import Workspace

SONGS = ("AM Contra - Heart Peripheral", "Zażółć (Live) - 1. Gęślą", "d.o.t.s")


def frames(seed: int) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    made = {
        source: {name: rng.normal(5, 3, size=7) for name in METRICS}
        for source in ("drums", "bass", "other", "vocals")
    }
    made["drums"]["SDR"][1] = np.nan
    made["bass"]["SIR"][2] = np.inf
    return made


@pytest.fixture
def museval() -> Any:
    put_ffmpeg_on_path()
    return pytest.importorskip("museval")


def test_museval_reads_what_we_write(museval: Any, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    for seed, song in enumerate(SONGS):
        path = result_path("reports/museval/labelled/f1/model-a", song)
        workspace.put_bytes(path, to_museval(frames(seed), 1.0, 1.0))
    folder = tmp_path / "w" / "reports/museval/labelled/f1/model-a"
    store = museval.EvalStore()
    store.add_eval_dir(folder)
    assert set(store.df["track"]) == set(SONGS)
    ours = read_results(str(folder), SONGS)
    for source in ("drums", "bass", "other", "vocals"):
        for metric in METRICS:
            medians = [ours[song][source][metric] for song in SONGS]
            theirs = store.agg_frames_tracks_scores()[source][metric]
            assert np.median(medians) == pytest.approx(theirs)
    methods = museval.MethodStore()
    methods.add_eval_dir(folder)
    assert set(methods.df["method"]) == {"model-a"}


def test_we_read_what_museval_writes(museval: Any, tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    for seed, song in enumerate(SONGS):
        track = museval.TrackStore(track_name=song)
        for source, metrics in frames(seed).items():
            track.add_target(source, {name: values.tolist() for name, values in metrics.items()})
        track.validate()
        track.save(tmp_path / "test" / f"{song}.json")
    found = read_results(str(tmp_path), SONGS)
    for seed, song in enumerate(SONGS):
        for source, metrics in frames(seed).items():
            for name, values in metrics.items():
                assert found[song][source][name] == pytest.approx(frame_median(values), abs=1e-5)


def test_songs_are_matched_by_name_with_or_without_the_subset(tmp_path: Path) -> None:
    decomposed = "Cafe\N{COMBINING ACUTE ACCENT}"
    (tmp_path / f"{decomposed}.json").write_bytes(to_museval(frames(0), 1.0, 1.0))
    (tmp_path / "notes.txt").write_text("not scores")
    found = read_results(str(tmp_path), ["Caf\N{LATIN SMALL LETTER E WITH ACUTE}", "Other"])
    assert list(found) == ["Caf\N{LATIN SMALL LETTER E WITH ACUTE}"]


def test_results_may_be_anywhere() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/published/mine/test/A.json", to_museval(frames(0), 1.0, 1.0))
    assert list(read_results("memory://published/mine", ["A"])) == ["A"]


def test_packed_results_are_read(tmp_path: Path) -> None:
    content = to_museval(frames(0), 1.0, 1.0)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "A.json.gz").write_bytes(gzip.compress(content))
    (tmp_path / "test" / "B.json.gz").write_bytes(gzip.compress(to_museval(frames(1), 1.0, 1.0)))
    (tmp_path / "test" / "B.json").write_bytes(content)
    found = read_results(str(tmp_path), ["A", "B"])
    assert found["A"] == found["B"]


def test_damaged_packed_and_too_large_results_are_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(to_museval(frames(0), 1.0, 1.0))
    damaged = {
        b"not packed": "Not a gzipped file",
        packed[:-20]: "ended before the end-of-stream",
        packed[:40] + bytes(20) + packed[60:]: "",
        gzip.compress(b"\xff\xfe{"): "not scores in museval's JSON",
        gzip.compress(b"[" * 200_000): "not scores in museval's JSON",
        gzip.compress(bytes(3000)): "larger than",
        bytes(3000): "larger than",
    }
    for content, problem in damaged.items():
        small = 2000 if problem == "larger than" else 2**26
        monkeypatch.setattr("storage.museval_folder.MAX_BYTES", small)
        (tmp_path / "A.json.gz").write_bytes(content)
        with pytest.raises(MusevalFolderError, match=rf"A\.json\.gz: .*{problem}") as caught:
            read_results(str(tmp_path), ["A"])
        assert "\n" not in str(caught.value)


def test_a_pattern_names_the_folders_of_runs(tmp_path: Path) -> None:
    for name in ("demucs-seed1", "demucs-seed0", "umx", "odd [1]"):
        (tmp_path / name).mkdir()
    (tmp_path / "demucs-seed9.txt").write_text("no folder")
    found = run_folders(f"{tmp_path}/demucs-seed*")
    assert [Path(each).name for each in found] == ["demucs-seed0", "demucs-seed1"]
    for folder in ("umx", "none", "odd [1]"):
        assert run_folders(f"{tmp_path}/{folder}") == [f"{tmp_path}/{folder}"]
    with pytest.raises(MusevalFolderError, match="no folder has such a name"):
        run_folders(f"{tmp_path}/none*")


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_name_gives_a_file_of_its_own(first: str, second: str) -> None:
    stem = file_stem(first)
    assert stem
    assert len(f"{stem}.json".encode("utf-8", "surrogatepass")) <= 255
    assert not {"/", "\\", "\0", "\n"} & set(stem)
    assert not stem.startswith(".")
    assert (stem == file_stem(second)) == (first == second)


def test_what_is_no_folder_of_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MusevalFolderError, match="no such folder"):
        read_results(str(tmp_path / "none"), ["A"])
    with pytest.raises(MusevalFolderError, match="holds no museval results"):
        read_results(str(tmp_path), ["A"])
    for content in ("{}", "[1]", '{"targets": [1]}', '{"targets": 3}', "not JSON", '{"targets":'):
        (tmp_path / "A.json").write_text(content)
        with pytest.raises(MusevalFolderError, match=r"A\.json: not scores in museval's JSON"):
            read_results(str(tmp_path), ["A"])
    assert read_results(str(tmp_path), ["B"]) == {}


def test_the_median_is_of_finite_frames() -> None:
    assert frame_median(np.array([1.0, np.nan, 3.0, np.inf])) == 2
    assert np.isnan(frame_median(np.array([np.nan, np.inf])))
    assert np.isnan(frame_median(np.array([])))
