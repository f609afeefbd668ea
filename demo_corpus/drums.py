"""Drum parts: grooves with ghost notes, small variations, fills and crashes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from demo_corpus.score import Clock, Note, Section

# One character a sixteenth: X accent, x stroke, g ghost note, . rest.
_GROOVES: Mapping[str, Mapping[str, str]] = {
    "rock": {"kick": "X.......x.x.....", "snare": "....X.......X...", "hat": "X.x.X.x.X.x.X.x."},
    "rock_busy": {
        "kick": "X..x..x.x.x....x",
        "snare": "....X..g.g..X..g",
        "hat": "X.x.X.x.X.x.X.x.",
    },
    "rock_half": {
        "kick": "X.....x.....x.x.",
        "snare": "........X.......",
        "hat": "X...x...X...x...",
    },
    "pop": {
        "kick": "X.....x.x.......",
        "snare": "....X.......X..g",
        "hat": "X.xxX.x.X.xxX.x.",
        "shaker": "g.x.g.x.g.x.g.x.",
    },
    "four_floor": {
        "kick": "X...X...X...X...",
        "snare": "....X.......X...",
        "hat": "x...x...x...x...",
        "open": "..X...X...X...X.",
    },
    "disco": {
        "kick": "X...X...X...X..x",
        "snare": "....X.......X...",
        "hat": "X.xxX.xxX.xxX.xx",
        "tambourine": "..x...x...x...x.",
    },
    "funk": {
        "kick": "X..x..x...x..x..",
        "snare": "....X..g.g..X..g",
        "hat": "XxxxXxxxXxxxXxxx",
    },
    "funk_ghosts": {
        "kick": "X.x....x..x.....",
        "snare": ".g..X.g.g..gX.g.",
        "hat": "X.x.X.xxX.x.Xxx.",
    },
    "ballad": {"kick": "X.........x.....", "rim": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    "jazz": {
        "kick": "g...g...g...g...",
        "snare": "......g.......g.",
        "ride": "X...x.x.X...x.x.",
        "pedal": "....x.......x...",
    },
    "shuffle": {
        "kick": "X.....x.X.......",
        "snare": "....X.......X.g.",
        "ride": "X.x.X.x.X.x.X.x.",
    },
    "boombap": {
        "kick": "X..x......x..x..",
        "snare": "....X.......X...",
        "hat": "x.x.x.x.x.xxx.x.",
    },
    "trap": {"kick": "X.....x...x.....", "snare": "........X.......", "hat": "x.x.xxx.x.x.x.xx"},
    "bossa": {
        "kick": "X..xx..xX..xx..x",
        "rim": "x..x..x...x..x..",
        "hat": "x.x.x.x.x.x.x.x.",
    },
    "songo": {
        "kick": "...x..x....x..x.",
        "snare": "..g.X..g..g..g..",
        "bell": "X.x.x.xxx.x.x.x.",
        "conga": "..x...xx..x...xx",
    },
    "waltz": {"kick": "X...........", "snare": "....x...x...", "hat": "x.x.x.x.x.x."},
    "waltz_busy": {"kick": "X.....x.....", "rim": "....x...x..g", "ride": "X...x.x.x.x."},
}
_KEYS: Mapping[str, int] = {
    "kick": 36,
    "snare": 38,
    "rim": 37,
    "hat": 42,
    "pedal": 44,
    "open": 46,
    "ride": 51,
    "crash": 49,
    "tambourine": 54,
    "bell": 56,
    "shaker": 70,
    "conga": 64,
    "tom_high": 48,
    "tom_mid": 45,
    "tom_low": 41,
}
_LENGTH_S: Mapping[str, float] = {"crash": 1.8, "ride": 0.7, "open": 0.35}
_VELOCITY: Mapping[str, int] = {"X": 112, "x": 92, "g": 46}
# Quieter or louder than the bank has them, as an engineer would set the overheads.
_LANE_SCALE: Mapping[str, float] = {
    "hat": 0.78,
    "pedal": 0.7,
    "open": 0.8,
    "ride": 0.75,
    "crash": 0.85,
    "shaker": 0.7,
    "tambourine": 0.65,
    "bell": 0.6,
    "conga": 0.8,
    "tom_high": 0.85,
    "tom_mid": 0.85,
    "tom_low": 0.85,
}
# A beat or two of strokes, a lane a sixteenth.
_FILLS = (
    ("snare", "snare", "tom_high", "tom_low"),
    ("snare", "", "snare", "snare"),
    ("tom_high", "tom_high", "tom_mid", "tom_mid", "tom_low", "tom_low", "snare", "kick"),
    ("snare", "snare", "snare", "snare", "tom_high", "tom_mid", "tom_low", "tom_low"),
    ("snare", "", "tom_high", "", "tom_mid", "", "tom_low", ""),
    ("kick", "snare", "snare", "kick", "snare", "snare", "kick", "snare"),
    ("", "snare", "", "snare", "tom_mid", "kick", "tom_low", "kick"),
)


class Drummer:
    """Plays one song's drums; keeps the song's groove, feel and habits."""

    def __init__(self, rng: np.random.Generator, clock: Clock, groove: str) -> None:
        self._rng = rng
        self._clock = clock
        self._groove = _GROOVES[groove]
        self._jitter_s = rng.uniform(0.002, 0.007)
        self._chorus_ride = rng.random() < 0.4 and "hat" in self._groove
        self._busy = rng.uniform(0.0, 0.12)
        self._fill_chance = rng.uniform(0.5, 0.95)
        self._extra_kicks = tuple(rng.choice(np.arange(1, clock.steps_per_bar), 2, replace=False))

    def section(self, section: Section) -> list[Note]:
        """Strokes of a section, fills into whatever follows included."""
        notes: list[Note] = []
        lanes = self._lanes(section.name)
        for bar in range(section.num_bars):
            if not section.plays("drums", bar):
                continue
            last = bar == section.num_bars - 1
            enters = bar == 0 or not section.plays("drums", bar - 1)
            fill = self._draw_fill(last=last, fourth=bar % 4 == 3)
            notes += self._bar(section.start_bar + bar, lanes, fill, crash=enters)
        return notes

    def ending(self, bar: int) -> list[Note]:
        """The last stroke, on a downbeat."""
        return [self._stroke(lane, bar, 0.0, 112) for lane in ("kick", "crash")]

    def _lanes(self, name: str) -> dict[str, str]:
        lanes = dict(self._groove)
        if name == "chorus" and self._chorus_ride:
            lanes["ride"] = lanes.pop("hat")
        if name in ("intro", "outro", "break") and self._rng.random() < 0.35:
            lanes.pop(str(self._rng.choice(sorted(lanes))))
        return lanes

    def _draw_fill(self, *, last: bool, fourth: bool) -> tuple[str, ...]:
        chance = self._fill_chance if last else (0.3 if fourth else 0.0)
        if self._rng.random() >= chance:
            return ()
        fills = _FILLS if last else _FILLS[:2]
        return fills[int(self._rng.integers(len(fills)))]

    def _bar(
        self, bar: int, lanes: Mapping[str, str], fill: tuple[str, ...], *, crash: bool
    ) -> list[Note]:
        rng = self._rng
        steps = self._clock.steps_per_bar
        fill_start = steps - len(fill)
        notes = []
        for lane, pattern in lanes.items():
            for step, mark in enumerate(pattern[:steps]):
                if step >= fill_start and lane != "kick":
                    continue
                if mark == "." and lane == "kick" and step in self._extra_kicks:
                    mark = "x" if rng.random() < self._busy else mark
                if mark == "." or (mark != "X" and rng.random() < 0.3 * self._busy):
                    continue
                opens = lane == "hat" and step == steps - 2 and rng.random() < 0.25
                notes.append(self._stroke("open" if opens else lane, bar, step, _VELOCITY[mark]))
        for offset, lane in enumerate(fill):
            if lane:
                swell = 80 + 32 * offset // max(1, len(fill) - 1)
                notes.append(self._stroke(lane, bar, fill_start + offset, swell))
        if crash and rng.random() < 0.8:
            notes.append(self._stroke("crash", bar, 0.0, 108))
        return notes

    def _stroke(self, lane: str, bar: int, step: float, velocity: int) -> Note:
        rng = self._rng
        human = velocity * _LANE_SCALE.get(lane, 1.0) + rng.normal(0, 4)
        late = rng.normal(0.004 if lane == "snare" else 0.0, self._jitter_s)
        return Note(
            start_s=max(0.0, self._clock.seconds(bar, step) + late),
            duration_s=_LENGTH_S.get(lane, 0.25),
            pitch=_KEYS[lane],
            velocity=int(np.clip(human, 20, 127)),
        )

    def kick_steps(self) -> tuple[int, ...]:
        """Steps of the bar on which the kick falls: the bass locks to them."""
        pattern = self._groove.get("kick", "X")
        return tuple(step for step, mark in enumerate(pattern) if mark in "Xx") or (0,)
