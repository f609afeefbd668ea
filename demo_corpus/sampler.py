"""Plays notes with a soundfont: looped samples, envelopes, velocity, bends and vibrato.

Shapes: a rendered part is (2, T) float32 at 44.1 kHz. Written for General MIDI banks of recorded
instruments: one low-pass filter a note, fixed while it sounds, opened by velocity as the
SoundFont specification's default modulators do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from scipy import signal

from demo_corpus.score import Note
from demo_corpus.soundfont import Region, SoundFont

SAMPLE_RATE = 44_100

Audio = npt.NDArray[np.float32]

_VELOCITY_LAYERS = (60, 90, 127)
_CUT_DB = -75.0
_NEPERS_PER_DB = np.log(10) / 20


class Sampler:
    """Renders parts with one soundfont; repeated pitches are computed once and kept."""

    def __init__(self, soundfont: SoundFont) -> None:
        self._soundfont = soundfont
        self._tones: dict[tuple[Region, int, int, float], Audio] = {}

    def render(
        self,
        notes: Iterable[Note],
        program: int,
        num_samples: int,
        *,
        is_drum: bool = False,
        tune_cents: float = 0.0,
        pan_width: float = 1.0,
        colour: Callable[[Audio, Note], Audio] | None = None,
    ) -> Audio:
        """Audio (2, num_samples) of the notes, played with a General MIDI program or drum kit.

        ``colour``, where given, is applied to the sound of each note.

        Raises:
            ValueError: the soundfont has no such program.
        """
        regions = self._soundfont.regions(program, is_drum=is_drum)
        buses: dict[float, Audio] = {}
        for note in notes:
            start = round(note.start_s * SAMPLE_RATE)
            if start >= num_samples:
                continue
            for region in matching_regions(regions, note.pitch, note.velocity, is_drum=is_drum):
                tone = self._note(region, note, tune_cents)
                if colour is not None:
                    tone = colour(tone, note)
                bus = buses.get(region.pan)
                if bus is None:
                    bus = buses[region.pan] = np.zeros(num_samples, np.float32)
                stop = min(num_samples, start + tone.size)
                bus[start:stop] += tone[: stop - start]
        rendered = np.zeros((2, num_samples), np.float32)
        for pan, bus in buses.items():
            angle = (1 + pan * pan_width) * np.pi / 4
            rendered[0] += np.float32(np.cos(angle)) * bus
            rendered[1] += np.float32(np.sin(angle)) * bus
        return rendered

    def _note(self, region: Region, note: Note, tune_cents: float) -> Audio:
        envelope = _envelope(region, note.duration_s)
        layer = next(limit for limit in _VELOCITY_LAYERS if note.velocity <= limit)
        if note.scoop_cents or note.vibrato_cents:
            tone = self._tone(region, layer, _bent_increments(region, note, envelope.size))
        else:
            key = (region, note.pitch, layer, tune_cents)
            tone = self._tones.get(key, np.empty(0, np.float32))
            if tone.size < envelope.size and (region.loops or key not in self._tones):
                # A quarter more than asked for, so that slightly longer notes find it ready.
                size = envelope.size + envelope.size // 4
                increment = _increment(region, note.pitch, tune_cents)
                tone = self._tone(region, layer, np.full(size, increment))
                self._tones[key] = tone
        size = min(tone.size, envelope.size)
        gain = (note.velocity / 127) ** 2 * 10 ** (-region.attenuation_db / 20)
        shaped: Audio = tone[:size] * (envelope[:size] * np.float32(gain))
        if size < envelope.size:
            fade = min(size, 64)
            shaped[size - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return shaped

    def _tone(self, region: Region, layer: int, increments: npt.NDArray[np.float64]) -> Audio:
        """The region's sample at a given step a sample: cubic interpolation, then low-pass."""
        positions = np.cumsum(increments)
        positions -= increments[0]
        recorded = self._soundfont.samples[region.start : region.stop]
        if region.loops:
            loop = slice(region.loop_start - region.start, region.loop_stop - region.start)
            needed = int(positions[-1]) + 4 - loop.stop
            repeats = max(1, -(-needed // (loop.stop - loop.start)) + 1)
            recorded = np.concatenate([recorded[: loop.stop], *([recorded[loop]] * repeats)])
        else:
            positions = positions[: int(np.searchsorted(positions, recorded.size - 4))]
        index = positions.astype(np.int32)
        fraction = (positions - index).astype(np.float32)
        before = recorded[np.maximum(index - 1, 0)]
        here, after, beyond = recorded[index], recorded[index + 1], recorded[index + 2]
        half = np.float32(0.5)
        slope_here, slope_after = half * (after - before), half * (beyond - here)
        rise = here - after
        curve = 2 * rise + slope_here + slope_after
        bow = -3 * rise - 2 * slope_here - slope_after
        tone: Audio = ((curve * fraction + bow) * fraction + slope_here) * fraction + here
        cutoff_hz = region.cutoff_hz * 2.0 ** (-2 * (1 - layer / 127))
        if cutoff_hz < 15_000 and tone.size:
            b, a = signal.butter(2, cutoff_hz, fs=SAMPLE_RATE)
            filtered = signal.lfilter(b.astype(np.float32), a.astype(np.float32), tone)
            return np.asarray(filtered, dtype=np.float32)
        return tone


def matching_regions(
    regions: Iterable[Region], pitch: int, velocity: int, *, is_drum: bool
) -> list[Region]:
    """Regions that sound for a note; where a bank has a hole, those of the nearest key.

    Of a drum kit only those with the narrowest key range, each sample once: some banks lay one
    kit over another, and the rest of the range is the kit underneath.
    """
    loud = [r for r in regions if r.velocities[0] <= velocity <= r.velocities[1]]
    distances = [max(r.keys[0] - pitch, pitch - r.keys[1], 0) for r in loud]
    nearest = 0 if is_drum else min(distances, default=0)
    found = [r for r, distance in zip(loud, distances, strict=True) if distance == nearest]
    if is_drum and found:
        narrowest = min(r.keys[1] - r.keys[0] for r in found)
        by_sample = {r.sample: r for r in found if r.keys[1] - r.keys[0] == narrowest}
        return list(by_sample.values())
    return found


def _increment(region: Region, pitch: float, tune_cents: float) -> float:
    cents = (pitch - region.root_key) * region.cents_per_key + tune_cents
    return float(2 ** (cents / 1_200) * region.sample_rate / SAMPLE_RATE)


def _bent_increments(region: Region, note: Note, size: int) -> npt.NDArray[np.float64]:
    """Steps for a note that slides up into its pitch and then takes on vibrato, as singers do."""
    # A slide and vibrato are slow: one value in 32 samples, straight lines between.
    knots = np.arange(0, size + 32, 32)
    time_s = knots / SAMPLE_RATE
    cents = -note.scoop_cents * np.exp(-time_s / 0.045)
    depth = note.vibrato_cents * np.clip((time_s - 0.25) / 0.35, 0, 1)
    cents += depth * np.sin(2 * np.pi * note.vibrato_hz * time_s)
    steps = _increment(region, note.pitch, 0.0) * 2 ** (cents / 1_200)
    return np.interp(np.arange(size), knots, steps)


def _envelope(region: Region, duration_s: float) -> Audio:
    """Amplitude of a held and released note: attack linear, decay and release linear in dB."""
    held = max(1, round(duration_s * SAMPLE_RATE))
    attack = min(held, max(32, round(region.attack_s * SAMPLE_RATE)))
    hold = min(held - attack, round(region.hold_s * SAMPLE_RATE))
    floor_db = max(_CUT_DB, -region.sustain_db)
    decay = min(
        held - attack - hold, round(-floor_db / 100 * max(region.decay_s, 0.005) * SAMPLE_RATE)
    )
    reached_db = -100 * decay / (max(region.decay_s, 0.005) * SAMPLE_RATE)
    sustain = held - attack - hold - decay
    release_s = min(max(region.release_s, 0.06), 2.5)
    if reached_db <= _CUT_DB + 1:
        sustain, release = 0, 64
    else:
        release = round((reached_db - _CUT_DB) / 100 * release_s * SAMPLE_RATE)
    level_db = np.concatenate(
        [
            np.zeros(attack + hold, np.float32),
            np.linspace(0, reached_db, decay, dtype=np.float32),
            np.full(sustain, reached_db, np.float32),
            np.linspace(reached_db, _CUT_DB, release, dtype=np.float32),
        ]
    )
    envelope: Audio = np.exp(level_db * np.float32(_NEPERS_PER_DB))
    envelope[:attack] = np.linspace(0, 1, attack, dtype=np.float32)
    return envelope
