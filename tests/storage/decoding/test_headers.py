"""Files that hold more than their header says, or something else: all is read, as what it is."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from storage.decoding.bitstreams import bitstream_in
from storage.decoding.ffmpeg_audio import NotOpened, ffmpeg_chunks
from tests.storage.decoding.encoded import RATE, music, write_ffmpeg, write_sndfile
from tests.storage.decoding.test_decode import decode, refusal

LENGTH = 2 * RATE


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    """Two seconds in a WAV with the plainest header, 44 bytes."""
    return write_sndfile(tmp_path / "a.wav", music(LENGTH), subtype="PCM_16")


def with_sizes(path: Path, data_bytes: int, before: bytes = b"") -> bytes:
    """The WAV with another size of its samples, and with a chunk before them."""
    content = path.read_bytes()
    place = content.index(b"data")
    return content[:place] + before + b"data" + struct.pack("<I", data_bytes) + content[place + 8 :]


@pytest.mark.parametrize("declared", [4 * 1_000, 4 * 1_000 + 1])
def test_a_wav_goes_on_behind_the_size_in_its_header(wav: Path, declared: int) -> None:
    expected, _ = decode(wav)
    wav.write_bytes(with_sizes(wav, declared))
    assert np.array_equal(decode(wav)[0], expected)


@pytest.mark.parametrize(
    "trailer",
    [
        b"LIST" + struct.pack("<I", 6_000) + b"INFO" + bytes(5_996),
        b"id3 " + struct.pack("<I", 9_000) + bytes(9_000) + b"junk at the end" * 400,
        b"ID3\x04\x00\x00" + bytes(range(1, 200)) * 40,
        b"APETAGEX" + bytes(range(1, 200)) * 40,
        b"wxyz" + struct.pack("<I", 5_000) + bytes(range(100)) * 50,
        bytes(70_000),
        bytes(range(1, 101)),
    ],
)
def test_what_else_is_behind_the_samples_is_no_audio(wav: Path, trailer: bytes) -> None:
    expected, _ = decode(wav)
    wav.write_bytes(wav.read_bytes() + trailer)
    decoded, truncated = decode(wav)
    assert np.array_equal(decoded, expected)
    assert not truncated


def test_an_rf64_from_a_pipe_has_audio(wav: Path) -> None:
    expected, _ = decode(wav)
    content = with_sizes(wav, 0xFFFF_FFFF)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 0, 0, 0, 0)
    wav.write_bytes(b"RF64\xff\xff\xff\xffWAVE" + ds64 + content[12:])
    assert np.array_equal(decode(wav)[0], expected)


def test_a_chunk_of_odd_length_without_its_pad_byte(wav: Path) -> None:
    expected, _ = decode(wav)
    odd = b"LIST" + struct.pack("<I", 7) + b"INFOabc"
    for data_bytes in (4 * LENGTH, 4 * LENGTH + 4_000):
        changed = wav.with_name("odd.wav")
        changed.write_bytes(with_sizes(wav, data_bytes, odd))
        decoded, truncated = decode(changed)
        assert np.array_equal(decoded, expected)
        assert truncated == (data_bytes > 4 * LENGTH)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_one_file_after_the_other_is_both(tmp_path: Path, name: str) -> None:
    first = write_sndfile(tmp_path / f"1-{name}", music(LENGTH, seed=1))
    second = write_sndfile(tmp_path / f"2-{name}", music(LENGTH + 999, seed=2))
    expected = np.concatenate([decode(first)[0], decode(second)[0]], axis=1)
    both = tmp_path / name
    both.write_bytes(first.read_bytes() + second.read_bytes())
    decoded, truncated = decode(both)
    assert np.array_equal(decoded, expected)
    assert not truncated


def test_a_flac_goes_on_behind_the_total_in_its_header(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.flac", music(LENGTH))
    expected, _ = decode(path)
    content = bytearray(path.read_bytes())
    content[22:26] = struct.pack(">I", RATE // 2)
    path.write_bytes(content)
    assert np.array_equal(decode(path)[0], expected)


def pages_of(content: bytes) -> list[bytes]:
    """The pages of an Ogg."""
    return [b"OggS" + page for page in content.split(b"OggS")[1:]]


def with_checksum(page: bytes) -> bytes:
    """A page that was changed, whole again."""
    page = page[:22] + bytes(4) + page[26:]
    checksum = 0
    for byte in page:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = checksum << 1 ^ (0x1_04C1_1DB7 if checksum >> 31 else 0)
    return page[:22] + struct.pack("<I", checksum) + page[26:]


def test_an_ogg_that_begins_twice(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.ogg", music(4 * RATE))
    expected, _ = decode(path)
    pages = pages_of(path.read_bytes())
    lacing, packets = bytearray(), bytearray()
    for page in pages[:2]:
        end = 27 + page[26]
        lacing += page[27:end]
        packets += page[end:]
    header = pages[2][:6] + struct.pack("<q", -104) + pages[2][14:26]
    pages[2] = with_checksum(header + bytes([len(lacing)]) + lacing + packets)
    path.write_bytes(b"".join(pages))
    with path.open("rb", buffering=0) as file, pytest.raises(NotOpened):
        next(ffmpeg_chunks(file, None))
    decoded, truncated = decode(path)
    assert 3.5 * RATE < decoded.shape[1] < 4 * RATE
    assert np.std(decoded) == pytest.approx(np.std(expected), rel=0.01)
    assert not truncated


def test_an_empty_packet_at_the_end_of_an_ogg_is_no_loss(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.ogg", music(4 * RATE))
    expected, _ = decode(path)
    content = path.read_bytes()
    last = pages_of(content)[-1]
    (number,) = struct.unpack_from("<I", last, 18)
    empty = last[:18] + struct.pack("<I", number + 1) + bytes(4) + b"\x01\x00"
    path.write_bytes(content + with_checksum(empty))
    decoded, truncated = decode(path)
    assert np.array_equal(decoded, expected)
    assert not truncated


@pytest.mark.parametrize("what", ["a bit", "200 bytes"])
def test_a_damaged_frame_of_flac_leaves_silence_in_its_place(tmp_path: Path, what: str) -> None:
    path = write_sndfile(tmp_path / "a.flac", music(4 * RATE))
    expected, _ = decode(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"\xff\xf8", len(content) // 3)
    if what == "a bit":
        content[place + 2] ^= 1
    else:
        content[place + 20 : place + 220] = np.random.default_rng(0).bytes(200)
    path.write_bytes(content)
    decoded, _ = decode(path)
    assert decoded.shape == expected.shape
    differs = np.flatnonzero((decoded != expected).any(axis=0))
    assert 0 < np.ptp(differs) < 3 * 4096
    assert not decoded[:, differs].any()


def test_a_damaged_packet_leaves_silence_in_its_place(tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "a.m4a", music(4 * RATE), codec="alac")
    expected, _ = decode(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(content)
    decoded, _ = decode(path)
    assert decoded.shape == expected.shape
    assert np.array_equal(decoded[:, 3 * RATE :], expected[:, 3 * RATE :])


def as_wav(words: bytes, rate: int) -> bytes:
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, rate, rate * 4, 4, 16)
    data = struct.pack("<4sI", b"data", len(words)) + words
    return b"RIFF" + struct.pack("<I", 4 + len(fmt) + len(data)) + b"WAVE" + fmt + data


def test_music_in_s_pdif_bursts_is_decoded_to_music(tmp_path: Path) -> None:
    audio = music(2 * 48_000, 48_000)
    bursts = write_ffmpeg(tmp_path / "a.spdif", audio, codec="ac3", rate=48_000, container="spdif")
    path = tmp_path / "a.wav"
    path.write_bytes(as_wav(bursts.read_bytes(), 48_000))
    decoded, _ = decode(path)
    assert decoded.shape[1] == pytest.approx(LENGTH, abs=RATE // 10)
    assert np.abs(decoded).max() < 1
    assert np.std(decoded) == pytest.approx(np.std(audio), rel=0.1)


def noise(num_words: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 2**16, num_words).astype(np.uint16)


def test_a_bitstream_that_nothing_decodes_is_no_music(tmp_path: Path) -> None:
    words = noise(200_000)
    for place in range(0, len(words) - 2, 4_000):
        words[place : place + 2] = (0xF872, 0x4E1F)
    path = tmp_path / "a.flac"
    samples = words.view(np.int16).reshape(-1, 2).T.astype(np.float32) / np.float32(32768)
    write_sndfile(path, samples, subtype="PCM_16")
    problem = refusal(path)
    assert problem.reason == "bitstream"
    assert "S/PDIF" in problem.detail


@pytest.mark.parametrize("places", [(0, 9_000, 20_000), (100, 200, 300, 400)])
def test_music_that_holds_such_words_by_chance_is_no_bitstream(places: tuple[int, ...]) -> None:
    samples = np.zeros(44_000, np.int16)
    for place in places:
        samples[place : place + 2] = (-385, 384)
    assert not bitstream_in(samples[None].astype(np.float32) / np.float32(32768))


def test_noise_is_no_bitstream() -> None:
    samples = noise(400_000).view(np.int16).reshape(-1, 2).T.astype(np.float32)
    assert not bitstream_in(samples / np.float32(32768))
