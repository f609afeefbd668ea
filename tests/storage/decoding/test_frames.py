"""Frames become chunks with the samples they hold, of whatever kind, in their places."""

from __future__ import annotations

from collections.abc import Iterable

import av
import numpy as np
import pytest

from storage.decoding.chunk import Chunk, Unusable
from storage.decoding.frames import Frames, Placed, joined

FULL_SCALE = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}
DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}
AUDIO = np.random.default_rng(0).integers(-100, 100, (2, 47)) / 128
"""In steps that every kind of samples has."""


def frame(
    audio: np.ndarray, kind: str, layout: str = "stereo", rate: int = 44_100
) -> av.AudioFrame:
    """Of ``(C, n)``."""
    name = kind.removesuffix("p")
    values = audio * FULL_SCALE[name] + (128 if name == "u8" else 0)
    if kind == name:
        values = values.T.reshape(1, -1)
    made = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(values, dtype=DTYPES[name]), format=kind, layout=layout
    )
    made.sample_rate = rate
    return made


def chunks(placed: Iterable[tuple[int, av.AudioFrame]]) -> list[Chunk]:
    def frames() -> Frames:
        for gap_samples, given in placed:
            yield Placed(gap_samples, given)
        return False

    return list(joined(frames(), is_lossless=True))


@pytest.mark.parametrize("planar", ["", "p"])
@pytest.mark.parametrize("kind", FULL_SCALE)
def test_every_kind_of_samples_is_read_and_gaps_are_silent(kind: str, planar: str) -> None:
    first, second = (frame(part, kind + planar) for part in (AUDIO[:, :20], AUDIO[:, 20:]))
    (found,) = chunks([(0, first), (5, second)])
    silence = np.zeros((2, 5))
    expected = np.concatenate([AUDIO[:, :20], silence, AUDIO[:, 20:]], axis=1)
    np.testing.assert_array_equal(found.audio, expected.astype(np.float32))
    assert found[1:] == (44_100, ("FL", "FR"), True)
    assert found.audio.T.flags.c_contiguous  # as it is resampled and written


def test_eight_planes() -> None:
    """More than PyAV reads by itself."""
    audio = np.arange(8 * 47).reshape(8, 47) / 512
    to_planes = av.AudioResampler(format="fltp", layout="7.1")
    packed = [frame(part, "flt", "7.1") for part in (audio[:, :30], audio[:, 30:])]
    planar = [made for given in packed for made in to_planes.resample(given)]
    assert [made.format.name for made in planar] == ["fltp", "fltp"]
    (found,) = chunks((0, made) for made in planar)
    np.testing.assert_array_equal(found.audio, audio.astype(np.float32))


def test_another_format_begins_another_chunk() -> None:
    mono, fast = frame(AUDIO[:1], "s16", "mono"), frame(AUDIO, "s16", rate=48_000)
    found = chunks([(0, frame(AUDIO, "s16")), (0, frame(AUDIO, "s16")), (0, mono), (0, fast)])
    assert [chunk.audio.shape for chunk in found] == [(2, 94), (1, 47), (2, 47)]
    assert [chunk.sample_rate for chunk in found] == [44_100, 44_100, 48_000]


def test_samples_of_another_kind_are_refused() -> None:
    strange = av.AudioFrame(format="s64", layout="stereo", samples=10)
    with pytest.raises(Unusable, match="samples of a kind that can't be read: s64"):
        chunks([(0, strange)])
