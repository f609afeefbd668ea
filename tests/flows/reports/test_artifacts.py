from __future__ import annotations

import io
import json
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure
from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.reports.artifacts import MAX_ARTIFACT_BYTES, PLAYER_S, Report
from flows.server.pages import CAME_OF_IT, leave_link
from flows.server.process import REPORTS_VARIABLE
from storage.music_format import MusicFormat
from storage.workspace import Workspace
from tests.flows.reports.pages import artifacts

MUSIC = MusicFormat()
SAMPLE_RATE = MUSIC.sample_rate


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(Workspace(str(tmp_path / "w"), create=True), "score", "run-1")


def test_a_title_is_a_text(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """A song's name stands in it, whoever wrote that."""
    told: list[str] = []
    monkeypatch.setattr(
        "flows.reports.artifacts.create_markdown_artifact",
        lambda _, key, description: told.append(f"{key} {description}"),
    )
    report.publish("The best song: ![x](https://example.org/x.png)<img src=x>")
    page = report.workspace.read("reports/run-1/report.md").decode()
    for shown in (page, *told):
        assert "![x]" not in shown
        assert "<img" not in shown
    assert len(told) == 1


def test_what_the_ui_shows_is_kept_as_files(report: Report) -> None:
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.5, 0.5, (2, 20 * SAMPLE_RATE)).astype(np.float32)

    @flow
    def publish() -> None:
        report.table("numbers", [{"a": 1}], "A table")
        figure = Figure()
        figure.subplots().plot([1, 2])
        report.plot("plot", figure, "A plot")
        report.player("sound", audio, SAMPLE_RATE, "A sound")
        report.publish("Everything")

    publish()
    read = report.workspace.read
    assert json.loads(read("reports/run-1/numbers.json")) == [{"a": 1}]
    assert read("reports/run-1/plot.png").startswith(b"\x89PNG")
    mp3, rate = soundfile.read(io.BytesIO(read("reports/run-1/sound.mp3")))
    assert rate == SAMPLE_RATE
    assert PLAYER_S - 0.2 < len(mp3) / rate < PLAYER_S + 0.2
    markdown = read("reports/run-1/report.md").decode()
    assert markdown.startswith("# Everything\n\n")
    page = read("reports/run-1/index.html").decode()
    for file in ("plot.png", "sound.mp3", "sound-spectrogram.png"):
        assert f'src="{file}"' in page
        assert report.workspace.exists(f"reports/run-1/{file}")
    [shown, *_] = artifacts(key="score-report")
    assert shown["description"] == "Everything"
    assert f"# Everything\n\n{shown['data']}" == markdown
    assert "data:image/png;base64," in markdown
    assert '<audio controls src="data:audio/mpeg;base64,' in markdown


@pytest.mark.parametrize(
    ("rate", "channels", "played"), [(16_000, 1, 16_000), (30_000, 2, 32_000), (96_000, 2, 48_000)]
)
def test_any_workspace_can_be_heard(report: Report, rate: int, channels: int, played: int) -> None:
    """MP3 knows nine rates."""
    time_s = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time_s).astype(np.float32)
    report.player("sound", np.stack([tone] * channels), rate, "A tone")
    content = report.workspace.read("reports/run-1/sound.mp3")
    heard, found = soundfile.read(io.BytesIO(content), always_2d=True)
    assert (found, heard.shape[1]) == (played, channels)
    spectrum = np.abs(np.fft.rfft(heard[:played, 0]))
    assert np.argmax(spectrum) / len(heard[:played]) * played == pytest.approx(1000, abs=2)


def test_a_report_stays_below_the_size_the_ui_takes(report: Report) -> None:
    for number in range(5):
        report.text(str(number) * (MAX_ARTIFACT_BYTES // 3))

    @flow
    def publish() -> None:
        report.publish("Long")

    publish()
    assert len(report.workspace.read("reports/run-1/report.md")) < MAX_ARTIFACT_BYTES + 100
    assert len(report.workspace.read("reports/run-1/index.html")) > MAX_ARTIFACT_BYTES, "all of it"


def test_a_report_leads_to_its_page_where_a_server_shows_it(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    @flow
    def publish() -> None:
        report.publish("Shown", "A head")

    link = "(/reports/run-1/index.html)"
    for served, leads in ((f"{report.workspace.location}/reports", True), ("/else", False)):
        monkeypatch.setenv(REPORTS_VARIABLE, served)
        publish()
        [shown, *_] = artifacts(key="score-report")
        assert (link in shown["data"].split("A head")[0]) is leads
        assert link not in report.workspace.read("reports/run-1/index.html").decode()


def test_a_link_is_left_on_a_page_that_no_event_could_hold() -> None:
    @flow
    def publish() -> UUID:
        page = f"{CAME_OF_IT} nothing yet\n\n{'x' * 1_600_000}"
        made = create_markdown_artifact(page, key="large-report")
        assert isinstance(made, UUID)
        return made

    leave_link(publish(), "[a](b)")
    [shown] = artifacts(key="large-report")
    assert shown["data"].startswith(f"{CAME_OF_IT} [a](b)\n\nxxx")
