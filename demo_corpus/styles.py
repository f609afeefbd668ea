"""Styles of music: tempo, swing, and which grooves, bass lines and accompaniments they use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Style:
    """What songs of a style have in common. Grooves, lines and patterns are named choices."""

    name: str
    bpm: tuple[float, float]
    scales: tuple[str, ...]
    grooves: tuple[str, ...]
    bass_lines: tuple[str, ...]
    comping: tuple[str, ...]
    comp_families: tuple[str, ...]
    num_tones: tuple[int, ...] = (3,)
    beats_per_bar: int = 4
    swing_eighths: float = 0.0
    swing_sixteenths: float = 0.0
    bars_per_chord: tuple[float, ...] = (1.0, 1.0, 2.0, 0.5)


STYLES = (
    Style(
        name="rock",
        bpm=(104, 150),
        scales=("major", "minor", "mixolydian"),
        grooves=("rock", "rock_busy", "rock_half"),
        bass_lines=("eighths", "kick", "root_fifth"),
        comping=("eighths", "held", "push"),
        comp_families=("guitars", "keys", "guitars"),
    ),
    Style(
        name="pop",
        bpm=(92, 128),
        scales=("major", "minor", "major"),
        grooves=("rock", "pop", "four_floor", "rock_half"),
        bass_lines=("kick", "eighths", "held", "octaves"),
        comping=("held", "arpeggio", "push", "offbeat"),
        comp_families=("keys", "plucks", "guitars"),
        swing_sixteenths=0.02,
    ),
    Style(
        name="funk",
        bpm=(92, 118),
        scales=("dorian", "mixolydian", "minor"),
        grooves=("funk", "funk_ghosts"),
        bass_lines=("syncopated", "kick", "octaves"),
        comping=("sixteenths", "offbeat", "push"),
        comp_families=("guitars", "keys"),
        num_tones=(4, 4, 3),
        swing_sixteenths=0.05,
    ),
    Style(
        name="ballad",
        bpm=(80, 96),
        scales=("major", "minor"),
        grooves=("ballad", "rock_half", "pop"),
        bass_lines=("held", "root_fifth", "kick"),
        comping=("arpeggio", "held", "held"),
        comp_families=("keys", "plucks", "guitars"),
        num_tones=(3, 4),
        bars_per_chord=(1.0, 0.5, 0.5),
    ),
    Style(
        name="dance",
        bpm=(116, 134),
        scales=("minor", "dorian", "major"),
        grooves=("four_floor", "disco"),
        bass_lines=("octaves", "offbeat", "syncopated"),
        comping=("offbeat", "sixteenths", "held"),
        comp_families=("keys", "plucks"),
    ),
    Style(
        name="swing",
        bpm=(112, 150),
        scales=("major", "dorian", "minor"),
        grooves=("jazz", "shuffle"),
        bass_lines=("walking", "walking", "root_fifth"),
        comping=("jazz", "push"),
        comp_families=("keys", "guitars"),
        num_tones=(4,),
        swing_eighths=0.14,
    ),
    Style(
        name="hiphop",
        bpm=(80, 100),
        scales=("minor", "dorian"),
        grooves=("boombap", "trap"),
        bass_lines=("kick", "held", "syncopated"),
        comping=("arpeggio", "held", "push"),
        comp_families=("keys", "plucks"),
        num_tones=(4, 3),
        swing_sixteenths=0.08,
    ),
    Style(
        name="latin",
        bpm=(96, 140),
        scales=("minor", "major", "dorian"),
        grooves=("bossa", "songo"),
        bass_lines=("tumbao", "root_fifth"),
        comping=("montuno", "jazz", "offbeat"),
        comp_families=("guitars", "keys", "plucks"),
        num_tones=(4, 3),
    ),
    Style(
        name="waltz",
        bpm=(96, 150),
        scales=("major", "minor"),
        grooves=("waltz", "waltz_busy"),
        bass_lines=("held", "root_fifth", "walking"),
        comping=("waltz", "arpeggio", "held"),
        comp_families=("keys", "guitars", "plucks"),
        beats_per_bar=3,
        bars_per_chord=(1.0, 1.0, 2.0),
    ),
)
