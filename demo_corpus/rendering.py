"""Renders a composed song: one produced stem a source, and a mixture that is exactly their sum.

Shapes: stems are (S, C, T) in the order of the split's sources, 16-bit integers; the mixture is
their sum and does not clip. Songs are played at 44.1 kHz in stereo; what is asked for otherwise is
resampled and mixed down from that.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from demo_corpus.palette import InstrumentPool
from demo_corpus.production import Chain, active_level_db, produce
from demo_corpus.sampler import SAMPLE_RATE, Audio, Sampler
from demo_corpus.score import SOURCES, Note, Part, Song
from demo_corpus.soundfont import SoundFont, default_soundfont_path, load_soundfont
from demo_corpus.splits import MUSDB, StemSplit, instrument_of
from demo_corpus.voice import Singer

Stems = npt.NDArray[np.int16]

_FULL_SCALE = 32_767
# Active RMS level of a source in a mix, and how far (standard deviation) songs depart from it.
_BALANCE_DB = {
    "drums": (-18.0, 2.2),
    "bass": (-19.5, 2.2),
    "other": (-20.0, 2.5),
    "vocals": (-18.5, 2.2),
}
_PEAKS = (0.55, 0.9)
_DISTORTED = (29, 30)
_PART_DB = -20.0


def render(
    rng: np.random.Generator,
    song: Song,
    pool: InstrumentPool,
    *,
    split: StemSplit = MUSDB,
    sample_rate: int = SAMPLE_RATE,
    num_channels: int = 2,
    soundfont_path: Path | None = None,
) -> Stems:
    """Play and mix a song; the same song and generator state give the same samples.

    Args:
        rng: decides how it is mixed.
        song: what is played.
        pool: whose voices and kits.
        split: which stems it is written as.
        sample_rate: samples a second.
        num_channels: 2, or 1 for mono.
        soundfont_path: the bank; pretty_midi's by default.

    Raises:
        ValueError: a program of the song is not in the soundfont.
        FileNotFoundError: no soundfont given, and pretty_midi's is not installed.
    """
    sampler = Sampler(_soundfont(soundfont_path or default_soundfont_path()))
    num_samples = round(song.duration_s * SAMPLE_RATE)
    singer = Singer(rng, pool.voice_scale)
    drum_tune = float(rng.normal(0, pool.drum_tune_cents))
    stems = np.zeros((len(split.sources), 2, num_samples), np.float32)
    for source in SOURCES:
        chain = _draw_chain(rng, source)
        mean_db, spread_db = _BALANCE_DB[source]
        level_db = mean_db + float(np.clip(rng.normal(0, spread_db), -5, 5))
        dry: dict[str, Audio] = {}
        for part in song.parts:
            if part.source == source:
                tune = drum_tune if part.is_drum else 0.0
                for stem, audio in _play(sampler, singer, part, num_samples, tune, split).items():
                    dry[stem] = dry[stem] + audio if stem in dry else audio
        whole_db = active_level_db(functools.reduce(np.add, dry.values())) if len(dry) > 1 else 0.0
        for stem, audio in dry.items():
            # the stems of what is mixed as one source keep their balance
            own_db = active_level_db(audio) - whole_db if len(dry) > 1 else 0.0
            stems[split.sources.index(stem)] += produce(audio, chain, level_db=level_db + own_db)
    fade = min(num_samples, round(song.fade_out_s * SAMPLE_RATE))
    stems[..., num_samples - fade :] *= np.linspace(1, 0, fade, dtype=np.float32) ** 2
    if sample_rate != SAMPLE_RATE:
        stems = np.stack([soxr.resample(s.T, SAMPLE_RATE, sample_rate).T for s in stems])
    if num_channels == 1:
        stems = stems.mean(axis=1, keepdims=True)
    mixture = stems.sum(axis=0)
    peak = max(
        float(extreme)
        for audio in (mixture, stems)
        for extreme in (audio.max(initial=0.0), -audio.min(initial=0.0))
    )
    target = float(rng.uniform(*_PEAKS))
    stems *= np.float32(_FULL_SCALE * target / max(peak, 1e-9))
    quantised: Stems = np.rint(stems, out=stems).astype(np.int16)
    return quantised


@functools.lru_cache(maxsize=1)
def _soundfont(path: Path) -> SoundFont:
    """The parsed bank: read-only, and worth keeping between the songs of one process."""
    return load_soundfont(path)


def _play(
    sampler: Sampler,
    singer: Singer,
    part: Part,
    num_samples: int,
    tune_cents: float,
    split: StemSplit,
) -> dict[str, Audio]:
    """A part's audio (2, num_samples), in the stems that its instruments are in."""
    notes: dict[str, list[Note]] = {}
    for note in part.notes:
        notes.setdefault(split.stem_of(instrument_of(part, note)), []).append(note)
    sounds = {
        stem: _sound(sampler, singer, replace(part, notes=tuple(own)), num_samples, tune_cents)
        for stem, own in notes.items()
    }
    # Patches of the bank differ by 15 dB; what a part is given counts from one loudness.
    whole = functools.reduce(np.add, sounds.values())
    own_db = active_level_db(whole)
    level = 10 ** ((part.level_db - own_db + _PART_DB) / 20) if own_db > -np.inf else 0.0
    angle = (1 + part.pan) * np.pi / 4
    sides = np.array([[np.cos(angle)], [np.sin(angle)]]) * np.sqrt(2) * level
    return {stem: np.asarray(audio * sides.astype(np.float32)) for stem, audio in sounds.items()}


def _sound(
    sampler: Sampler, singer: Singer, part: Part, num_samples: int, tune_cents: float
) -> Audio:
    if part.source == "vocals":
        audio = singer.sing(sampler, part, num_samples)
    else:
        audio = sampler.render(
            part.notes, part.program, num_samples, is_drum=part.is_drum, tune_cents=tune_cents
        )
    if part.program in _DISTORTED and not part.is_drum:
        audio = np.tanh(np.float32(6) * audio) / np.float32(3)
    return audio


def _draw_chain(rng: np.random.Generator, source: str) -> Chain:
    chain = Chain(
        low_gain_db=float(rng.uniform(-3, 3)),
        high_gain_db=float(rng.uniform(-2, 5)),
        rumble_hz=35.0,
        ratio=float(rng.uniform(1.5, 3.5)),
        threshold_db=float(rng.uniform(-24, -16)),
        drive_db=float(rng.choice((0.0, rng.uniform(1, 6)))),
        reverb_s=float(rng.uniform(0.25, 0.6)),
        wet_db=float(rng.uniform(-22, -13)),
        reverb_seed=int(rng.integers(2**31)),
    )
    if source == "bass":
        # A bass is kept dry: the room is a few milliseconds of cabinet.
        return replace(chain, reverb_s=0.05, wet_db=-26.0, high_gain_db=chain.high_gain_db - 1)
    if source == "other":
        return replace(chain, reverb_s=float(rng.uniform(0.5, 1.3)), rumble_hz=80.0)
    if source == "vocals":
        return replace(
            chain,
            reverb_s=float(rng.uniform(0.6, 1.6)),
            wet_db=float(rng.uniform(-19, -9)),
            rumble_hz=100.0,
            high_gain_db=chain.high_gain_db + 2,
        )
    return chain
