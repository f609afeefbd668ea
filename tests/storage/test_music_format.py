from __future__ import annotations

from typing import Any

import pytest

from storage.errors import UserError
from storage.music_format import MusicFormat


def test_the_default_is_that_of_musdb18() -> None:
    music = MusicFormat()
    assert music.sources == ("drums", "bass", "other", "vocals")
    assert (music.sample_rate, music.num_channels, music.hop_samples) == (44_100, 2, 4096)
    assert music.rest == "other"
    assert music.frame_rate == pytest.approx(10.77, abs=0.01)


@pytest.mark.parametrize(
    ("sample_rate", "hop_samples"),
    [(8_000, 1024), (16_000, 2048), (22_050, 2048), (44_100, 4096), (48_000, 4096), (96_000, 8192)],
)
def test_a_frame_is_a_power_of_two_near_that_of_the_default(
    sample_rate: int, hop_samples: int
) -> None:
    assert MusicFormat(sample_rate=sample_rate).hop_samples == hop_samples


def test_not_every_format_has_a_rest() -> None:
    assert MusicFormat(sources=("vocals", "accompaniment")).rest is None


def test_what_was_written_is_read_back() -> None:
    music = MusicFormat(sources=("kick", "snare", "other"), sample_rate=16_000, num_channels=1)
    assert MusicFormat.from_json(music.to_json()) == music


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": ("vocals",)}, "sources are vocals: a workspace has 2 to 16 of them"),
        ({"sources": ()}, "sources are none: a workspace has 2 to 16"),
        ({"sources": tuple(f"s{n}" for n in range(17))}, "a workspace has 2 to 16"),
        ({"sources": ("bass", "bass")}, "source 'bass' is named twice"),
        ({"sources": ("bass", "mixture")}, "source 'mixture': that names the sum"),
        ({"sources": ("bass", "mean")}, "source 'mean': that names the mean"),
        ({"sources": ("bass", "Vocals")}, "source 'Vocals': a name is a small letter"),
        ({"sources": ("bass", "a+b")}, r"source 'a\+b'"),
        ({"sources": ("bass", "../x")}, "source '../x'"),
        ({"sources": ("bass", "")}, "source ''"),
        ({"sources": ("bass", "x" * 33)}, "32 at most"),
        ({"sample_rate": 7_999}, "sample_rate must be from 8000 to 96000 Hz, not 7999"),
        ({"sample_rate": 192_000}, "sample_rate must be from 8000 to 96000 Hz, not 192000"),
        ({"num_channels": 6}, "num_channels must be 1 for mono or 2 for stereo, not 6"),
    ],
)
def test_what_is_no_format_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        MusicFormat(**fields)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"sources": ["bass", "vocals"]},
        MusicFormat().to_json() | {"sources": "bass"},
        MusicFormat().to_json() | {"sources": ["bass", 3]},
        MusicFormat().to_json() | {"sample_rate": "44100"},
        MusicFormat().to_json() | {"num_channels": True},
        MusicFormat().to_json() | {"bits": 16},
    ],
)
def test_what_is_no_json_of_a_format_is_refused(value: object) -> None:
    with pytest.raises(UserError):
        MusicFormat.from_json(value)
