from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage import cached_bytes, pcm, reading
from storage import workspace as workspaces
from storage.decoding.canonical import wav_header
from storage.local_cache import LocalCache
from storage.reading import (
    HEADER_BYTES,
    CanonicalAudioError,
    CropReader,
    MissingAudioError,
    parse_wav_header,
)
from storage.workspace import Workspace, workspace_at
from tests.storage.s3_server import s3_bucket

RATE = 44_100
LENGTH = 20_000


@pytest.fixture(autouse=True)
def _nothing_is_known() -> None:
    """Begin with no workspace opened and no header read."""
    reading._layout.cache_clear()
    workspaces._opened.cache_clear()


def put_music(workspace: Workspace, path: str, length: int = LENGTH) -> NDArray[np.float32]:
    """Store canonical audio; returns it as soundfile reads it, ``(2, T)``."""
    pcm = np.random.default_rng(length).integers(-(2**15), 2**15, (length, 2)).astype("<i2")
    workspace.put(path, lambda file: file.write(wav_header(length, RATE, 2) + pcm.tobytes()))
    audio: NDArray[np.float32] = soundfile.read(io.BytesIO(workspace.read(path)), dtype="float32")[
        0
    ]
    return audio.T


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(start=st.integers(-LENGTH, 2 * LENGTH), num_samples=st.integers(0, 2 * LENGTH))
def test_a_crop_is_what_soundfile_reads_and_zeros_around(
    workspace: Workspace, start: int, num_samples: int
) -> None:
    audio = put_music(workspace, "audio/a.wav")
    padded = np.pad(audio, ((0, 0), (LENGTH, 3 * LENGTH)))
    crop = CropReader(workspace.location)("audio/a.wav", start, num_samples)
    assert crop.dtype == np.float32
    assert crop.flags.c_contiguous
    assert crop.flags.writeable
    assert np.array_equal(crop, padded[:, start + LENGTH :][:, :num_samples])


@pytest.mark.parametrize("num_channels", [1, 2])
def test_a_factor_on_the_way_is_a_product_afterwards(
    tmp_path: Path, num_channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pcm, "BLOCK_SAMPLES", 999)
    workspace = Workspace(str(tmp_path), create=True)
    values = np.arange(-(2**15), 2**15).astype("<i2").reshape(-1, num_channels)
    header = wav_header(len(values), RATE, num_channels)
    workspace.put("audio/a.wav", lambda file: file.write(header + values.tobytes()))
    reader = CropReader(workspace.location)
    plain = reader("audio/a.wav", -3, len(values) + 9)
    assert np.array_equal(plain[:, 3:-6], values.T / np.float32(32768))
    factor = np.float32(-0.7384)
    out = np.full_like(plain, np.nan)
    reader.into("audio/a.wav", -3, out[::-1], factor)
    assert np.array_equal(out, plain[::-1] * factor)
    with pytest.raises(CanonicalAudioError, match=f"a.wav: has {num_channels} channels, and 3"):
        reader.into("audio/a.wav", 0, np.empty((3, 9), np.float32))


def test_audio_from_elsewhere_is_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_bytes, "BLOCK_BYTES", 50_000)
    workspace = Workspace("memory://cached", create=True)
    audio = np.pad(put_music(workspace, "audio/a.wav"), ((0, 0), (0, LENGTH)))
    fs = CountingFileSystem()
    fs.requests = []
    monkeypatch.setattr(workspace_at(workspace.location), "fs", fs)
    reader = CropReader(workspace.location, LocalCache(tmp_path, 2**20))
    for start, stop in ((13_000, 19_999), (0, 5), (12_400, 12_600), (15_000, 30_000), (0, 25_000)):
        crop = reader("audio/a.wav", start, stop - start)
        assert np.array_equal(crop, audio[:, start:stop])
    # 80 kB and a header are two blocks, whoever reads what of them, in whatever process.
    assert len(fs.requests) == 2
    reading._layout.cache_clear()
    again = pickle.loads(pickle.dumps(reader))
    assert np.array_equal(again("audio/a.wav", 0, LENGTH), audio[:, :LENGTH])
    assert len(fs.requests) == 2


@pytest.mark.parametrize("block_samples", [1, 999, LENGTH - 1, LENGTH, LENGTH + 1, 2**20])
def test_blocks_are_the_whole_file(workspace: Workspace, block_samples: int) -> None:
    length = 300 if block_samples == 1 else LENGTH
    audio = put_music(workspace, "audio/a.wav", length)
    blocks = list(CropReader(workspace.location).blocks("audio/a.wav", block_samples))
    assert all(block.shape[1] == block_samples for block in blocks[:-1])
    assert np.array_equal(np.concatenate(blocks, axis=1), audio)


def test_a_reader_travels_to_other_processes(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), create=True)
    audio = put_music(workspace, "audio/a.wav")
    reader = pickle.loads(pickle.dumps(CropReader(workspace.location)))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        crop = pool.apply(reader, ("audio/a.wav", 10, 100))
    assert np.array_equal(crop, audio[:, 10:110])


class CountingFileSystem(MemoryFileSystem):
    """Counts what is asked of it."""

    requests: list[int]

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **how: Any
    ) -> bytes:
        content: bytes = super().cat_file(path, start, end, **how)
        self.requests.append(len(content))
        return content

    def info(self, path: str, **how: Any) -> dict[str, Any]:
        self.requests.append(0)
        found: dict[str, Any] = super().info(path, **how)
        return found


def test_a_crop_costs_the_bytes_of_a_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace("memory://counting", create=True)
    put_music(workspace, "audio/a.wav", 10 * RATE)
    reader = CropReader(workspace.location)
    fs = CountingFileSystem()
    fs.requests = []
    monkeypatch.setattr(workspace_at(workspace.location), "fs", fs)
    reader("audio/a.wav", 12_345, 2 * RATE)
    assert fs.requests == [HEADER_BYTES, 8 * RATE]
    reader("audio/a.wav", -RATE, 2 * RATE)
    reader("audio/a.wav", 20 * RATE, RATE)
    assert fs.requests == [HEADER_BYTES, 8 * RATE, 4 * RATE]


def test_a_local_crop_opens_and_reads_the_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(str(tmp_path), create=True)
    put_music(workspace, "audio/a.wav")
    reader = CropReader(workspace.location)
    reader("audio/a.wav", 0, 1)
    asked = []
    pread = os.pread

    def noting(descriptor: int, num_bytes: int, at: int) -> bytes:
        asked.append(num_bytes)
        return pread(descriptor, num_bytes, at)

    monkeypatch.setattr(os, "pread", noting)
    reader("audio/a.wav", 100, 500)
    assert asked == [4 * 500]


def test_reads_that_come_in_pieces_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(str(tmp_path), create=True)
    audio = put_music(workspace, "audio/a.wav")
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: pread(fd, min(n, 1_000), at))
    crop = CropReader(workspace.location)("audio/a.wav", 0, LENGTH)
    assert np.array_equal(crop, audio)


def test_no_file_stays_open(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path), create=True)
    put_music(workspace, "audio/a.wav")
    reader = CropReader(workspace.location)
    reader("audio/a.wav", 0, 1)
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    for _ in range(20):
        reader("audio/a.wav", 0, 100)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    assert after == before


def test_a_file_that_was_cut_is_named(workspace: Workspace) -> None:
    put_music(workspace, "audio/a.wav")
    workspace.put_bytes("audio/a.wav", workspace.read("audio/a.wav")[:-4_000])
    reader = CropReader(workspace.location)
    assert reader("audio/a.wav", 0, LENGTH - 1_000).any()
    with pytest.raises(CanonicalAudioError, match=r"audio/a\.wav: ends before sample 20000"):
        reader("audio/a.wav", 0, LENGTH)


def test_a_missing_file_is_missing(workspace: Workspace) -> None:
    with pytest.raises(MissingAudioError, match=r"audio/none\.wav is missing; `silentmix fsck`"):
        CropReader(workspace.location)("audio/none.wav", 0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a WAV file"),
        (b"fLaC" + bytes(100), "not a WAV file"),
        (b"RIFF\0\0\0\0WAVE", "without samples"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0", "without samples"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "without samples"),
        (wav_header(10, RATE, 2).replace(b"\x10\0data", b"\x18\0data"), "not 16-bit PCM"),
        (
            wav_header(10, RATE, 2).replace(b"fmt \x10\0\0\0\1", b"fmt \x10\0\0\0\3"),
            "not 16-bit PCM",
        ),
        (wav_header(10, RATE, 2).replace(b"data", b"junk"), "without samples"),
    ],
)
def test_what_is_no_canonical_audio_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(CanonicalAudioError, match=rf"^a\.wav: .*{message}"):
        parse_wav_header(content, "a.wav")


@given(st.binary(max_size=200))
def test_no_header_raises_anything_else(junk: bytes) -> None:
    for header in (
        junk,
        wav_header(10, RATE, 2)[:12] + junk,
        wav_header(2**31, RATE, 2)[:12] + junk,
    ):
        try:
            layout = parse_wav_header(header, "a.wav")
        except CanonicalAudioError:
            continue
        assert layout.num_channels > 0
        assert layout.num_samples >= 0


def test_chunks_before_the_samples_are_passed_over() -> None:
    header = wav_header(10, RATE, 2)
    extra = b"LIST" + struct.pack("<I", 5) + b"12345\0"  # chunks begin at even places
    layout = parse_wav_header(header[:36] + extra + header[36:], "a.wav")
    assert (layout.data_start, layout.num_samples) == (44 + len(extra), 10)


def test_a_length_above_4_gib_is_in_the_extended_header() -> None:
    for length in (2**30, 2**33):  # of 4 bytes each
        layout = parse_wav_header(wav_header(length, RATE, 2), "a.wav")
        assert wav_header(length, RATE, 2)[:4] == b"RF64"
        assert (layout.num_samples, layout.num_channels, layout.sample_rate) == (length, 2, RATE)
        assert layout.data_start == len(wav_header(length, RATE, 2))


@pytest.mark.s3
def test_crops_come_from_s3_also_after_a_fork() -> None:
    with s3_bucket() as url:
        workspace = Workspace(f"{url}/workspace", create=True)
        audio = put_music(workspace, "audio/a.wav")
        reader = CropReader(workspace.location)
        assert np.array_equal(reader("audio/a.wav", 100, 500), audio[:, 100:600])
        assert np.array_equal(reader("audio/a.wav", LENGTH - 5, 9)[:, :5], audio[:, -5:])
        with multiprocessing.get_context("fork").Pool(1) as pool:
            crop = pool.apply_async(reader, ("audio/a.wav", 10, 100)).get(timeout=60)
        assert np.array_equal(crop, audio[:, 10:110])
