from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from storage.decoding.chunk import Unusable
from storage.encode import BITS, AudioWriter, Format, encodable_rate, writing


def noise(num_samples: int = 5000, num_channels: int = 2) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return rng.uniform(-0.9, 0.9, (2, num_channels, num_samples)).astype(np.float32)


def opened(folder: Path, **changes: Any) -> AbstractContextManager[AudioWriter]:
    options: dict[str, Any] = {
        "file_format": "wav", "bits": 16, "sample_rate": 44_100,
        "num_channels": 2, "num_samples": 5000,
    }  # fmt: skip
    return writing(folder, ["one", "two"], **{**options, **changes})


def write(folder: Path, audio: NDArray[np.float32], **changes: Any) -> list[Path]:
    _, num_channels, num_samples = audio.shape
    changes = {"num_channels": num_channels, "num_samples": num_samples, **changes}
    with opened(folder, **changes) as writer:
        for block in np.array_split(audio, 7, axis=-1):
            writer.write(block)
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    ("file_format", "bits"), [(name, bits) for name in ("wav", "flac") for bits in BITS[name]]
)
@pytest.mark.parametrize("num_channels", [1, 2])
def test_what_is_written_is_read(
    tmp_path: Path, file_format: Format, bits: int, num_channels: int
) -> None:
    audio = noise(num_channels=num_channels)
    paths = write(tmp_path / "new", audio, file_format=file_format, bits=bits, sample_rate=48_000)
    assert [path.name for path in paths] == [f"one.{file_format}", f"two.{file_format}"]
    for path, stem in zip(paths, audio, strict=True):
        found, rate = soundfile.read(path, dtype="float32", always_2d=True)
        assert rate == 48_000
        tolerance = 0 if bits == 32 else 0.5000001 * 2 ** (1 - bits)
        np.testing.assert_allclose(found.T, stem, rtol=0, atol=tolerance)


@pytest.mark.parametrize("bits", [16, 24])
def test_samples_of_as_many_bits_come_through_bit_by_bit(tmp_path: Path, bits: int) -> None:
    full_scale = 2 ** (bits - 1)
    values = np.array([-full_scale, 1 - full_scale, -1, 0, 1, full_scale - 1])
    audio = np.stack([values, values[::-1]])[:, None] / full_scale
    paths = write(tmp_path, audio.astype(np.float32), bits=bits)
    found, _ = soundfile.read(paths[0], dtype="int32")
    assert (found >> (32 - bits)).tolist() == values.tolist()


def test_integers_are_limited_and_floating_point_is_not(tmp_path: Path) -> None:
    audio = np.full((2, 1, 100), 1.5, dtype=np.float32)
    audio[1] *= -1
    limited = [soundfile.read(path)[0][0] for path in write(tmp_path, audio)]
    assert limited == [1 - 2**-15, -1]
    kept = [soundfile.read(path)[0][0] for path in write(tmp_path, audio, bits=32)]
    assert kept == [1.5, -1.5]


def test_mp3_has_320_kbit_a_second(tmp_path: Path) -> None:
    time_s = np.arange(44_100) / 44_100
    audio = np.tile(0.5 * np.sin(2 * np.pi * 440 * time_s), (2, 2, 1)).astype(np.float32)
    path, _ = write(tmp_path, audio, file_format="mp3")
    assert 39_000 < path.stat().st_size < 45_000
    found, _ = soundfile.read(path, dtype="float32")
    assert len(found) == 44_100
    np.testing.assert_allclose(found[2000:-2000, 0], audio[0, 0, 2000:-2000], atol=1e-3)


@pytest.mark.parametrize("rate", [2_000, 8_000, 37_800, 44_100, 96_000, 176_400, 768_000])
@pytest.mark.parametrize("file_format", ["wav", "mp3"])
def test_the_encodable_rate_can_be_encoded(tmp_path: Path, rate: int, file_format: Format) -> None:
    encodable = encodable_rate(file_format, rate)
    paths = write(tmp_path, noise(), file_format=file_format, sample_rate=encodable)
    assert soundfile.info(paths[0]).samplerate == encodable


def test_a_length_beyond_riff_becomes_rf64(tmp_path: Path) -> None:
    path, _ = write(tmp_path, noise(), num_samples=2**31)
    assert path.read_bytes()[:4] == b"RF64"
    assert soundfile.read(path)[0].shape == (5000, 2)


def test_an_exception_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(b"old")

    def crash() -> None:
        with opened(tmp_path) as writer:
            writer.write(noise())
            assert len(list(tmp_path.iterdir())) == 3  # two of them hidden and unfinished
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert [path.name for path in tmp_path.iterdir()] == ["one.wav"]
    assert (tmp_path / "one.wav").read_bytes() == b"old"


def test_what_a_format_cannot_hold_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"unwritable: .*new: no flac can be written here"):
        write(tmp_path / "new", noise(), file_format="flac", sample_rate=2_000_000)
    assert not (tmp_path / "new").exists()


def test_a_full_disk_is_said_and_nothing_stays(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 100 kB."""
    script = f"""
import resource, signal
import numpy as np
from pathlib import Path
from storage.decoding.chunk import Unusable
from storage.encode import writing

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
audio = np.random.default_rng(0).uniform(-1, 1, (1, 1, 100_000)).astype(np.float32)
try:
    with writing(
        Path({str(tmp_path / "new")!r}), ["one"], file_format="flac", bits=16,
        sample_rate=44_100, num_channels=1, num_samples=100_000,
    ) as writer:
        writer.write(audio)
except Unusable as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "new: no flac can be written here (System error.)" in done.stdout
    assert not (tmp_path / "new").exists()
