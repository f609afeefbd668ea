from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.decoding.decode import AudioDecoder
from storage.decoding.ffmpeg import put_ffmpeg_on_path
from storage.labelled.musdb import choose_validation, musdb_conventions
from storage.labelled.musdb18 import SONGS
from storage.labelled.sets import find_songs
from storage.labelled.song import LabelledSong, StemSource
from tests.storage.labelled.files import SOURCES, message, names, url, write, write_songs
from tests.storage.s3_server import s3_bucket

MUSDB_VALIDATION = "ANiMAL - Rockshow"
REAL_SET = Path(__file__).parents[4] / "shared" / "audio" / "musdb7"


def test_stem_folders(root: str) -> None:
    folder = write_songs(root, "test/C", "valid/B")
    write(root, "train/A/drums.flac", "train/A/BASS.WAV", "train/A/other.m4a", "train/A/Vocals.mp3")
    write(root, "train/A/mixture.ogg")
    fs, songs = find_songs(root, SOURCES)
    assert names(songs) == [("train", "A"), ("valid", "B"), ("test", "C")]
    assert songs[0] == LabelledSong(
        name="A",
        split="train",
        mixture=StemSource(f"{folder}/train/A/mixture.ogg"),
        stems={
            "drums": (StemSource(f"{folder}/train/A/drums.flac"),),
            "bass": (StemSource(f"{folder}/train/A/BASS.WAV"),),
            "other": (StemSource(f"{folder}/train/A/other.m4a"),),
            "vocals": (StemSource(f"{folder}/train/A/Vocals.mp3"),),
        },
    )
    assert list(songs[0].stems) == list(SOURCES)
    assert songs[1].mixture is None
    assert fs.cat_file(songs[0].stems["bass"][0].path) == b"audio"


@pytest.mark.s3
def test_a_set_in_an_object_store() -> None:
    with s3_bucket() as bucket:
        folder = write_songs(f"{bucket}/sets/mine", "train/A", "train/B")
        write(f"{bucket}/sets/mine", "test/C.stem.mp4")
        fs, songs = find_songs(f"{bucket}/sets/mine", SOURCES)
        assert sorted(song.name for song in songs) == ["A", "B", "C"]
        assert fs.cat_file(songs[0].stems["drums"][0].path) == b"audio"
        assert songs[-1].mixture == StemSource(f"{folder}/test/C.stem.mp4", 0)
        write(f"{bucket}/sets/mine", "test/D/guitar.wav")
        assert message(f"{bucket}/sets/mine").startswith(
            f"{bucket}/sets/mine/test/D/guitar.wav: unknown source 'guitar'"
        )
        assert message(f"{bucket}/none").startswith(f"{bucket}/none: no such file or folder")


def test_stem_files(root: str) -> None:
    folder = write(
        root, "train/A - 1.stem.mp4", "train/notes.stem.txt", "train/B.mp4", "test/C.stem.mp4"
    )
    songs = find_songs(root, SOURCES)[1]
    path = f"{folder}/train/A - 1.stem.mp4"
    assert names(songs) == [("train", "A - 1"), ("test", "C")]
    assert songs[0].mixture == StemSource(path, 0)
    assert songs[0].stems == {
        "drums": (StemSource(path, 1),),
        "bass": (StemSource(path, 2),),
        "other": (StemSource(path, 3),),
        "vocals": (StemSource(path, 4),),
    }


def test_other_sources_in_folders(root: str) -> None:
    write(root, *(f"{split}/A/{name}.wav" for split in ("train", "test") for name in ("x", "y")))
    assert list(find_songs(root, ("y", "x"))[1][0].stems) == ["y", "x"]


def test_what_is_no_song_is_passed_over(root: str) -> None:
    write_songs(root, "train/A", "test/B", "train/.hidden", "train/__MACOSX", "train/@Recycle")
    write(root, "README.md", "train/README.txt", "train/.keep", "test/._B.stem.mp4", "extra/x.wav")
    write(root, "train/A/.drums.wav", "train/A/lyrics.txt", "train/A/cover.jpg")
    write(root, "train/A/guitar.mid")
    assert names(find_songs(root, SOURCES, valid_share=0)[1]) == [("train", "A"), ("test", "B")]


def test_linked_songs_count(tmp_path: Path) -> None:
    write_songs(str(tmp_path), "elsewhere/A", "elsewhere/B")
    for split, song in (("train", "A"), ("test", "B")):
        (tmp_path / "set" / split).mkdir(parents=True)
        (tmp_path / "set" / split / song).symlink_to(tmp_path / "elsewhere" / song)
    assert names(find_songs(str(tmp_path / "set"), SOURCES, valid_share=0)[1]) == [
        ("train", "A"),
        ("test", "B"),
    ]


def test_one_name_may_be_in_two_splits(root: str) -> None:
    write_songs(root, "train/A", "valid/A", "test/A")
    songs = find_songs(root, SOURCES)[1]
    assert names(songs) == [("train", "A"), ("valid", "A"), ("test", "A")]


def test_a_test_split_may_be_optional(root: str) -> None:
    write_songs(root, "train/A")
    assert names(find_songs(root, SOURCES, valid_share=0, require_test=False)[1]) == [
        ("train", "A")
    ]
    assert message(root) == (
        f"{root}: no test songs; put Song.stem.mp4 files, or folders with drums, bass, other, "
        f"vocals, into {url(root)}/test/"
    )


def test_musdbs_own_validation_songs(root: str) -> None:
    write_songs(
        root, f"train/{MUSDB_VALIDATION}", "train/B", "train/C", "test/Meaxic - Take A Step"
    )
    assert names(find_songs(root, SOURCES, valid_share=0)[1]) == [
        ("train", "B"),
        ("train", "C"),
        ("valid", MUSDB_VALIDATION),
        ("test", "Meaxic - Take A Step"),
    ]


def test_a_valid_folder_comes_before_musdbs_list(root: str) -> None:
    write_songs(root, f"train/{MUSDB_VALIDATION}", "train/B", "valid/C", "test/D")
    valid = [song.name for song in find_songs(root, SOURCES)[1] if song.split == "valid"]
    assert valid == ["C"]


def test_a_share_is_set_aside_where_nothing_else_says_which(root: str) -> None:
    write_songs(root, *(f"train/{number}" for number in range(8)), "test/A")
    splits = {song.name: song.split for song in find_songs(root, SOURCES, valid_share=0.25)[1]}
    chosen = {name for name, split in splits.items() if split == "valid"}
    assert 0 < len(chosen) < 8
    assert chosen == choose_validation(map(str, range(8)), 0.25)
    assert splits["A"] == "test"


def test_a_song_stays_what_it_is_when_the_set_grows(root: str) -> None:
    before: dict[str, str] = {}
    for number in range(12):
        write_songs(root, f"train/song {number}", "train/first", "test/A")
        found = {song.name: song.split for song in find_songs(root, SOURCES, valid_share=0.4)[1]}
        assert before.items() <= found.items()
        before = {**found}
    assert set(before.values()) == {"train", "valid", "test"}


song_names = st.lists(st.text(min_size=1), unique=True, max_size=30)
shares = st.floats(0, 1, exclude_max=True)


@given(song_names, song_names, shares)
def test_the_choice_depends_on_the_song_alone(
    names: list[str], others: list[str], share: float
) -> None:
    chosen = choose_validation(names, share)
    assert chosen == frozenset().union(*(choose_validation([name], share) for name in names))
    assert choose_validation([*others, *names], share) & frozenset(names) == chosen


@given(song_names, shares, shares)
def test_a_larger_share_holds_a_smaller_one(names: list[str], one: float, two: float) -> None:
    assert choose_validation(names, min(one, two)) <= choose_validation(names, max(one, two))


def test_the_share_is_kept_over_many_songs() -> None:
    assert len(choose_validation((f"song {n}" for n in range(10_000)), 0.14)) == 1323
    assert choose_validation([f"song {n}" for n in range(100)], 0) == frozenset()


def test_of_musdb18_musdbs_own_are_held_out_and_no_others() -> None:
    chosen = choose_validation(SONGS.splitlines(), 0.9)
    assert {unicodedata.normalize("NFC", name) for name in chosen} == (
        musdb_conventions().validation_songs
    )
    assert len(chosen) == 14


def test_the_choice_is_the_same_everywhere() -> None:
    assert sorted(choose_validation([f"song {n}" for n in range(20)], 0.14)) == [
        "song 11",
        "song 6",
    ]
    composed, decomposed = "Caf\u00e9", "Cafe\u0301"
    for share in (0.2, 0.4, 0.6, 0.8):
        chosen = choose_validation([composed, decomposed], share)
        assert (composed in chosen) == (decomposed in chosen)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_that_are_none(tmp_path: Path, share: float) -> None:
    assert message(str(tmp_path), valid_share=share) == (
        f"valid_share must be at least 0 and below 1, not {share}"
    )


def test_no_set(root: str) -> None:
    write(root, "file.wav", "elsewhere/x.wav")
    assert message(f"{root}/none") == (f"{root}/none: no such file or folder; check the path")
    assert message(f"{root}/file.wav") == (
        f"{root}/file.wav: is a file; a labelled set is a folder, a library of stems a folder or "
        "a .csv file"
    )
    assert message(root).startswith(f"{root}: no train/ folder; a labelled set has train/ and ")


def test_no_such_place() -> None:
    assert message("nonsense://x").startswith("nonsense://x: can't be read (Protocol not known")


def test_an_empty_set(root: str) -> None:
    write(root, "train/README.md", "test/README.md")
    assert message(root) == (
        f"{root}: no train songs; put Song.stem.mp4 files, or folders with drums, bass, other, "
        f"vocals, into {url(root)}/train/"
    )


def test_an_unknown_source(root: str) -> None:
    write_songs(root, "train/Song", "test/A")
    write(root, "train/Song/guitar.wav")
    assert message(root) == (
        f"{url(root)}/train/Song/guitar.wav: unknown source 'guitar'; the sources are drums, bass, "
        "other, vocals (and mixture); remove it, or say with --stems what it holds, such as "
        "vocals=guitar or skip=guitar"
    )


def test_a_missing_stem(root: str) -> None:
    write(root, "train/Song/drums.wav", "train/Song/other.wav")
    assert message(root) == (
        f"{url(root)}/train/Song: no bass and no vocals (such as bass.wav); a song needs drums, "
        "bass, other, vocals; add what is missing or the mixture that holds it, or move the song "
        "out of train/"
    )


def test_a_folder_without_stems(root: str) -> None:
    write(root, "train/Song/info.txt")
    assert message(root).startswith(f"{url(root)}/train/Song: no drums and no bass and no other")


def test_a_stem_twice(root: str) -> None:
    write_songs(root, "train/Song")
    write(root, "train/Song/drums.flac")
    assert message(root) == (
        f"{url(root)}/train/Song: drums is there twice, as drums.flac and drums.wav; remove one"
    )


def test_a_song_twice(root: str) -> None:
    write_songs(root, "train/Song")
    write(root, "train/Song.stem.mp4")
    assert message(root) == (
        f"{url(root)}/train/Song.stem.mp4: there is another song of this name; remove one of them"
    )


def test_a_source_that_no_stem_file_holds(root: str) -> None:
    write(root, "train/A.stem.mp4")
    assert message(root, ("drums", "guitar")) == (
        f"{url(root)}/train/A.stem.mp4: a .stem.mp4 holds no source 'guitar', only drums, bass, "
        "other, vocals; use a folder of stems, or say with --stems which of them are it, such as "
        "guitar=drums|bass"
    )


@pytest.mark.parametrize("name", ["Song/mixture.wav", "Other", "Other.stem.mp4"])
def test_links_to_nowhere(tmp_path: Path, name: str) -> None:
    write_songs(str(tmp_path), "train/Song", "test/A")
    (tmp_path / "train" / name).symlink_to(tmp_path / "nowhere")
    assert message(str(tmp_path)) == (
        f"{tmp_path}/train/{name}: neither a file nor a folder, perhaps a link to nowhere; replace "
        "or remove it"
    )


def musdb_tracks(root: Path, *, is_wav: bool) -> dict[tuple[str, str], Any]:
    """musdb's own tracks by split and name."""
    put_ffmpeg_on_path()
    import musdb

    def tracks(subset: str, split: str | None) -> list[Any]:
        return list(musdb.DB(str(root), subsets=[subset], split=split, is_wav=is_wav))

    return {
        **{("train", track.name): track for track in tracks("train", "train")},
        **{("valid", track.name): track for track in tracks("train", "valid")},
        **{("test", track.name): track for track in tracks("test", None)},
    }


def decoded(source: StemSource) -> NDArray[np.float32]:
    """Audio ``(C, T)``."""
    with open(source.path, "rb") as file:
        return np.concatenate(
            list(AudioDecoder(file, sample_rate=44_100, num_channels=2, stream=source.stream)),
            axis=1,
        )


def assert_as_musdb(song: LabelledSong, track: Any, tolerance: float) -> None:
    """musdb's audio is 16-bit: apart from that rounding, the two must agree sample by sample."""
    assert song.mixture is not None
    np.testing.assert_allclose(decoded(song.mixture), track.audio.T, rtol=0, atol=tolerance)
    for source, [stem] in song.stems.items():
        target = track.targets[source].audio.T
        assert np.ptp(target) > 10 * tolerance
        np.testing.assert_allclose(decoded(stem), target, rtol=0, atol=tolerance)


def test_musdb_agrees_on_wav_files(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    for song in ("train/B", f"train/{MUSDB_VALIDATION}", "train/A", "test/D", "test/C"):
        (tmp_path / song).mkdir(parents=True)
        stems = generator.integers(-8000, 8000, (4, 4410, 2), dtype=np.int16)
        for source, stem in zip(SOURCES, stems, strict=True):
            soundfile.write(tmp_path / song / f"{source}.wav", stem, 44100)
        soundfile.write(tmp_path / song / "mixture.wav", stems.sum(0, dtype=np.int16), 44100)
    tracks = musdb_tracks(tmp_path, is_wav=True)
    songs = find_songs(str(tmp_path), SOURCES, valid_share=0)[1]
    assert sorted(names(songs)) == sorted(tracks)
    for found in songs:
        assert_as_musdb(found, tracks[found.split, found.name], tolerance=0)


@pytest.mark.skipif(not REAL_SET.is_dir(), reason="the real track is not there")
def test_musdb_agrees_on_a_real_stem_file() -> None:
    tracks = musdb_tracks(REAL_SET, is_wav=False)
    songs = find_songs(str(REAL_SET), SOURCES, require_test=False)[1]
    assert songs
    assert sorted(names(songs)) == sorted(tracks)
    for song in songs:
        assert_as_musdb(song, tracks[song.split, song.name], tolerance=2**-15)


def test_musdbs_conventions() -> None:
    conventions = musdb_conventions()
    assert conventions.streams == {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}
    assert len(conventions.validation_songs) == 14
    assert MUSDB_VALIDATION in conventions.validation_songs
