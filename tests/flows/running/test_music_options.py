from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from flows.running.music_options import MusicOptions
from storage.music_format import MusicFormat
from storage.workspace import Workspace, WorkspaceError


def test_a_new_workspace_holds_what_was_said(tmp_path: Path) -> None:
    said = MusicOptions(sources=["vocals", "accompaniment"], sample_rate=16_000, channels=1)
    wanted = MusicFormat(sources=("vocals", "accompaniment"), sample_rate=16_000, num_channels=1)
    location = str(tmp_path / "w")
    assert said.music_in(location) == wanted
    assert said.begin(location, dry_run=True).music == wanted
    assert not (tmp_path / "w").exists()
    assert said.begin(location).music == wanted
    assert Workspace(location).music == wanted


def test_nothing_said_is_the_default_or_what_is_there(tmp_path: Path) -> None:
    assert MusicOptions().begin(str(tmp_path / "new")).music == MusicFormat()
    there = str(tmp_path / "there")
    music = MusicFormat(sample_rate=48_000, sources=("kick", "snare", "other"))
    Workspace(there, create=True, music=music)
    assert MusicOptions().begin(there).music == music
    assert MusicOptions(sample_rate=48_000).begin(there).music == music
    assert MusicOptions(sources=["kick", "snare", "other"], channels=2).begin(there).music == music


def test_other_music_is_refused_in_one_line_with_both(tmp_path: Path) -> None:
    location = Workspace(str(tmp_path / "w"), create=True).location
    for options in (MusicOptions(sample_rate=48_000), MusicOptions(sources=["bass", "drums"])):
        for open_it in (options.music_in, options.begin):
            with pytest.raises(WorkspaceError) as refused:
                open_it(location)
            assert "\n" not in str(refused.value)
            assert "holds drums, bass, other, vocals at 44100 Hz in stereo, and" in str(
                refused.value
            )


@pytest.mark.parametrize(
    "given", ["kick, snare,other", ["kick,snare", "other"], ["kick", "snare", "other"]]
)
def test_sources_are_a_list_or_have_commas_between_them(given: Any) -> None:
    assert MusicOptions(sources=given).sources == ["kick", "snare", "other"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": "bass,bass"}, "source 'bass' is named twice"),
        ({"sources": "bass,mixture"}, "names the sum of all sources"),
        ({"sources": "bass"}, "2 to 16"),
        ({"sources": 3}, "valid list"),
        ({"sample_rate": 1000}, "from 8000 to 96000 Hz"),
        ({"channels": 6}, "less than or equal to 2"),
    ],
)
def test_what_can_not_be_is_refused_by_its_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as refused:
        MusicOptions.model_validate(fields)
    assert refused.value.errors()[0]["loc"] == (next(iter(fields)),)


def test_the_options_are_in_no_fingerprint() -> None:
    assert MusicOptions(sources=["a", "b"], sample_rate=16_000, channels=1).content() == {}
