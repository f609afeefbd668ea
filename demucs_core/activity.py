"""When a source sounds: frame levels, and the rule that turns them into active or silent.

The labels of the detector, the truth that calibration counts against, and the pool that stem
excerpts are drawn from all come from this one rule. The paper (arXiv 1909.01174, section 4)
calls a source silent where its level is at least some dB below the mixture's; the absolute
floor, the smoothed reference and the closing of short gaps are additions of ours, each with its
reason in :class:`ActivityConfig`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demucs_core.configuration import check_above, check_at_least, check_below
from demucs_core.runs import close_short_gaps

FLOOR_DB = -120.0
"""Level of digital silence: nothing is reported below it."""


@dataclass(frozen=True, kw_only=True)
class ActivityConfig:
    """What counts as a source sounding.

    A frame of a source is active when its level is within ``relative_db`` of the mixture around it
    *and* above ``absolute_db``; silent gaps shorter than ``close_gap_s`` count as active too.

    Attributes:
        relative_db: level of a source relative to the mixture (dB) below which it is silent. A
            remix that takes such a source for silent has an error 40 dB below the mixture in its
            target, well under what separation reaches; bleed in real stems, and reverberation, lie
            about there.
        absolute_db: level (dBFS) below which a source is silent however quiet the mixture is: the
            tails of fade-outs, dither and the noise of mixing desks are nobody playing.
        close_gap_s: silences shorter than this (seconds) between active frames count as active: the
            rests of a playing drummer and the breaths of a singer are no use to extraction, and a
            detector that must find them learns less about the rest.
        context_s: length (seconds) over which the mixture's power is averaged, centred on the
            frame, for the relative threshold. The frame's own level would call the faint tail of
            one source active whenever all others pause between two beats; the loud level of the
            whole song would call everything in a quiet intro silent, where the error would be as
            loud as the music.

    Raises:
        ValueError: a field out of range, by name.
    """

    relative_db: float = -40.0
    absolute_db: float = -60.0
    close_gap_s: float = 0.5
    context_s: float = 1.0

    def __post_init__(self) -> None:
        check_below(self, 0, "relative_db", "absolute_db")
        check_above(self, FLOOR_DB, "absolute_db")
        check_at_least(self, 0, "close_gap_s", "context_s")


class LevelMeter:
    """Frame levels of audio that arrives in blocks, the same as of the whole in one piece.

    >>> meter = LevelMeter(hop_samples=4)
    >>> meter.update(np.ones((2, 6), np.float32)).tolist()
    [0.0]
    >>> meter.finish().tolist()
    [0.0]
    """

    def __init__(self, hop_samples: int) -> None:
        if hop_samples < 1:
            raise ValueError(f"hop_samples must be at least 1, not {hop_samples}")
        self._hop = hop_samples
        self._rest: NDArray[np.float32] | None = None

    def update(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take a block ``(C, n)`` in; the levels (dBFS) of the frames it completes."""
        if self._rest is not None and self._rest.shape[1]:
            block = np.concatenate([self._rest, block], axis=1)
        whole = block.shape[1] // self._hop * self._hop
        self._rest = block[:, whole:].copy()
        return _levels_of_whole_frames(block[:, :whole], self._hop)

    def finish(self) -> NDArray[np.float32]:
        """The level of the last, partly filled frame (over the samples it has), if there is one."""
        rest, self._rest = self._rest, None
        if rest is None or rest.shape[1] == 0:
            return np.zeros(0, np.float32)
        return _levels_of_whole_frames(rest, rest.shape[1])


def frame_level_db(audio: NDArray[np.float32], hop_samples: int) -> NDArray[np.float32]:
    """RMS level over channels of each frame: audio ``(C, T)`` to ``(F,)`` float32 dBFS.

    ``F = ceil(T / hop_samples)``; the last frame is measured over the samples it has. Digital
    silence is :data:`FLOOR_DB`. NaN stays NaN, so that a broken file shows.
    """
    return stream_level_db([audio], hop_samples)


def stream_level_db(blocks: Iterable[NDArray[np.float32]], hop_samples: int) -> NDArray[np.float32]:
    """:func:`frame_level_db` of audio too long for memory: blocks ``(C, n)`` in order."""
    meter = LevelMeter(hop_samples)
    levels = [meter.update(block) for block in blocks]
    return np.concatenate([*levels, meter.finish()])


def active_frames(
    stem_level_db: NDArray[np.float32],
    mixture_level_db: NDArray[np.float32],
    config: ActivityConfig,
    hop_samples: int,
    sample_rate: int,
) -> NDArray[np.bool_]:
    """Where a source is active: levels ``(F,)`` of its stem and of the mixture to ``(F,)`` bool.

    Raises:
        ValueError: the two differ in length or hold NaN.
    """
    if stem_level_db.shape != mixture_level_db.shape or stem_level_db.ndim != 1:
        raise ValueError(
            f"stem levels have shape {stem_level_db.shape} and mixture levels "
            f"{mixture_level_db.shape}: both must be the same (F,)"
        )
    if np.isnan(stem_level_db).any() or np.isnan(mixture_level_db).any():
        raise ValueError("a level is NaN: the audio holds NaN")
    frame_rate = sample_rate / hop_samples
    reference_db = smoothed_level_db(mixture_level_db, config.context_s * frame_rate)
    threshold_db = np.maximum(reference_db + config.relative_db, config.absolute_db)
    return close_short_gaps(stem_level_db > threshold_db, int(config.close_gap_s * frame_rate))


def smoothed_level_db(level_db: NDArray[np.float32], width_frames: float) -> NDArray[np.float64]:
    """Level of the mean power over about ``width_frames`` around each frame, ``(F,)`` to ``(F,)``.

    The window is the nearest odd number of frames, and shorter at both ends of the track.
    """
    half = round((width_frames - 1) / 2) if width_frames > 1 else 0
    sums = np.concatenate([[0.0], np.cumsum(power(level_db))])
    frames = np.arange(len(level_db))
    start = np.maximum(frames - half, 0)
    stop = np.minimum(frames + half + 1, len(level_db))
    return to_db((sums[stop] - sums[start]) / (stop - start))


def power(level_db: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean square of a level in dBFS."""
    return np.power(10.0, level_db.astype(np.float64) / 10.0)


def to_db(mean_square: NDArray[np.float64]) -> NDArray[np.float64]:
    """Level in dBFS of a mean square, never below :data:`FLOOR_DB`."""
    level_db: NDArray[np.float64] = 10.0 * np.log10(
        np.maximum(mean_square, 10.0 ** (FLOOR_DB / 10.0))
    )
    return level_db


def _levels_of_whole_frames(audio: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    channels, samples = audio.shape
    framed = np.ascontiguousarray(audio).reshape(channels, samples // hop, hop)
    squares = np.einsum("cfh,cfh->cf", framed, framed).sum(axis=0, dtype=np.float64)
    return to_db(squares / (channels * hop)).astype(np.float32)
