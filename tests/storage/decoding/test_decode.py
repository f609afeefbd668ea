from __future__ import annotations

import io
import os
import pickle
import struct
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
import soxr
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage.decoding import decode as decoding
from storage.decoding.chunk import Unusable
from storage.decoding.decode import open_local
from tests.storage.decoding.encoded import RATE, music, snr_db, write_ffmpeg, write_sndfile

LOCAL = LocalFileSystem()
LENGTH = RATE + 1234
AudioDecoder = partial(decoding.AudioDecoder, sample_rate=RATE, num_channels=2)


def decode(path: Path, **how: int) -> tuple[NDArray[np.float32], bool]:
    """All of a file ``(2, T)``, and whether it broke off."""
    with open_local(LOCAL, str(path)) as file:
        decoder = AudioDecoder(file, **how)
        blocks = list(decoder)
    for block in blocks:
        assert block.dtype == np.float32
        assert block.shape[0] == 2
        assert block.shape[1] > 0
    return np.concatenate(blocks, axis=1), decoder.truncated


def refusal(path: Path, **how: int) -> Unusable:
    with pytest.raises(Unusable) as caught:
        decode(path, **how)
    assert "\n" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", "PCM_U8", 2**-7),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 0),
        ("a.w64", "PCM_16", 2**-15),
        ("a.rf64", "PCM_16", 2**-15),
        ("a.caf", "PCM_16", 2**-15),
        ("a.au", "PCM_16", 2**-15),
        ("a.aiff", "PCM_16", 2**-15),
        ("a.flac", "PCM_16", 2**-15),
        ("a.flac", "PCM_24", 2**-23),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_files_of_libsndfile_come_back(
    tmp_path: Path, name: str, subtype: str, tolerance: float, channels: int
) -> None:
    audio = music(LENGTH, channels=channels)
    decoded, truncated = decode(write_sndfile(tmp_path / name, audio, subtype=subtype))
    assert not truncated
    assert decoded.shape == (2, LENGTH)
    assert np.abs(decoded - audio).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "codec", "min_snr_db", "extras"),
    [
        ("a.m4a", "alac", 85, (0, 0)),
        ("a.tta", "tta", 85, (0, 0)),
        ("a.wv", "wavpack", 85, (0, 0)),
        ("a.mka", "flac", 85, (0, 0)),
        ("a.m4a", "aac", 20, (0, 1024)),
        ("a.mp4", "aac", 20, (0, 1024)),
        ("a.aac", "aac", -9, (0, 3072)),  # ADTS has nowhere to say how long the priming is
        ("a.mp3", "libmp3lame", 20, (0, 0)),
        ("a.wma", "wmav2", -9, (-2048, 4096)),
        ("a.ac3", "ac3", -9, (0, 2048)),
    ],
)
def test_files_of_ffmpeg_come_back(
    tmp_path: Path, name: str, codec: str, min_snr_db: float, extras: tuple[int, int]
) -> None:
    audio = music(LENGTH)
    decoded, truncated = decode(write_ffmpeg(tmp_path / name, audio, codec=codec))
    assert not truncated
    assert extras[0] <= decoded.shape[1] - LENGTH <= extras[1]
    assert snr_db(audio, decoded) > min_snr_db
    assert np.std(decoded) == pytest.approx(np.std(audio), rel=0.05)


@pytest.mark.parametrize(("name", "codec"), [("a.opus", "libopus"), ("a.webm", "libopus")])
def test_opus_comes_back_resampled(tmp_path: Path, name: str, codec: str) -> None:
    path = write_ffmpeg(tmp_path / name, music(48_000, 48_000), codec=codec, rate=48_000)
    decoded, _ = decode(path)
    assert decoded.shape[1] == pytest.approx(RATE, abs=320)
    assert snr_db(music(RATE), decoded) > -6
    assert np.std(decoded) == pytest.approx(np.std(music(48_000, 48_000)), rel=0.05)


def test_ogg_vorbis_comes_back_aligned_and_of_its_length(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.ogg", music(LENGTH))
    decoded, _ = decode(path)
    assert decoded.shape == (2, LENGTH)
    assert snr_db(soundfile.read(path, dtype="float32")[0].T, decoded) > 60


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.flac", music(LENGTH))
    expected, _ = decode(path)
    for name in ("b.wav", "b.mp3", "b", "b.txt", "ü\n%.m4a", os.fsdecode(b"\xff\xfe.wav")):
        path = path.rename(tmp_path / name)
        assert np.array_equal(decode(path)[0], expected)


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(1, 150_000),
    channels=st.sampled_from([1, 2]),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
    seed=st.integers(0, 2**16),
)
def test_wav_equals_soundfile(
    tmp_path_factory: pytest.TempPathFactory,
    num_samples: int, channels: int, subtype: str, seed: int,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / "equal.wav"
    audio = np.random.default_rng(seed).uniform(-1, 1, (channels, num_samples)).astype(np.float32)
    write_sndfile(path, audio, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].T
    assert np.array_equal(decode(path)[0], np.broadcast_to(expected, (2, num_samples)))


@settings(max_examples=40, deadline=None)
@given(
    num_samples=st.integers(1, 30_000),
    rate=st.sampled_from([2_000, 8_000, 11_025, 22_050, 44_099, 48_000, 96_000, 192_000]),
    sample_rate=st.sampled_from([44_100, 48_000]),
)
def test_a_resampled_length_is_the_ratio_rounded(
    tmp_path_factory: pytest.TempPathFactory, num_samples: int, rate: int, sample_rate: int
) -> None:
    length = int(num_samples * sample_rate / rate + 0.5)
    path = tmp_path_factory.getbasetemp() / "ratio.wav"
    write_sndfile(path, music(num_samples, rate), rate)
    with open_local(LOCAL, str(path)) as file:
        blocks = list(AudioDecoder(file, sample_rate=sample_rate))
    assert sum(block.shape[1] for block in blocks) == length


@pytest.mark.parametrize("rate", [22_050, 48_000, 96_000])
def test_resampling_keeps_a_tone_in_its_place(tmp_path: Path, rate: int) -> None:
    def tone(at: int) -> NDArray[np.float32]:
        wave = np.sin(2 * np.pi * 440 * np.arange(3 * at) / at) / 2
        return np.stack([wave, -wave]).astype(np.float32)

    decoded, _ = decode(write_sndfile(tmp_path / "a.wav", tone(rate), rate, subtype="FLOAT"))
    inner = slice(RATE, 2 * RATE)
    assert np.abs(decoded[:, inner] - tone(RATE)[:, inner]).max() < 1e-4


def test_resampling_in_blocks_is_resampling_in_one_piece(tmp_path: Path) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 200_000)).astype(np.float32)
    decoded, _ = decode(write_sndfile(tmp_path / "a.wav", audio, 48_000, subtype="FLOAT"))
    expected = soxr.resample(audio.T, 48_000, RATE, quality="HQ").T
    np.testing.assert_allclose(decoded[:, :183_000], expected[:, :183_000], atol=1e-6)


def test_a_change_of_rate_inside_a_file_is_followed(tmp_path: Path) -> None:
    first = write_ffmpeg(tmp_path / "1.aac", music(RATE), codec="aac")
    second = write_ffmpeg(
        tmp_path / "2.aac", music(48_000, 48_000, 1), codec="aac", rate=48_000, layout="mono"
    )
    both = tmp_path / "both.aac"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    assert decode(both)[0].shape[1] == pytest.approx(2 * RATE, abs=6_000)


def test_every_link_of_a_chained_ogg_is_read(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "1.ogg", music(RATE))
    path.write_bytes(path.read_bytes() * 3)
    assert decode(path)[0].shape[1] == pytest.approx(3 * RATE, abs=2_048)


@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_each_stream_of_a_stem_file_is_read(tmp_path: Path, codec: str) -> None:
    stems = [music(LENGTH, seed=seed) for seed in range(5)]
    path = write_ffmpeg(tmp_path / "a.stem.mp4", *stems, codec=codec)
    for stream, stem in enumerate(stems):
        decoded, _ = decode(path, stream=stream)
        assert snr_db(stem, decoded) > 20
    assert np.array_equal(decode(path)[0], decode(path, stream=0)[0])
    problem = refusal(path, stream=5)
    assert problem.reason == "no_audio_stream"
    assert "no audio stream 5 among 5" in problem.detail


def test_stream_0_of_a_plain_file_is_the_file(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(LENGTH))
    assert np.array_equal(decode(path, stream=0)[0], decode(path)[0])
    assert refusal(path, stream=1).reason == "no_audio_stream"


@pytest.mark.parametrize("declared", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 0xFFFF_FF00])
def test_a_wav_from_a_pipe_declares_no_length(tmp_path: Path, declared: int) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(LENGTH), subtype="PCM_16")
    expected, _ = decode(path)
    path.write_bytes(_with_data_size(path.read_bytes(), declared))
    decoded, truncated = decode(path)
    assert np.array_equal(decoded, expected)
    assert not truncated


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_16"), ("a.aiff", None), ("a.flac", None), ("a.mp3", None)],
)
def test_what_a_cut_file_has_is_used_and_said(
    tmp_path: Path, name: str, subtype: str | None
) -> None:
    path = write_sndfile(tmp_path / name, music(4 * RATE), subtype=subtype)
    whole, truncated = decode(path)
    assert not truncated
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    decoded, truncated = decode(path)
    assert truncated
    assert 2.2 * RATE < decoded.shape[1] < 3.6 * RATE
    assert snr_db(whole[:, : 2 * RATE], decoded[:, : 2 * RATE]) > 60


def test_a_cut_m4a_with_its_index_in_front_is_used(tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "a.m4a", music(4 * RATE), codec="aac", movflags="+faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    decoded, truncated = decode(path)
    assert truncated
    assert 2 * RATE < decoded.shape[1] < 3.6 * RATE


def test_a_cut_m4a_without_its_index_is_corrupt(tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "a.m4a", music(3 * RATE), codec="aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert refusal(path).reason == "corrupt"


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg"])
def test_damage_in_the_middle_costs_little(tmp_path: Path, name: str) -> None:
    path = write_sndfile(tmp_path / name, music(4 * RATE))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = np.random.default_rng(0).bytes(200)
    path.write_bytes(content)
    decoded, truncated = decode(path)
    assert not truncated
    assert decoded.shape[1] > 3.5 * RATE


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_an_mp3_header_that_lies_changes_no_length(tmp_path: Path, factor: float) -> None:
    path = write_sndfile(tmp_path / "a.mp3", music(2 * RATE))
    content = bytearray(path.read_bytes())
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    (declared,) = struct.unpack_from(">I", content, place)
    struct.pack_into(">I", content, place, int(declared * factor))
    path.write_bytes(content)
    assert decode(path)[0].shape[1] == pytest.approx(2 * RATE, abs=2_500)


def test_an_mp3_without_a_header_is_read_to_its_end(tmp_path: Path) -> None:
    quiet_then_loud = np.concatenate([music(2 * RATE) * 1e-3, music(2 * RATE)], axis=1)
    path = write_sndfile(tmp_path / "a.mp3", quiet_then_loud)
    content = path.read_bytes()
    tag = max(content.find(b"Xing"), content.find(b"Info"))
    path.write_bytes(content[content.find(b"\xff\xfb", tag) :])
    assert decode(path)[0].shape[1] == pytest.approx(4 * RATE, abs=2_500)


@pytest.mark.parametrize("tag_bytes", [0, 5_000])
def test_tags_around_an_mp3_are_no_audio(tmp_path: Path, tag_bytes: int) -> None:
    path = write_sndfile(tmp_path / "a.mp3", music(2 * RATE))
    expected, _ = decode(path)
    size = bytes((tag_bytes >> 7 * (3 - i)) & 0x7F for i in range(4))
    tag = b"ID3\x04\x00\x00" + size + bytes(tag_bytes)
    path.write_bytes(tag + path.read_bytes() + b"TAG" + b"x" * 125)
    decoded, truncated = decode(path)
    assert np.array_equal(decoded, expected)
    assert not truncated


@pytest.mark.parametrize(
    ("channels", "weights"),
    [
        (3, ((1, 0, 0.5**0.5), (0, 1, 0.5**0.5))),
        (4, ((1, 0, 0.5**0.5, 0), (0, 1, 0, 0.5**0.5))),
        (6, ((1, 0, 0.5**0.5, 0, 0.5**0.5, 0), (0, 1, 0.5**0.5, 0, 0, 0.5**0.5))),
        (12, ((1 / 12,) * 12,) * 2),
    ],
)
def test_channels_are_mixed_down(
    tmp_path: Path, channels: int, weights: tuple[tuple[float, ...], ...]
) -> None:
    levels = np.linspace(0.1, 0.9, channels, dtype=np.float32)
    audio = np.repeat(levels[:, None], LENGTH, axis=1)
    path = write_sndfile(tmp_path / "a.wav", audio, subtype="FLOAT")
    decoded, _ = decode(path)
    np.testing.assert_allclose(decoded[:, 0], np.array(weights) @ levels, rtol=1e-5)
    np.testing.assert_allclose(decoded, decoded[:, :1].repeat(LENGTH, axis=1), rtol=1e-5)


def test_the_order_of_channels_is_the_files_own(tmp_path: Path) -> None:
    audio = np.zeros((6, LENGTH), dtype=np.float32)
    audio[2] = music(LENGTH, channels=1)[0]  # the centre of 5.1
    path = write_ffmpeg(tmp_path / "a.m4a", audio, codec="alac", layout="5.1")
    decoded, _ = decode(path)
    assert snr_db(np.repeat(audio[2:3] * np.float32(0.5**0.5), 2, axis=0), decoded) > 60


def test_hundreds_of_channels_fit(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", np.full((500, 2_000), 0.25, dtype=np.float32))
    np.testing.assert_allclose(decode(path)[0], 0.25, atol=1e-3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"R", "corrupt"),
        (b"not music, " * 1_000, "corrupt"),
        (b"RIFF\xff\xff\xff\xffWAVE", "corrupt"),
        (b"fLaC" + bytes(500), "corrupt"),
        (b"OggS" + bytes(500), "corrupt"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00", "corrupt"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(500), "corrupt"),
        (np.random.default_rng(0).bytes(20_000), "corrupt"),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert refusal(path).reason == reason


@pytest.mark.parametrize(
    ("name", "playlist"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\n{path}\n#EXT-X-ENDLIST\n"),
        ("a.mp3", "ffconcat version 1.0\nfile {path.name}\n"),
    ],
)
def test_a_file_can_not_make_us_open_another(tmp_path: Path, name: str, playlist: str) -> None:
    other = write_ffmpeg(tmp_path / "other.aac", music(RATE), codec="aac")
    path = tmp_path / name
    path.write_text(playlist.format(path=other))
    assert refusal(path).reason == "corrupt"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(["a.wav", "a.flac", "a.mp3", "a.ogg", "a.aiff", "a.m4a"]))
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    good = folder / f"good-{name}"
    if not good.exists():
        audio = music(RATE // 2)
        if name == "a.m4a":
            write_ffmpeg(good, audio, codec="aac")
        else:
            write_sndfile(good, audio)
    content = bytearray(good.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(0, 100))
        junk = data.draw(st.binary(min_size=1, max_size=20))
        content[place : place + len(junk)] = junk
    path = folder / name
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        decoded, _ = decode(path)
    except Unusable:
        return
    assert np.isfinite(decoded).all()


def test_a_file_without_audio_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25, width=32, height=32, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    problem = refusal(path)
    assert problem.reason == "no_audio_stream"
    assert "video" in problem.detail


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    audio = music(LENGTH)
    audio[1, LENGTH // 2] = value
    path = write_sndfile(tmp_path / "a.wav", audio, subtype="FLOAT")
    assert refusal(path).reason == "non_finite"


def test_a_kind_of_samples_that_nothing_reads_is_refused(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(LENGTH), subtype="PCM_32")
    content = bytearray(path.read_bytes())
    place = content.index(b"fmt ") + 8
    struct.pack_into("<IHH", content, place + 8, RATE * 16, 16, 64)
    path.write_bytes(content)
    assert refusal(path).reason == "corrupt"


def test_an_absurd_sample_rate_is_refused(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(LENGTH), 1)
    problem = refusal(path)
    assert (problem.reason, problem.detail) == ("corrupt", "declares 1 samples a second")


def test_what_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nothing.wav").reason == "missing"
    assert refusal(tmp_path).reason == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(LENGTH))
    path.chmod(0)
    assert refusal(path).reason == "unreadable"


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_a_file_elsewhere_is_read_alike(tmp_path: Path, name: str) -> None:
    path = write_sndfile(tmp_path / name, music(LENGTH))
    fs = MemoryFileSystem()
    fs.pipe_file(f"/decode/{name}", path.read_bytes())
    with open_local(fs, f"/decode/{name}") as file:
        decoded = np.concatenate(list(AudioDecoder(file)), axis=1)
    assert np.array_equal(decoded, decode(path)[0])
    with pytest.raises(Unusable, match="missing"), open_local(fs, "/decode/nothing.wav"):
        pass
    with pytest.raises(Unusable, match="unreadable"), open_local(fs, "/decode"):
        pass


def test_a_network_that_is_down_is_no_fault_of_the_file() -> None:
    class Down(MemoryFileSystem):
        def get_file(self, *_: object, **__: object) -> None:
            raise ConnectionError("no route")

    with pytest.raises(ConnectionError, match="no route"), open_local(Down(), "/a.wav"):
        pass


def test_a_disk_that_fails_is_no_fault_of_the_format(tmp_path: Path) -> None:
    class Failing(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 4_096:
                raise OSError(5, "Input/output error")
            return super().read(-1 if size is None else size) or b""

    path = write_sndfile(tmp_path / "a.mp3", music(2 * RATE))
    file: BinaryIO = Failing(path)
    with file, pytest.raises(Unusable) as caught:
        list(AudioDecoder(file))
    assert caught.value.reason == "unreadable"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.flac", music(20 * RATE), subtype="PCM_16")
    with open_local(LOCAL, str(path)) as file:
        longest = max(block.shape[1] for block in AudioDecoder(file, sample_rate=48_000))
    assert longest < 3 * RATE


def test_a_refusal_travels_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(Unusable("corrupt", "nothing decodes")))
    assert (copy.reason, copy.detail, str(copy)) == (
        "corrupt", "nothing decodes", "corrupt: nothing decodes",
    )  # fmt: skip


def _with_data_size(wav: bytes, size: int) -> bytes:
    place = wav.index(b"data") + 4
    return wav[:place] + struct.pack("<I", size) + wav[place + 4 :]
