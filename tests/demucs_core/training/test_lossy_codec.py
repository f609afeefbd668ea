"""Codecs take something of a mixture, move nothing of it, and leave the targets alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from demucs_core.training.lossy_codec import CODECS, CodecName, Coding, LossyCodec, through_codec
from demucs_core.training.stream_config import BatchAugmentation
from tests.demucs_core.training import tiny

ALWAYS = LossyCodec(probability=1, sample_rate=44_100)


def music(sample_rate: int, num_channels: int, level: float) -> NDArray[np.float32]:
    """A second and a bit of noise with more bass than treble, as music has."""
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.standard_normal((num_channels, sample_rate + 77)), axis=1)
    slow = np.cumsum(noise, axis=1)
    noise[:, 300:] -= (slow[:, 300:] - slow[:, :-300]) / 300
    noise[:, :300] = 0
    made: NDArray[np.float32] = (level * noise / noise.std()).astype(np.float32)
    return made


def lag(late: NDArray[np.float32], early: NDArray[np.float32]) -> int:
    """How many samples one is behind the other."""
    size = 2 * len(early)
    spectrum = np.fft.rfft(late, size) * np.fft.rfft(early, size).conj()
    found = int(np.argmax(np.fft.irfft(spectrum)))
    return found if found < size // 2 else found - size


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("sample_rate", "num_channels", "level"), [(44_100, 2, 0.1), (8_000, 1, 0.5), (96_000, 2, 2.0)]
)
def test_what_comes_back_is_as_long_in_its_place_and_a_little_worse(
    codec: CodecName, sample_rate: int, num_channels: int, level: float
) -> None:
    audio = music(sample_rate, num_channels, level)
    low, high = (through_codec(audio, Coding(codec, kbps), sample_rate) for kbps in (24, 512))
    assert low.shape == high.shape == audio.shape
    assert low.dtype == np.float32
    assert lag(high[0], audio[0]) == 0
    error = [float(np.square(made - audio).sum()) for made in (low, high)]
    assert 0 < error[1] < 0.3 * np.square(audio).sum()
    assert error[1] <= error[0]
    assert np.array_equal(through_codec(audio, Coding(codec, 24), sample_rate), low)


def test_targets_stay_clean_and_so_do_examples_that_are_not_coded() -> None:
    plain = tiny.stream()
    coded = tiny.stream(replace(tiny.STREAM, lossy_codec=replace(ALWAYS, probability=0.5)))
    changed = 0
    for index in range(20):
        one, other = plain[index], coded[index]
        assert np.array_equal(one.targets, other.targets)
        assert np.array_equal(one.mask, other.mask)
        assert one.weight == other.weight
        changed += not np.array_equal(one.mixture, other.mixture)
    assert 5 <= changed <= 15


def test_draws_reach_all_codecs_and_rates() -> None:
    rng = np.random.default_rng(0)
    found = [coding for _ in range(200) if (coding := ALWAYS.draw(rng)) is not None]
    assert {coding.codec for coding in found} == set(CODECS)
    assert 64 <= min(coding.kbps for coding in found) < 80
    assert 300 < max(coding.kbps for coding in found) <= 320
    assert LossyCodec().draw(rng) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"codecs": ("mp4",)}, "codecs must be some of mp3, aac, opus, not mp4"),
        ({"codecs": ()}, "not none"),
        ({"min_kbps": 400}, "max_kbps must be at least 400"),
        ({"sample_rate": 0}, "sample_rate must be at least 1"),
    ],
)
def test_values_out_of_range_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(ALWAYS, **fields)  # type: ignore[arg-type]


def test_batches_that_are_changed_would_undo_it() -> None:
    with pytest.raises(ValueError, match="without what a codec did"):
        replace(tiny.STREAM, lossy_codec=ALWAYS, batch_augmentation=BatchAugmentation(flip=0.5))
