"""Reads a SoundFont 2 file: samples, and the regions that each preset plays.

Source: SoundFont Technical Specification 2.04. Read here are the generators that a General MIDI
bank of recorded instruments relies on (key and velocity ranges, loops, tuning, volume envelope,
low-pass filter, pan, attenuation); modulators and low-frequency oscillators are not.
"""

from __future__ import annotations

import importlib.util
import itertools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

# Generator numbers, in the specification's order (section 8.1.2).
_START, _END, _LOOP_START, _LOOP_END, _START_COARSE = 0, 1, 2, 3, 4
_MOD_ENV_TO_CUTOFF, _CUTOFF, _END_COARSE, _PAN = 11, 8, 12, 17
_ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE = 34, 35, 36, 37, 38
_INSTRUMENT, _KEY_RANGE, _VELOCITY_RANGE, _LOOP_START_COARSE = 41, 43, 44, 45
_ATTENUATION, _LOOP_END_COARSE, _COARSE_TUNE, _FINE_TUNE = 48, 50, 51, 52
_SAMPLE, _SAMPLE_MODES, _SCALE_TUNING, _EXCLUSIVE, _ROOT_KEY = 53, 54, 56, 57, 58

_DEFAULTS: Mapping[int, int] = {
    _CUTOFF: 13_500,
    _ATTACK: -12_000,
    _HOLD: -12_000,
    _DECAY: -12_000,
    _RELEASE: -12_000,
    _SCALE_TUNING: 100,
    _ROOT_KEY: -1,
}
_FULL_RANGE = 127 << 8
_DRUM_BANK = 128
# Hardware of the format's makers took 0.4 dB for each nominal dB; banks are tuned to that.
_ATTENUATION_DB_PER_CENTIBEL = 0.04


@dataclass(frozen=True, kw_only=True)
class Region:
    """One recorded sample and how a preset plays it in a range of keys and velocities.

    Positions are indices into ``SoundFont.samples``; envelope times are seconds, ``decay_s`` and
    ``release_s`` for a fall of 100 dB; ``attenuation_db`` and ``sustain_db`` are positive losses.
    """

    sample: int
    keys: tuple[int, int]
    velocities: tuple[int, int]
    start: int
    stop: int
    loop_start: int
    loop_stop: int
    loops: bool
    sample_rate: int
    root_key: float
    cents_per_key: int
    pan: float
    attenuation_db: float
    cutoff_hz: float
    attack_s: float
    hold_s: float
    decay_s: float
    sustain_db: float
    release_s: float
    exclusive_class: int


@dataclass(frozen=True)
class SoundFont:
    """Samples (float32, full scale 1) and the regions of each preset, by (bank, program)."""

    samples: npt.NDArray[np.float32]
    presets: Mapping[tuple[int, int], tuple[Region, ...]]
    names: Mapping[tuple[int, int], str]

    def regions(self, program: int, *, is_drum: bool) -> tuple[Region, ...]:
        """Regions of a General MIDI program (or drum kit).

        Raises:
            ValueError: the bank has no such program.
        """
        key = (_DRUM_BANK if is_drum else 0, program)
        if key not in self.presets:
            kind = "drum kit" if is_drum else "program"
            raise ValueError(f"the soundfont has no {kind} {program}")
        return self.presets[key]


def default_soundfont_path() -> Path:
    """The General MIDI bank that pretty_midi's wheel carries, found without importing it.

    Raises:
        FileNotFoundError: pretty_midi is not installed, or carries no bank.
    """
    spec = importlib.util.find_spec("pretty_midi")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).with_name("TimGM6mb.sf2")
        if path.is_file():
            return path
    raise FileNotFoundError("TimGM6mb.sf2 not found: install the pretty-midi package")


def load_soundfont(path: Path) -> SoundFont:
    """Read a SoundFont 2 file.

    Raises:
        ValueError: the file is no SoundFont 2 bank.
    """
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise ValueError(f"{path}: not a SoundFont 2 file")
    chunks = dict(_chunks(data, 12, len(data)))
    samples = np.frombuffer(chunks[b"smpl"], dtype="<i2").astype(np.float32) / np.float32(32_768)
    headers = list(struct.iter_unpack("<20s5IBbHH", chunks[b"shdr"]))
    instruments = [
        _zones(chunks, b"ibag", b"igen", first, last)
        for first, last in _bag_ranges(chunks[b"inst"], "<20sH", 1)
    ]
    presets: dict[tuple[int, int], tuple[Region, ...]] = {}
    names: dict[tuple[int, int], str] = {}
    records = list(struct.iter_unpack("<20sHHHIII", chunks[b"phdr"]))
    ranges = _bag_ranges(chunks[b"phdr"], "<20sHHHIII", 3)
    for record, (first, last) in zip(records, ranges, strict=False):
        key = (record[2], record[1])
        names[key] = record[0].split(b"\0")[0].decode("ascii", "replace")
        regions: list[Region] = []
        for outer in _zones(chunks, b"pbag", b"pgen", first, last):
            if _INSTRUMENT in outer:
                for inner in instruments[outer[_INSTRUMENT]]:
                    if _SAMPLE in inner:
                        region = _region(outer, inner, headers)
                        if region is not None:
                            regions.append(region)
        presets[key] = tuple(regions)
    return SoundFont(samples, presets, names)


def _chunks(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, bytes]]:
    """Leaf chunks of a RIFF file, lists entered."""
    while start + 8 <= stop:
        name, size = struct.unpack_from("<4sI", data, start)
        if name == b"LIST":
            yield from _chunks(data, start + 12, start + 8 + size)
        else:
            yield name, data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _bag_ranges(records: bytes, layout: str, field: int) -> list[tuple[int, int]]:
    bags = [record[field] for record in struct.iter_unpack(layout, records)]
    return list(itertools.pairwise(bags))


def _zones(
    chunks: Mapping[bytes, bytes], bag: bytes, gen: bytes, first: int, last: int
) -> list[dict[int, int]]:
    """Generators of each zone, a global first zone's values filled in."""
    zones: list[dict[int, int]] = []
    common: dict[int, int] = {}
    for index in range(first, last):
        begin = struct.unpack_from("<H", chunks[bag], 4 * index)[0]
        end = struct.unpack_from("<H", chunks[bag], 4 * (index + 1))[0]
        own: dict[int, int] = {}
        for position in range(begin, end):
            number, amount = struct.unpack_from("<Hh", chunks[gen], 4 * position)
            own[number] = amount
        is_global = index == first and _INSTRUMENT not in own and _SAMPLE not in own
        if is_global:
            common = own
        else:
            zones.append({**common, **own})
    return zones


def _region(
    outer: Mapping[int, int], inner: Mapping[int, int], headers: list[tuple[int, ...]]
) -> Region | None:
    """A preset zone's offsets added to an instrument zone's values; None where they exclude."""
    keys = _intersect(outer, inner, _KEY_RANGE)
    velocities = _intersect(outer, inner, _VELOCITY_RANGE)
    if keys is None or velocities is None:
        return None

    def value(number: int) -> int:
        return inner.get(number, _DEFAULTS.get(number, 0)) + outer.get(number, 0)

    def seconds(number: int) -> float:
        return float(2.0 ** (max(-12_000, min(8_000, value(number))) / 1_200))

    header = headers[inner[_SAMPLE]]
    _, start, stop, loop_start, loop_stop, sample_rate, original_key, correction, _, _ = header
    root = inner.get(_ROOT_KEY, -1)
    root = root if root >= 0 else (original_key if original_key <= 127 else 60)
    tune = value(_COARSE_TUNE) + (value(_FINE_TUNE) + correction) / 100
    loop_start += value(_LOOP_START) + 32_768 * value(_LOOP_START_COARSE)
    loop_stop += value(_LOOP_END) + 32_768 * value(_LOOP_END_COARSE)
    start += value(_START) + 32_768 * value(_START_COARSE)
    stop += value(_END) + 32_768 * value(_END_COARSE)
    cutoff = max(1_500, min(13_500, value(_CUTOFF) + value(_MOD_ENV_TO_CUTOFF) // 2))
    return Region(
        sample=inner[_SAMPLE],
        keys=keys,
        velocities=velocities,
        start=start,
        stop=stop,
        loop_start=loop_start,
        loop_stop=loop_stop,
        loops=value(_SAMPLE_MODES) in (1, 3) and start <= loop_start < loop_stop - 2 < stop,
        sample_rate=sample_rate,
        root_key=root - tune,
        cents_per_key=value(_SCALE_TUNING),
        pan=max(-1.0, min(1.0, value(_PAN) / 500)),
        attenuation_db=_ATTENUATION_DB_PER_CENTIBEL * max(0, value(_ATTENUATION)),
        cutoff_hz=8.176 * 2 ** (cutoff / 1_200),
        attack_s=seconds(_ATTACK),
        hold_s=seconds(_HOLD),
        decay_s=seconds(_DECAY),
        sustain_db=max(0, min(1_000, value(_SUSTAIN))) / 10,
        release_s=seconds(_RELEASE),
        exclusive_class=value(_EXCLUSIVE),
    )


def _intersect(
    outer: Mapping[int, int], inner: Mapping[int, int], number: int
) -> tuple[int, int] | None:
    low, high = 0, 127
    for zone in (outer, inner):
        packed = zone.get(number, _FULL_RANGE) & 0xFFFF
        low, high = max(low, packed & 0xFF), min(high, packed >> 8)
    return (low, high) if low <= high else None
