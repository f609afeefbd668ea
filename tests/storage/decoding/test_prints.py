"""Prints are alike where audio sounds alike; buckets give back what went into them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.decoding.prints import HOW_TO_GET, ITEM_S, Print, Printer, can_print
from storage.tables.buckets import Buckets

RATE = 44_100


def printed(audio: np.ndarray, block: int = 30_000) -> Print:
    """Of ``(T, C)`` float audio, fed in blocks."""
    printer = Printer(RATE, audio.shape[1])
    pcm = np.rint(audio * 32768).clip(-32768, 32767).astype("<i2")
    for start in range(0, len(pcm), block):
        printer.feed(pcm[start : start + block].data.cast("B"))
    return printer.finish()


def melody(seed: int, duration_s: float = 12.0) -> np.ndarray:
    """Tones, four a second, over a hiss."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * RATE)) / RATE
    hertz = 110 * 2 ** (rng.integers(0, 36, int(4 * duration_s) + 1) / 12)
    tone = np.sin(2 * np.pi * np.cumsum(hertz[(4 * time_s).astype(int)]) / RATE)
    return 0.3 * np.stack([tone, tone], axis=1) + 0.001 * rng.standard_normal((len(tone), 2))


@pytest.mark.skipif(not can_print(), reason=HOW_TO_GET)
def test_a_print_does_not_depend_on_gain_or_blocks_and_little_else_is_like_it() -> None:
    audio = melody(1)
    print_ = printed(audio)
    assert abs(len(print_) * ITEM_S - (12.0 - 2.6)) < 0.5
    assert (printed(audio, 44_101) == print_).all()
    softer = printed(audio * 10 ** (-1 / 20))
    assert (np.bitwise_count(softer ^ print_).sum()) < 0.01 * 32 * len(print_)
    other = printed(melody(2))
    length = min(len(other), len(print_))
    assert np.bitwise_count(other[:length] ^ print_[:length]).mean() > 0.25 * 32
    assert len(printed(audio[: RATE // 2])) == 0


def test_buckets_give_back_every_row_those_alike_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    buckets = Buckets(tmp_path, "rows", [("key", "<u4"), ("place", "<i4")], 8, rows_in_memory=500)
    keys = rng.integers(0, 1000, 5000, dtype=np.uint32)
    for start in range(0, 5000, 170):
        own = keys[start : start + 170]
        buckets.add(own, key=own, place=np.arange(start, start + len(own)))
    found = list(buckets)
    assert sorted(np.concatenate(found)["place"].tolist()) == list(range(5000))
    for rows in found:
        assert (keys[rows["place"]] == rows["key"]).all()
    for one in range(len(found)):
        for other in range(one):
            assert not set(found[one]["key"]) & set(found[other]["key"])
