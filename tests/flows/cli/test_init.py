"""``silentmix init``, and the same options on the first ingest: what is refused, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.cli import main as cli
from storage.music_format import MusicFormat
from storage.workspace import Workspace
from tests.flows.cli.test_cli import complaint
from tests.flows.conftest import play, write


@pytest.fixture(autouse=True)
def no_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own server is there already."""
    monkeypatch.setattr(cli, "configure_prefect", lambda *_: False)


def test_a_workspace_is_begun_for_the_music_that_was_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = str(tmp_path / "w")
    said = ["init", "--workspace", location, "--sources", "vocals,accompaniment"]
    said += ["--sample-rate", "16000", "--channels", "1"]
    for _ in range(2):
        assert cli.main(said) == 0
        shown = capsys.readouterr().out
        assert shown == f"{location}: vocals, accompaniment at 16000 Hz in mono\n"
    assert Workspace(location).music.sources == ("vocals", "accompaniment")
    assert cli.main(["init", "--workspace", location]) == 0


def test_a_configuration_says_it_too(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"workspace: {tmp_path / 'w'}\nsources: [kick, snare, other]\n")
    assert cli.main(["init", "--config", str(config)]) == 0
    assert Workspace(str(tmp_path / "w")).music == MusicFormat(sources=("kick", "snare", "other"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--sources", "bass,bass"], "sources: source 'bass' is named twice"),
        (["--sources", "bass,../vocals"], "source '../vocals': a name is a small letter"),
        (["--sources", "bass,mixture"], "source 'mixture': that names the sum"),
        (["--sources", "rest,bass"], "source 'rest': that names what a song's other files do not"),
        (["--sources", "bass,skip"], "source 'skip': that names what is left out"),
        (["--sources", ""], "sources: there is nothing between two commas, or at an end, of ''"),
        (["--sources", "Bass,,vocals"], "or at an end, of 'Bass,,vocals'"),
        (["--sources", "bass"], "a workspace has 2 to 16"),
        (
            ["--sample-rate", "4000"],
            "silentmix: sample_rate must be from 8000 to 96000 Hz, not 4000",
        ),
        (["--channels", "6"], "channels must be at most 2, not 6"),
    ],
)
def test_what_no_workspace_can_hold(
    options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--workspace", str(tmp_path / "w")]
    assert expected in complaint(capsys, "init", *place, *options)
    ingest = ["ingest", *place, "--source", str(tmp_path), *options]
    assert expected in complaint(capsys, *ingest)
    assert not (tmp_path / "w").exists()


def test_other_music_than_the_workspace_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = Workspace(str(tmp_path / "w"), create=True).location
    write(tmp_path / "music" / "a.wav", play(1)["bass"])
    ingest = ["ingest", "--workspace", location, "--source", str(tmp_path / "music")]
    for command in (["init", "--workspace", location], ingest, [*ingest, "--dry-run"]):
        said = complaint(capsys, *command, "--sample-rate", "48000")
        assert said == (
            f"silentmix: {location}: holds drums, bass, other, vocals at 44100 Hz in stereo, and "
            "can't hold drums, bass, other, vocals at 48000 Hz in stereo too; choose another "
            "--workspace"
        )
    assert not Workspace(location).find("audio")


def test_a_labelled_set_of_other_sources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, audio in play(1).items():
        write(tmp_path / "set/train/Song" / f"{source}.wav", audio)
    ingest = ["ingest", "--workspace", str(tmp_path / "w"), "--source", str(tmp_path / "set")]
    said = complaint(capsys, *ingest, "--labelled", "--sources", "speech,music")
    assert "speech, music" in said
    assert str(tmp_path / "set") in said
    assert not (tmp_path / "w").exists()
