from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.decoding.chunk import Unusable
from storage.decoding.original import Resampler, prepare_original, resampled


def tone(num_samples: int, rate: int, level: float = 0.5) -> np.ndarray:
    left = np.sin(2 * np.pi * 440 * np.arange(num_samples) / rate)
    return level * np.stack([left, left[::-1]]).astype(np.float32)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=5),
    st.sampled_from([8_000, 44_100, 48_000, 96_000]),
)
def test_length_is_the_one_wanted_however_blocks_are_cut(lengths: list[int], rate: int) -> None:
    audio, wanted = tone(sum(lengths), 44_100), round(sum(lengths) * rate / 44_100)
    resample = Resampler(2, 44_100, rate, wanted)
    bounds = [0, *np.cumsum(lengths)]
    blocks = [
        resample(audio[:, first:last], last=index == len(lengths) - 1)
        for index, (first, last) in enumerate(pairwise(bounds))
    ]
    cut = np.concatenate(blocks, axis=1)
    whole = Resampler(2, 44_100, rate, wanted)(audio, last=True)
    assert cut.shape == (2, wanted)
    np.testing.assert_allclose(cut, whole, atol=1e-6)


@pytest.mark.parametrize(("num_channels", "kept"), [(1, 1), (2, 2), (6, 2)])
def test_rate_length_and_channels_are_the_files_own(
    tmp_path: Path, num_channels: int, kept: int
) -> None:
    audio = np.tile(tone(9_999, 48_000)[:1], (num_channels, 1))
    soundfile.write(tmp_path / "a.wav", audio.T, 48_000, subtype="FLOAT")
    asked: list[int] = []

    def same(rate: int) -> int:
        asked.append(rate)
        return rate

    with prepare_original(LocalFileSystem(), str(tmp_path / "a.wav"), same) as (prepared, channels):
        assert (asked, prepared.sample_rate, prepared.num_samples) == ([48_000], 48_000, 9_999)
        assert channels == kept
        with resampled(prepared, 44_100) as model_audio:
            assert model_audio.num_samples == round(9_999 * 44_100 / 48_000)
            read = model_audio.read(1000, 500)
    expected = tone(model_audio.num_samples, 44_100)[0, 1000:1500]
    if num_channels < 6:
        np.testing.assert_allclose(read, np.stack([expected, expected]), atol=1e-3)


def test_there_and_back_is_the_same(tmp_path: Path) -> None:
    audio = tone(48_001, 48_000, level=2.0)
    soundfile.write(tmp_path / "a.wav", audio.T, 48_000, subtype="FLOAT")
    with (
        prepare_original(LocalFileSystem(), str(tmp_path / "a.wav"), lambda rate: rate) as (
            prepared,
            _,
        ),
        resampled(prepared, 44_100) as model_audio,
    ):
        heard = model_audio.read(0, model_audio.num_samples)
        assert np.abs(heard).max() <= 1.001
        back = Resampler(2, 44_100, 48_000, 48_001)(heard, last=True)
        level = 10 ** (-prepared.gain_db / 20)
    np.testing.assert_allclose(back[:, 100:-100] * level, audio[:, 100:-100], atol=2e-3)


def test_what_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no music at all" * 10)
    with (
        pytest.raises(Unusable, match="corrupt"),
        prepare_original(LocalFileSystem(), str(tmp_path / "a.wav"), lambda rate: rate),
    ):
        raise AssertionError
