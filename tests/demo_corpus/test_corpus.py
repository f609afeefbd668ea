import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from demo_corpus.__main__ import main
from demo_corpus.corpus import (
    CorpusFile,
    SongJob,
    compose_and_render,
    write_labelled,
    write_unlabelled,
)
from demo_corpus.files import FORMATS
from demo_corpus.ogg import with_serial
from demo_corpus.palette import ALL, SEEN, InstrumentPool
from demo_corpus.sampler import SAMPLE_RATE
from demo_corpus.score import SOURCES
from demo_corpus.splits import KARAOKE

SECONDS = 5.0

# Its folder, the folders of its labelled songs and its unlabelled files.
Corpus = tuple[Path, list[Path], list[CorpusFile]]


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Folder with one labelled test song and an unlabelled corpus of every format."""
    folder = tmp_path_factory.mktemp("corpus")
    songs = write_labelled(folder / "labelled", seed=3, num_train=1, num_test=1, duration_s=SECONDS)
    files = write_unlabelled(
        folder / "unlabelled",
        seed=3,
        num_songs=len(FORMATS),
        duration_s=SECONDS,
        leaked=songs[-1] / "mixture.wav",
    )
    return folder, songs, files


@pytest.fixture(scope="module")
def stems() -> list[np.ndarray]:
    """What the unlabelled songs are made of, rendered anew."""
    return [
        compose_and_render(
            SongJob(
                seed=3,
                stream=1,
                index=index,
                pool_name="all",
                duration_s=SECONDS,
                root=Path(),
                target="",
                record=Path(),
            )
        )
        for index in range(len(FORMATS))
    ]


def test_labelled_set_has_musdb_hq_layout(corpus: Corpus) -> None:
    folder, songs, _ = corpus
    assert [song.parent.name for song in songs] == ["train", "test"]
    for song in songs:
        assert song.parent.parent == folder / "labelled"
        names = {path.name for path in song.iterdir()}
        assert names == {f"{name}.wav" for name in ("mixture", *SOURCES)}
        for name in names:
            info = soundfile.info(song / name)
            assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_16")


def test_mixture_is_exactly_the_sum_of_its_stems(corpus: Corpus) -> None:
    for song in corpus[1]:
        mixture, *stems = (
            soundfile.read(song / f"{name}.wav", dtype="int16")[0].astype(np.int32)
            for name in ("mixture", *SOURCES)
        )
        np.testing.assert_array_equal(mixture, sum(stems))


def test_every_format_decodes_to_the_song(corpus: Corpus, stems: list[np.ndarray]) -> None:
    folder, _, files = corpus
    songs = [file for file in files if file.kind == "song"]
    assert {song.format for song in songs} == {known.name for known in FORMATS}
    for index, (song, known) in enumerate(zip(songs, FORMATS, strict=True)):
        path = folder / "unlabelled" / song.path
        if known.name == "m4a":
            with av.open(str(path)) as container:
                sample_rate = container.streams.audio[0].rate
                audio = np.concatenate(
                    [frame.to_ndarray() for frame in container.decode(audio=0)], axis=1
                )
        else:
            audio, sample_rate = soundfile.read(path, always_2d=True)
            audio = audio.T
            assert sample_rate == (known.sample_rate or SAMPLE_RATE)
        assert audio.shape[0] == known.num_channels
        expected = stems[index].sum(axis=0).mean(axis=0) / 32_768
        share = known.kept_share * sample_rate / SAMPLE_RATE
        assert audio.shape[1] == pytest.approx(expected.size * share, rel=0.01)
        level_db, expected_db = (
            10 * np.log10(np.mean(np.square(mono[: audio.shape[1]])))
            for mono in (audio.mean(axis=0), expected)
        )
        assert level_db == pytest.approx(expected_db, abs=0.5)


def test_cut_file_declares_more_than_it_holds(corpus: Corpus) -> None:
    folder, _, files = corpus
    path = folder / "unlabelled" / next(file.path for file in files if file.format == "cut")
    content = path.read_bytes()
    assert int.from_bytes(content[40:44], "little") > len(content) - 44


def test_truth_holds_the_levels_of_the_stems(corpus: Corpus, stems: list[np.ndarray]) -> None:
    folder, _, files = corpus
    rows = pq.read_table(folder / "truth" / "unlabelled" / "truth.parquet").to_pylist()
    songs = [file for file in files if file.kind in ("song", "duplicate")]
    assert [row["path"] for row in rows[:: len(SOURCES)]] == [song.path for song in songs]
    for index, known in enumerate(FORMATS):
        song = stems[index] / 32_768
        song = song[..., : int(song.shape[2] * known.kept_share)]
        if known.num_channels == 1:
            song = song.mean(axis=1, keepdims=True)
        for row, stem, source in zip(rows[4 * index :], song, SOURCES, strict=False):
            assert (row["source"], row["hop_samples"]) == (source, 4_096)
            for levels, audio in (
                (row["level_db"], stem),
                (row["mixture_level_db"], song.sum(axis=0)),
            ):
                frames = np.array_split(audio, range(4_096, audio.shape[1], 4_096), axis=1)
                power = np.array([np.mean(frame**2) for frame in frames])
                np.testing.assert_allclose(
                    levels, 10 * np.log10(np.maximum(power, 1e-12)), atol=0.01
                )


def test_faults_are_what_they_claim(corpus: Corpus) -> None:
    folder, songs, files = corpus
    paths = {file.kind: folder / "unlabelled" / file.path for file in files if file.kind != "song"}
    assert paths["empty"].stat().st_size == 0
    assert "bridge" in paths["text"].read_text()
    for kind in ("garbage", "text", "empty", "truncated"):
        with pytest.raises(soundfile.LibsndfileError):
            soundfile.read(paths[kind])
    with pytest.raises(av.error.FFmpegError):
        av.open(str(paths["truncated"]))
    assert soundfile.info(paths["short"]).duration <= 1.0
    assert not soundfile.read(paths["silence"])[0].any()
    assert np.isnan(soundfile.read(paths["nan"])[0]).sum() == 1
    first = folder / "unlabelled" / files[0].path
    assert paths["duplicate"].read_bytes() == first.read_bytes()
    assert paths["leak"].read_bytes() == (songs[-1] / "mixture.wav").read_bytes()
    named = {file.path for file in files}
    found = {
        path.relative_to(folder / "unlabelled").as_posix()
        for path in (folder / "unlabelled").rglob("*")
        if path.is_file()
    }
    assert found == named


def test_same_parameters_same_bytes(corpus: Corpus, tmp_path: Path) -> None:
    folder, songs, _ = corpus
    write_unlabelled(
        tmp_path / "unlabelled",
        seed=3,
        num_songs=len(FORMATS),
        duration_s=SECONDS,
        leaked=songs[-1] / "mixture.wav",
    )
    assert _digests(tmp_path / "unlabelled") == _digests(folder / "unlabelled")


def test_second_call_writes_nothing_and_a_lost_file_is_made_again(corpus: Corpus) -> None:
    folder, songs, files = corpus
    before = _times(folder)
    digests = _digests(folder)

    def again() -> list[CorpusFile]:
        write_labelled(folder / "labelled", seed=3, num_train=1, num_test=1, duration_s=SECONDS)
        return write_unlabelled(
            folder / "unlabelled",
            seed=3,
            num_songs=len(FORMATS),
            duration_s=SECONDS,
            leaked=songs[-1] / "mixture.wav",
        )

    assert again() == files
    assert _times(folder) == before
    (songs[0] / "bass.wav").unlink()
    (folder / "unlabelled" / files[2].path).write_bytes(b"cut off")
    again()
    assert _digests(folder) == digests


def test_a_new_test_song_is_leaked_anew(tmp_path: Path) -> None:
    leaked = tmp_path / "mixture.wav"
    for content in (b"one", b"two"):
        leaked.write_bytes(content)
        files = write_unlabelled(tmp_path / "music", seed=1, num_songs=0, leaked=leaked)
        copy = next(file for file in files if file.kind == "leak")
        assert (tmp_path / "music" / copy.path).read_bytes() == content


def test_other_parameters_replace_the_songs(tmp_path: Path) -> None:
    def songs(seed: int, count: int, instruments: InstrumentPool = ALL) -> dict[str, str]:
        write_labelled(
            tmp_path / "set",
            seed=seed,
            num_train=count,
            num_test=0,
            duration_s=4.0,
            instruments=instruments,
        )
        return _digests(tmp_path / "set")

    two = songs(1, 2)
    assert len(two) == 10
    one = songs(1, 1)
    assert one == {path: two[path] for path in one}
    assert len(one) == 5
    assert not set(songs(2, 1).values()) & set(one.values())
    assert not set(songs(1, 1, SEEN).items()) & set(one.items())
    assert songs(1, 0) == {}


def test_negative_counts_and_short_songs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="number of songs must be at least 0, not -1"):
        write_unlabelled(tmp_path, seed=0, num_songs=-1)
    with pytest.raises(ValueError, match=r"duration_s must be at least 4\.0, not 1\.0"):
        write_labelled(tmp_path, seed=0, num_train=1, num_test=0, duration_s=1.0)
    assert not any(tmp_path.iterdir())


def test_ogg_serial_is_checked() -> None:
    with pytest.raises(ValueError, match="no Ogg page at byte 0"):
        with_serial(b"RIFFabcd", 1)


def test_command_line_writes_both_sets_and_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = ["--train", "1", "--valid", "0", "--test", "1", "--songs", "1"]
    seconds = ["--labelled-seconds", "4", "--unlabelled-seconds", "4"]
    main(["--out", str(tmp_path), *counts, *seconds, "--processes", "1"])
    assert "2 labelled songs, 10 unlabelled files" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"labelled", "unlabelled", "truth"}
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--songs", "-1"])
    assert "--songs: -1 is not a number of songs" in capsys.readouterr().err


FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from demo_corpus.files import write_pcm16
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
write_pcm16(Path(sys.argv[1]), np.ones((2, 44_100), np.int16), 44_100)
"""


def test_a_file_that_finds_no_room_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "song.wav"
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(target)], capture_output=True, text=True
    )
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("OSError: ")
    assert "MiB free on its disk" in last
    assert str(target) in last
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_of_other_stems_at_another_rate(tmp_path: Path) -> None:
    songs = write_labelled(
        tmp_path / "labelled", seed=3, num_train=1, num_test=0, duration_s=SECONDS, split=KARAOKE,
        sample_rate=16_000, num_channels=1,
    )  # fmt: skip
    assert {path.stem for path in songs[0].iterdir()} == {"mixture", *KARAOKE.sources}
    audio = {path.stem: soundfile.read(path, dtype="int16") for path in songs[0].iterdir()}
    assert {(rate, samples.ndim) for samples, rate in audio.values()} == {(16_000, 1)}
    total = sum(audio[source][0].astype(int) for source in KARAOKE.sources)
    np.testing.assert_array_equal(audio["mixture"][0], total)
    files = write_unlabelled(
        tmp_path / "unlabelled", seed=3, num_songs=7, duration_s=SECONDS, split=KARAOKE,
        sample_rate=16_000, hop_samples=2_048, faults=False,
    )  # fmt: skip
    rates = {file.format: soundfile.info(tmp_path / "unlabelled" / file.path).samplerate
             for file in files if file.format != "m4a"}  # fmt: skip
    assert rates.pop("48k") == 48_000
    assert set(rates.values()) == {16_000}
    rows = pq.read_table(tmp_path / "truth" / "unlabelled" / "truth.parquet").to_pylist()
    assert {(row["source"], row["hop_samples"]) for row in rows} == {
        ("vocals", 2_048), ("accompaniment", 2_048)
    }  # fmt: skip
