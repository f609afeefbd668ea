from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.decoding.downmix import downmix, downmix_matrix

LAYOUTS = (
    "mono",
    "stereo",
    "2.1",
    "quad",
    "5.0",
    "5.1",
    "5.1(side)",
    "6.1",
    "7.1",
    "7.1.4",
    "22.2",
)


@given(st.lists(st.sampled_from(["FL", "FR", "FC", "LFE", "BL", "SR", "USR3", "NONE"]), min_size=1))
def test_any_speakers_give_finite_weights_and_both_sides(speakers: list[str]) -> None:
    matrix = downmix_matrix(speakers, 2)
    assert matrix.shape == (2, len(speakers))
    assert matrix.dtype == np.float32
    assert (matrix >= 0).all()
    assert (matrix <= 1).all()
    assert matrix.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mirrored_speakers_are_mirrored(layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    weights = dict(zip(names, downmix_matrix(names, 2).T, strict=True))
    for name, (left, right) in weights.items():
        if name.startswith("LFE"):
            assert left == right == 0
        elif {*"LR"} & {*name}:
            mirrored = name.translate(str.maketrans("LR", "RL"))
            assert (right, left) == tuple(weights[mirrored])
            assert (left if "R" in name else right) == 0
        else:
            assert left == right > 0


def test_mono_goes_to_both_sides_and_stereo_stays() -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 100)).astype(np.float32)
    assert downmix(audio, downmix_matrix(("FL", "FR"), 2)) is audio
    mono = downmix(audio[:1], downmix_matrix(("FC",), 2))
    assert np.array_equal(mono, audio[[0, 0]])


def test_right_before_left_is_put_right() -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 100)).astype(np.float32)
    assert np.array_equal(downmix(audio, downmix_matrix(("FR", "FL"), 2)), audio[::-1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mono_is_the_mean_of_both_sides(layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    audio = np.random.default_rng(0).uniform(-1, 1, (len(names), 100)).astype(np.float32)
    sides, mono = (downmix(audio, downmix_matrix(names, channels)) for channels in (2, 1))
    assert mono.shape == (1, 100)
    np.testing.assert_allclose(mono[0], sides.mean(axis=0), atol=1e-6)


def test_mono_stays_mono() -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (1, 100)).astype(np.float32)
    assert downmix(audio, downmix_matrix(("FC",), 1)) is audio
