"""Files that crash, stop or bloat a decoder cost themselves alone."""

from __future__ import annotations

import os
import signal
import socket
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fsspec.implementations.local import LocalFileSystem

from storage.decoding import canonical
from storage.decoding.canonical import PreparedAudio
from storage.decoding.chunk import Unusable
from storage.decoding.decode import open_local
from storage.decoding.decoder_process import DecoderProcess, Limits, decoder
from tests.storage.decoding.encoded import RATE, music, write_sndfile

LOCAL = LocalFileSystem()


def prepared(path: Path, sample_rate: int = RATE) -> tuple[int, float]:
    """Length and peak of a file, as ingest takes it."""
    with canonical.prepare(
        LOCAL, str(path), sample_rate=sample_rate, num_channels=2, min_duration_s=0.0
    ) as audio:
        return audio.num_samples, audio.peak


def refusal(path: Path, sample_rate: int = RATE) -> Unusable:
    with pytest.raises(Unusable) as caught:
        prepared(path, sample_rate)
    assert "\n" not in caught.value.detail
    return caught.value


def with_format_tag(path: Path, tag: int) -> Path:
    """A WAV whose header says that it holds something else."""
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, content.index(b"fmt ") + 8, tag)
    path.write_bytes(content)
    return path


def flac_of_hours(path: Path) -> Path:
    """Twenty minutes in 10 kB: a level that does not change, 2,000 times a second."""
    soundfile.write(path, np.full(1_300 * 2_000, 0.25), 2_000, subtype="PCM_16")
    return path


def test_a_format_tag_that_lies_costs_one_file(tmp_path: Path) -> None:
    path = with_format_tag(write_sndfile(tmp_path / "a.wav", music(2 * RATE)), 0x00FF)
    assert refusal(path).reason in ("corrupt", "decoder_crashed")
    good = write_sndfile(tmp_path / "b.wav", music(RATE))
    assert prepared(good)[0] == RATE


def test_a_codec_that_nobody_knows_is_said_to_be_one(tmp_path: Path) -> None:
    """Found by ``benchmarks.fuzz``: it was said that the decoder fails."""
    path = with_format_tag(write_sndfile(tmp_path / "a.wav", music(RATE)), 0xFF01)
    assert refusal(path).detail == "its audio is of a codec that is not known here"


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("num_channels", [8, 9, 40])
def test_more_channels_than_speakers_are_mixed(
    tmp_path: Path, subtype: str, num_channels: int
) -> None:
    audio = np.repeat(music(48_000, 48_000, 1), num_channels, axis=0)
    path = tmp_path / "a.ogg"
    soundfile.write(path, audio.T, 48_000, format="OGG", subtype=subtype)
    num_samples, peak = prepared(path)
    assert num_samples == pytest.approx(RATE, abs=320)
    assert peak == pytest.approx(np.abs(audio).max(), rel=0.3) or num_channels == 8


@pytest.mark.parametrize("kind", ["pipe", "socket", "link to itself"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.wav"
    if kind == "pipe":
        os.mkfifo(path)
        assert refusal(path).reason == "unreadable"
    elif kind == "link to itself":
        path.symlink_to(path)
        assert refusal(path).reason == "unreadable"
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            assert refusal(path).reason == "unreadable"


def test_a_small_file_of_hours_is_too_large(tmp_path: Path) -> None:
    problem = refusal(flac_of_hours(tmp_path / "a.flac"), sample_rate=2_000)
    assert problem.reason == "too_large"
    assert "hours of audio" in problem.detail


def test_a_file_that_takes_too_much_memory_is_refused(tmp_path: Path) -> None:
    process = DecoderProcess(Limits(memory_bytes=0))
    path = write_sndfile(tmp_path / "a.wav", music(2 * RATE))
    with open_local(LOCAL, str(path)) as file, pytest.raises(Unusable, match="too_large"):
        process.ask(file, None, {"name": "a.wav"})
    process.close()


def test_a_decoder_that_stops_is_ended(tmp_path: Path) -> None:
    process = DecoderProcess(Limits(stall_s=0.05))
    good = write_sndfile(tmp_path / "b.wav", music(RATE))
    with open_local(LOCAL, str(good)) as file:
        assert process.ask(file, None, {"name": "b"}) == {"sample_rate": RATE, "num_channels": 2}
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(Unusable, match="too_slow"):
            process.ask(file, None, {"name": "b"})
    process.close()


def test_a_decoder_that_is_killed_begins_anew(tmp_path: Path) -> None:
    path = write_sndfile(tmp_path / "a.wav", music(RATE))
    expected = prepared(path)
    pid = decoder().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert prepared(path) == expected
    assert decoder().pid != pid


def test_a_decoder_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    process = DecoderProcess(Limits(cpu_s=0, cpu_s_a_byte=0.0, duration_s=1e6))
    path = flac_of_hours(tmp_path / "a.flac")
    with open_local(LOCAL, str(path)) as file, tempfile.TemporaryFile() as scratch:
        audio = PreparedAudio(scratch, 768_000, 1)
        request = {"name": "a.flac", "stream": None, "sample_rate": 768_000, "num_channels": 1}
        with pytest.raises(Unusable, match="too_slow"):
            audio.adopt(process.ask(file, scratch, request))
    process.close()
