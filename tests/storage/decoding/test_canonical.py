from __future__ import annotations

import hashlib
import io
import math
import struct
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
import soundfile
import soxr
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.decoding import canonical
from storage.decoding.canonical import FLOOR_DB, PreparedAudio, decode_into, summed, wav_header
from storage.decoding.chunk import Unusable
from storage.reading import parse_wav_header
from storage.workspace import Workspace
from tests.storage.decoding.encoded import RATE, music, write_ffmpeg, write_sndfile

LOCAL = LocalFileSystem()
LENGTH = RATE + 1234
prepare = partial(canonical.prepare, sample_rate=RATE, num_channels=2)


def written(audio: PreparedAudio, gain_db: float | None = None) -> bytes:
    file = io.BytesIO()
    audio.write_wav(file, gain_db)
    return file.getvalue()


def samples(wav: bytes) -> NDArray[np.int16]:
    read: NDArray[np.int16] = soundfile.read(io.BytesIO(wav), dtype="int16", always_2d=True)[0]
    return read.T


def pcm(audio: NDArray[np.float32]) -> NDArray[np.int16]:
    steps = np.clip(np.rint(audio * np.float32(32768)), -32768, 32767)
    return np.asarray(steps, np.int16)


@pytest.mark.parametrize("fs", [LOCAL, MemoryFileSystem()], ids=["local", "memory"])
def test_sixteen_bit_music_comes_through_bit_by_bit(
    tmp_path: Path, fs: LocalFileSystem | MemoryFileSystem, workspace: Workspace
) -> None:
    original = np.random.default_rng(0).integers(-(2**15), 2**15, (2, LENGTH)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", original.T, RATE)
    path = str(tmp_path / "a.wav")
    if isinstance(fs, MemoryFileSystem):
        fs.pipe_file("/canonical/a.wav", Path(path).read_bytes())
        path = "/canonical/a.wav"
    with prepare(fs, path, min_duration_s=1.0) as audio:
        assert (audio.num_samples, audio.sample_rate, audio.gain_db) == (LENGTH, RATE, 0.0)
        assert audio.duration_s == LENGTH / RATE
        assert not audio.truncated
        workspace.put("audio/a.wav", audio.write_wav)
        digest = audio.content_hash()
    wav = workspace.read("audio/a.wav")
    assert np.array_equal(samples(wav), original)
    assert digest == hashlib.sha256(np.ascontiguousarray(original.T).tobytes()).hexdigest()


def test_a_mono_workspace_holds_mono_at_its_own_rate(tmp_path: Path, workspace: Workspace) -> None:
    original = music(LENGTH)
    soundfile.write(tmp_path / "a.wav", original.T, RATE, subtype="FLOAT")
    with canonical.prepare(
        LOCAL, str(tmp_path / "a.wav"), sample_rate=16_000, num_channels=1, min_duration_s=1.0
    ) as audio:
        assert audio.num_samples == round(LENGTH * 16_000 / RATE)
        workspace.put("audio/a.wav", audio.write_wav)
        level_db = audio.level_db
        heard = audio.read(0, audio.num_samples)
    layout = parse_wav_header(workspace.read("audio/a.wav"), "a.wav")
    assert (layout.num_samples, layout.num_channels, layout.sample_rate) == (
        audio.num_samples, 1, 16_000,
    )  # fmt: skip
    assert np.array_equal(samples(workspace.read("audio/a.wav")), pcm(heard))
    expected = soxr.resample(original.mean(axis=0), RATE, 16_000)
    np.testing.assert_allclose(heard[0, 200:-200], expected[200 : len(heard[0]) - 200], atol=1e-3)
    assert level_db == pytest.approx(20 * math.log10(np.sqrt(np.square(heard).mean())), abs=0.01)


def test_equal_music_under_other_names_formats_and_tags_has_one_hash(tmp_path: Path) -> None:
    original = (music(LENGTH) * 32768).astype(np.int16)
    paths = [tmp_path / name for name in ("a.wav", "b.flac", "c.aiff", "d.m4a", "e.wav")]
    for path in (*paths[:3], paths[4]):
        with soundfile.SoundFile(path, "w", RATE, 2) as file:
            if path.suffix != ".aiff":
                file.title = path.name
            file.write(original.T)
    write_ffmpeg(paths[3], original.astype(np.float32) / 32768, codec="alac")
    paths[4].write_bytes(paths[4].read_bytes() + b"LIST\x04\0\0\0INFO")
    hashes, files = set(), set()
    for path in paths:
        with prepare(LOCAL, str(path), min_duration_s=1.0) as audio:
            hashes.add(audio.content_hash())
            files.add(written(audio))
    assert len(hashes) == len(files) == 1


@settings(max_examples=30, deadline=None)
@given(
    num_samples=st.integers(1, 5_000),
    loudest=st.floats(1e-4, 40.0),
    seed=st.integers(0, 2**16),
)
def test_what_is_written_is_what_was_decoded_within_half_a_step(
    tmp_path_factory: pytest.TempPathFactory, num_samples: int, loudest: float, seed: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "steps.wav"
    original = np.random.default_rng(seed).uniform(-1, 1, (2, num_samples)).astype(np.float32)
    original *= np.float32(loudest) / np.abs(original).max()
    write_sndfile(path, original, subtype="FLOAT")
    with prepare(LOCAL, str(path), min_duration_s=0.0, allow_silence=True) as audio:
        assert audio.peak == pytest.approx(loudest, rel=1e-6)
        assert audio.gain_db == pytest.approx(min(0.0, -20 * math.log10(loudest)), abs=1e-5)
        scaled = original * 10 ** (audio.gain_db / 20)
        wav = written(audio)
        assert np.abs(samples(wav) / 32768 - scaled).max() <= 1.02 / 32768  # full scale is 32767
        assert audio.content_hash() == hashlib.sha256(wav[44:]).hexdigest()
        power = float(np.mean(scaled.astype(np.float64) ** 2))
        assert audio.level_db == pytest.approx(max(FLOOR_DB, 10 * math.log10(power)), abs=1e-3)
        read = np.concatenate(list(audio.blocks(block_samples=999)), axis=1)
        np.testing.assert_allclose(read, scaled, rtol=1e-5, atol=1e-9)


def test_halves_are_rounded_to_even_and_full_scale_is_kept(tmp_path: Path) -> None:
    steps = np.array([-32768, -1.5, -0.5, 0.5, 1.5, 2.5, 32766.5, 32768], dtype=np.float32)
    path = write_sndfile(tmp_path / "a.wav", np.stack([steps, steps]) / 32768, subtype="FLOAT")
    with prepare(LOCAL, str(path), min_duration_s=0.0) as audio:
        assert audio.gain_db == 0.0
        expected = [-32768, -2, 0, 0, 2, 2, 32766, 32767]
        assert samples(written(audio)).tolist() == [expected, expected]


def test_one_gain_serves_all_stems_of_a_song(tmp_path: Path) -> None:
    loud, quiet = music(LENGTH) * 3, music(LENGTH, seed=1)
    loud_path = write_sndfile(tmp_path / "a.wav", loud, subtype="FLOAT")
    quiet_path = write_sndfile(tmp_path / "b.wav", quiet, subtype="FLOAT")
    with (
        prepare(LOCAL, str(loud_path), min_duration_s=1.0) as first,
        prepare(LOCAL, str(quiet_path), min_duration_s=1.0) as second,
        summed([first, second]) as mixture,
    ):
        assert second.gain_db == 0.0
        assert mixture.gain_db < first.gain_db < 0.0
        assert mixture.peak == pytest.approx(np.abs(loud + quiet).max())
        gain_db = mixture.gain_db
        parts = [samples(written(part, gain_db)) for part in (first, second, mixture)]
        assert np.abs(parts[0].astype(int) + parts[1] - parts[2]).max() <= 2
        assert second.content_hash(gain_db) != second.content_hash()
        wav = written(second, gain_db)
        assert second.content_hash(gain_db) == hashlib.sha256(wav[44:]).hexdigest()


def test_a_sum_is_as_long_as_the_longest(tmp_path: Path) -> None:
    long, short = music(LENGTH), music(LENGTH - 5_000, seed=1)
    paths = [
        write_sndfile(tmp_path / f"{number}.wav", audio, subtype="FLOAT")
        for number, audio in enumerate((long, short))
    ]
    with (
        prepare(LOCAL, str(paths[0]), min_duration_s=1.0) as first,
        prepare(LOCAL, str(paths[1]), min_duration_s=0.5) as second,
        summed([first, second]) as mixture,
    ):
        assert mixture.num_samples == LENGTH
        expected = long.copy()
        expected[:, : LENGTH - 5_000] += short
        np.testing.assert_allclose(mixture.read(0, LENGTH, 0.0), expected, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(start=st.integers(-3_000, 3_000), num_samples=st.integers(0, 4_000))
def test_reads_beyond_either_end_are_zeros(
    tmp_path_factory: pytest.TempPathFactory, start: int, num_samples: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "ends.wav"
    audio = music(2_000)
    write_sndfile(path, audio, subtype="FLOAT")
    padded = np.pad(audio, ((0, 0), (3_000, 8_000)))
    with prepare(LOCAL, str(path), min_duration_s=0.0) as found:
        expected = padded[:, start + 3_000 :][:, :num_samples]
        assert np.array_equal(found.read(start, num_samples), expected)


@pytest.mark.parametrize(
    ("audio", "reason", "detail"),
    [
        (music(RATE), "too_short", "lasts 1.00 s, less than 3 s"),
        (np.zeros((2, 4 * RATE)), "silent", "level -120.0 dB, below -70 dB"),
        (music(4 * RATE) * 1e-4, "silent", "level -9"),
    ],
)
def test_what_is_of_no_use_is_refused(
    tmp_path: Path, audio: NDArray[np.float32], reason: str, detail: str
) -> None:
    path = write_sndfile(tmp_path / "a.flac", audio, subtype="PCM_24")
    with pytest.raises(Unusable) as caught, prepare(LOCAL, str(path)):
        pass
    assert caught.value.reason == reason
    assert detail in caught.value.detail


def test_a_silent_stem_is_of_use(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", np.zeros((2, 4 * RATE), dtype=np.float32))
    with prepare(LOCAL, str(path), allow_silence=True) as audio:
        assert (audio.peak, audio.level_db, audio.gain_db) == (0.0, FLOOR_DB, 0.0)
        assert not samples(written(audio)).any()


def test_a_file_cut_too_early_is_refused_as_such(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(4 * RATE))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with (
        pytest.raises(Unusable, match=r"truncated: broke off after 1\.33 s"),
        prepare(LOCAL, str(path)),
    ):
        pass
    with prepare(LOCAL, str(path), min_duration_s=1.0) as audio:
        assert audio.truncated


def test_samples_near_the_end_of_float_are_refused(tmp_path: Path) -> None:
    audio = np.full((2, 4 * RATE), 3e38, dtype=np.float32)
    audio[:, ::2] *= -1
    path = write_sndfile(tmp_path / "a.wav", audio, 48_000, subtype="FLOAT")
    with pytest.raises(Unusable) as caught, prepare(LOCAL, str(path)):
        pass
    assert caught.value.reason == "non_finite"


def test_a_spike_that_would_hide_the_music_is_refused(tmp_path: Path) -> None:
    audio = music(2 * RATE)
    path = write_sndfile(tmp_path / "hot.wav", audio * 40_000, RATE, subtype="FLOAT")
    with prepare(LOCAL, str(path), min_duration_s=1.0) as hot:  # 16-bit numbers written as floats
        assert hot.level_db > -30
    audio[1, RATE // 2] = -1e4
    path = write_sndfile(tmp_path / "spike.wav", audio, RATE, subtype="FLOAT")
    with (
        pytest.raises(Unusable, match=r"spike at 0\.500 s, 80 dB above full scale") as caught,
        prepare(LOCAL, str(path), min_duration_s=1.0, allow_silence=True),
    ):
        pass
    assert caught.value.reason == "spike"
    hit = np.random.default_rng(0).standard_normal((2, 4 * RATE)) * 1e-4
    hit[:, RATE : RATE + 999] *= 1e5  # and one hit of a drum is none
    path = write_sndfile(tmp_path / "hit.wav", hit.astype(np.float32), RATE, subtype="FLOAT")
    with prepare(LOCAL, str(path), min_duration_s=1.0) as found:
        assert found.peak > 10


def test_no_scratch_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    fs = MemoryFileSystem()
    path = write_sndfile(tmp_path / "a.wav", music(LENGTH))
    fs.pipe_file("/canonical/b.wav", path.read_bytes())
    fs.pipe_file("/canonical/broken.wav", b"RIFF")
    with prepare(fs, "/canonical/b.wav", min_duration_s=1.0) as audio:
        audio.content_hash()
    with pytest.raises(Unusable), prepare(fs, "/canonical/broken.wav"):
        pass
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("num_samples", [0, 1, 2**28, 2**30 - 10, 2**30 - 9, 2**31])
def test_headers_of_any_length_are_understood(tmp_path: Path, num_samples: int) -> None:
    header = wav_header(num_samples, RATE, 2)
    layout = parse_wav_header(header, "a.wav")
    assert (layout.num_samples, layout.num_channels, layout.sample_rate) == (num_samples, 2, RATE)
    assert layout.data_start == len(header)
    path = tmp_path / "sparse.wav"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 4 * num_samples)
    with soundfile.SoundFile(path) as found:
        assert (found.frames, found.samplerate, found.channels) == (num_samples, RATE, 2)
        assert found.format == ("RF64" if num_samples >= 2**30 - 9 else "WAV")
        assert found.subtype == "PCM_16"
    (riff_size,) = struct.unpack_from("<I", header, 4)
    assert riff_size in (0xFFFF_FFFF, len(header) + 4 * num_samples - 8)


class Filling(io.FileIO):
    """A file on a disk that fills: it takes part of what it is given, and tells how much."""

    def write(self, content: Any, /) -> int:
        return super().write(bytes(content)[: max(1, len(content) // 3)])


def test_what_a_disk_does_not_take_at_once_is_not_lost(tmp_path: Path) -> None:
    """Found by ``benchmarks.chaos``: where scratch filled, the rest of a file was noise or gone."""
    path = write_sndfile(tmp_path / "a.wav", music(RATE))
    hashes = []
    for kind in (io.FileIO, Filling):
        with kind(tmp_path / "scratch", "w+") as scratch, path.open("rb", buffering=0) as file:
            audio = PreparedAudio(cast(BinaryIO, scratch), RATE, 2)
            for _ in decode_into(audio, cast(BinaryIO, file)):
                pass
            hashes.append(audio.content_hash())
    assert hashes[0] == hashes[1]


def test_scratch_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(RATE))
    with (tmp_path / "scratch").open("w+b", buffering=0) as scratch:
        audio = PreparedAudio(cast(BinaryIO, scratch), RATE, 2)
        with path.open("rb", buffering=0) as file:
            for _ in decode_into(audio, cast(BinaryIO, file)):
                pass
        scratch.truncate(1000)
        with pytest.raises(OSError, match="ends too early"):
            audio.content_hash()
