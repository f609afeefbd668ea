"""Mixing-desk work on one source: tone, compression, saturation, reverberation.

Shapes: (2, T) float32 at 44.1 kHz. Only the stretches that sound are worked on; where a source
rests it is exactly zero once its reverberation has died away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import signal

from demo_corpus.sampler import SAMPLE_RATE, Audio

_HOP = 512
_SILENCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Settings of one source's channel; decibels, seconds and hertz."""

    low_gain_db: float
    high_gain_db: float
    rumble_hz: float
    ratio: float
    threshold_db: float
    drive_db: float
    reverb_s: float
    wet_db: float
    reverb_seed: int


def produce(dry: Audio, chain: Chain, *, level_db: float) -> Audio:
    """The source after its channel, its active RMS level brought to ``level_db`` on the way in."""
    tail = round(chain.reverb_s * SAMPLE_RATE)
    spans = list(_sounding_spans(dry, margin=tail))
    wet = np.zeros_like(dry)
    if not spans:
        return wet
    gain = _gain_to(dry, level_db)
    impulse = _reverberation(chain, tail)
    for start, stop in spans:
        audio = _equalise(dry[:, start:stop] * gain, chain)
        audio = _compress(audio, chain)
        if chain.drive_db > 0:
            drive = np.float32(10 ** (chain.drive_db / 20))
            audio = np.tanh(audio * drive) / drive
        wet[:, start:stop] = signal.oaconvolve(audio, impulse, axes=1)[:, : stop - start]
        fade = min(_HOP, stop - start)
        wet[:, stop - fade : stop] *= np.linspace(1, 0, fade, dtype=np.float32)
    return wet


def active_level_db(audio: Audio) -> float:
    """RMS level of the blocks within 40 dB of the loudest; -inf for silence."""
    power = _block_power(audio)
    loudest = power.max(initial=0.0)
    if loudest <= 0:
        return float("-inf")
    return float(10 * np.log10(power[power > 1e-4 * loudest].mean()))


def _gain_to(audio: Audio, level_db: float) -> np.float32:
    return np.float32(10 ** ((level_db - active_level_db(audio)) / 20))


def _block_power(audio: Audio) -> Audio:
    """Mean square over channels and blocks of ``_HOP`` samples."""
    whole = audio.shape[1] // _HOP * _HOP
    blocks = audio[:, :whole].reshape(2, -1, _HOP)
    power: Audio = np.einsum("cfh,cfh->f", blocks, blocks) / np.float32(2 * _HOP)
    return power


def _sounding_spans(audio: Audio, *, margin: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of stretches with sound, each ``margin`` samples longer; never overlapping."""
    total = audio.shape[1]
    sounding = np.zeros(-(-total // _HOP), bool)
    sounding[: total // _HOP] = _block_power(audio) > _SILENCE**2
    sounding[-1] |= bool(np.any(audio[:, total // _HOP * _HOP :]))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], sounding.astype(np.int8), [0]])))
    start = stop = -1
    for first, last in edges.reshape(-1, 2) * _HOP:
        if start >= 0 and first > stop:
            yield start, min(stop, total)
            start = -1
        if start < 0:
            start = int(first)
        stop = int(last) + margin
    if start >= 0:
        yield start, min(stop, total)


def _equalise(audio: Audio, chain: Chain) -> Audio:
    """First-order shelves at 250 Hz and 3.5 kHz, and a second-order rumble filter."""
    b, a = signal.butter(2, chain.rumble_hz, "highpass", fs=SAMPLE_RATE)
    for corner_hz, gain_db, is_high in (
        (250.0, chain.low_gain_db, False),
        (3_500.0, chain.high_gain_db, True),
    ):
        gain = 10 ** (gain_db / 20)
        corner = np.tan(np.pi * corner_hz / SAMPLE_RATE)
        pole = np.array([1 + corner, corner - 1])
        low = np.array([corner, corner])
        high = np.array([1.0, -1.0])
        b = np.polymul(b, low + gain * high if is_high else gain * low + high)
        a = np.polymul(a, pole)
    shaped: Audio = signal.lfilter(b, a, audio.astype(np.float64), axis=1).astype(np.float32)
    return shaped


def _compress(audio: Audio, chain: Chain) -> Audio:
    """Feed-forward compression with a smoothed level, both channels alike."""
    total = audio.shape[1]
    if total < 2 * _HOP or chain.ratio <= 1:
        return audio
    level_db = 10 * np.log10(_block_power(audio) + 1e-9)
    smooth = signal.lfilter([0.3], [1, -0.7], level_db, zi=[0.7 * level_db[0]])[0]
    over_db = np.maximum(np.maximum(smooth, level_db) - chain.threshold_db, 0)
    gain = 10 ** (-over_db * (1 - 1 / chain.ratio) / 20)
    centers = (np.arange(gain.size) + 0.5) * _HOP
    curve = np.interp(np.arange(total), centers, gain).astype(np.float32)
    compressed: Audio = audio * curve
    return compressed


def _reverberation(chain: Chain, tail: int) -> Audio:
    """(2, tail) impulse response: the direct sound, then decaying noise that loses its treble."""
    rng = np.random.default_rng(chain.reverb_seed)
    length = max(tail, 1)
    time_s = np.arange(length) / SAMPLE_RATE
    noise = rng.standard_normal((2, length))
    b, a = signal.butter(1, 4_500, fs=SAMPLE_RATE)
    dull = signal.lfilter(b, a, noise, axis=1)
    share = np.clip(time_s / chain.reverb_s, 0, 1)
    # 60 dB in nine tenths of the length, so that the cut at the end cannot be heard.
    decay = np.exp(-6.91 * time_s / (0.9 * chain.reverb_s))
    diffuse = ((1 - share) * 0.5 * noise + dull) * decay * (1 - share)
    diffuse[:, : round(0.012 * SAMPLE_RATE)] = 0.0
    # Uncorrelated low frequencies would make the room boom.
    b, a = signal.butter(1, 180, "highpass", fs=SAMPLE_RATE)
    diffuse = signal.lfilter(b, a, diffuse, axis=1)
    energy = np.sqrt(np.mean(np.sum(diffuse**2, axis=1)))
    impulse = diffuse * (10 ** (chain.wet_db / 20) / max(energy, 1e-9))
    impulse[:, 0] += 1.0
    return np.asarray(impulse, dtype=np.float32)
