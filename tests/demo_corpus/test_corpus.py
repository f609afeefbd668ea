from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from demo_corpus.corpus import (
    FLOOR_DB,
    HOP_SAMPLES,
    SongOrder,
    frame_levels_db,
    make_song,
    write_demo,
    write_labelled,
)
from demo_corpus.files import KINDS
from demo_corpus.palette import ALL, SEEN, UNSEEN
from demo_corpus.sampler import SAMPLE_RATE
from demo_corpus.score import SOURCES
from storage.canonical import Unusable, prepare
from storage.discovery import find_audio

SONG_S = 6.0


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    write(root)
    return root


def write(root: Path, seed: int = 3) -> None:
    write_demo(
        root, seed=seed, num_train=1, num_valid=1, num_test=1, num_unlabelled=len(KINDS),
        duration_s=SONG_S,
    )  # fmt: skip


def order(
    seed: int, number: int, duration_s: float = SONG_S, instruments: str = ALL.name
) -> SongOrder:
    return SongOrder(
        seed=seed, number=number, duration_s=duration_s, instruments=instruments, target=""
    )


def content(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_song_is_decided_by_seed_and_number() -> None:
    song = make_song(order(1, 2))
    assert np.array_equal(song, make_song(order(1, 2)))
    for other in (order(1, 3), order(2, 2)):
        made = make_song(other)
        assert made.shape != song.shape or not np.array_equal(made, song)


def test_the_labelled_set_has_the_layout_of_musdb18_hq(corpus: Path) -> None:
    for split in ("train", "valid", "test"):
        [song] = (corpus / "labelled" / split).iterdir()
        stems = {}
        for name in ("mixture", *SOURCES):
            info = soundfile.info(song / f"{name}.wav")
            assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 2, "PCM_16")
            stems[name], _ = soundfile.read(song / f"{name}.wav", dtype="int16")
        total = sum(stems[source].astype(np.int32) for source in SOURCES)
        assert np.array_equal(total, stems["mixture"])
        assert np.abs(stems["mixture"].astype(np.int32)).max() > 3000


def test_every_song_decodes_and_every_broken_file_does_not(corpus: Path) -> None:
    fs, files = find_audio(str(corpus / "unlabelled"))
    reasons = {}
    decoded = 0
    for file in files:
        try:
            with prepare(fs, file.path, min_duration_s=3.0) as audio:
                assert SONG_S * 0.6 < audio.duration_s < SONG_S + 3
                decoded += 1
        except Unusable as problem:
            reasons[Path(file.path).name] = problem.reason
    assert decoded == len(KINDS) + 2  # the duplicate and the leak are music
    assert reasons == {
        "garbage.mp3": "corrupt",
        "header only.flac": "corrupt",
        "empty.wav": "empty",
        "notes.mp3": "corrupt",
        "silence.wav": "silent",
        "too short.wav": "too_short",
        "not a number.wav": "non_finite",
    }


def test_the_truth_is_the_level_of_what_was_played(corpus: Path) -> None:
    rows = pq.read_table(corpus / "truth.parquet").to_pylist()
    assert len(rows) == len(KINDS) * len(SOURCES)
    float_wav = next(row for row in rows if row["path"].endswith("009.wav"))
    audio, _ = soundfile.read(corpus / "unlabelled" / float_wav["path"], dtype="float32")
    assert np.allclose(frame_levels_db(audio.T), float_wav["mixture_level_db"], atol=0.01)
    stems = make_song(order(3, 1_000_009)).astype(np.float32) / 32768
    by_source = {row["source"]: row for row in rows if row["path"] == float_wav["path"]}
    for source, stem in zip(SOURCES, stems, strict=True):
        assert np.array_equal(frame_levels_db(stem), np.float32(by_source[source]["level_db"]))


def test_frame_levels() -> None:
    audio = np.zeros((2, HOP_SAMPLES + 10), dtype=np.float32)
    audio[:, HOP_SAMPLES:] = 0.1
    assert frame_levels_db(audio) == pytest.approx([FLOOR_DB, -20.0], abs=1e-4)


def test_writing_again_changes_nothing_and_continues_what_is_unfinished(
    corpus: Path, tmp_path: Path
) -> None:
    before = content(corpus)
    times = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    write(corpus)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == times

    def kill_after_two(function, items):  # type: ignore[no-untyped-def]
        for number, item in enumerate(items):
            if number == 2:
                raise KeyboardInterrupt
            yield function(item)

    root = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        write_labelled(
            root / "labelled", seed=3, num_train=1, num_valid=1, num_test=1, duration_s=SONG_S,
            map=kill_after_two,
        )  # fmt: skip
    write_labelled(
        root / "labelled", seed=3, num_train=1, num_valid=1, num_test=1, duration_s=SONG_S
    )
    labelled = {name: digest for name, digest in before.items() if name.startswith("labelled/")}
    assert content(root) == labelled


def test_other_parameters_make_another_corpus(tmp_path: Path) -> None:
    arguments = {"num_train": 1, "num_valid": 0, "num_test": 0, "duration_s": SONG_S}
    write_labelled(tmp_path / "labelled", seed=1, **arguments)  # type: ignore[arg-type]
    first = content(tmp_path)
    write_labelled(tmp_path / "labelled", seed=2, **arguments)  # type: ignore[arg-type]
    assert len(content(tmp_path)) == len(first)
    assert content(tmp_path) != first


def test_the_pools_share_no_instrument() -> None:
    for role in ("kits", "bass", "keys", "guitars", "pads", "plucks", "leads", "voices"):
        assert not set(getattr(SEEN, role)) & set(getattr(UNSEEN, role)), role


def test_every_source_falls_silent_for_a_while_and_plays_most_of_the_time() -> None:
    longest = np.zeros(len(SOURCES))
    silent = np.zeros(len(SOURCES))
    num_frames = 0
    for number in range(5):
        stems = make_song(order(11, number, duration_s=30.0)).astype(np.float32) / 32768
        num_frames += len(frame_levels_db(stems[0]))
        for index, stem in enumerate(stems):
            quiet = frame_levels_db(stem) < -60
            silent[index] += quiet.sum()
            edges = np.flatnonzero(np.diff(quiet.astype(int), prepend=0, append=0))
            lengths = edges[1::2] - edges[::2]
            longest[index] = max(longest[index], lengths.max(initial=0) * HOP_SAMPLES / SAMPLE_RATE)
    assert (longest >= 3.0).all(), longest
    assert (silent / num_frames < 0.7).all(), silent / num_frames
