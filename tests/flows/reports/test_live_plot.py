"""A plot that grows is one artifact; where the server is down, the work goes on without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.reports import live_plot as module
from flows.reports.artifacts import Report
from flows.reports.live_plot import live_plot
from flows.server.process import REPORTS_VARIABLE
from storage.workspace import Workspace
from tests.flows.reports.pages import artifacts


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


class Drawing:
    """Draws a curve, counts how often, and takes its time."""

    def __init__(self, clock: Clock, cost_s: float) -> None:
        self.clock, self.cost_s, self.count = clock, cost_s, 0

    def __call__(self) -> Figure:
        self.count += 1
        self.clock.now_s += self.cost_s
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot(range(self.count + 1))
        return figure


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "w"), create=True)


def work(clock: Clock, report: Report, cost_s: float, seconds: int) -> int:
    """Do something for a while; returns how often it was drawn."""
    draw = Drawing(clock, cost_s)

    @flow
    def busy() -> None:
        with live_plot(report, "loss", "A curve", draw, lambda: f"Drawn {draw.count}") as plot:
            for _ in range(seconds):
                clock.now_s += 1
                plot.update()

    busy()
    return draw.count


def test_it_is_one_artifact_that_is_drawn_anew(clock: Clock, workspace: Workspace) -> None:
    assert work(clock, Report(workspace, "grows", "grows-1"), 0.0, 60) == 6 + 1
    [only] = artifacts(key="grows-loss")
    assert only["data"].startswith("Drawn 7\n\n![A curve](data:image/png;base64,")
    first = only["data"]
    assert only["updated"] > only["created"]
    work(clock, Report(workspace, "other", "other-1"), 0.0, 10)
    [other] = artifacts(key="other-loss")
    assert other["data"] != first


def test_its_page_loads_itself_anew_until_the_work_ends_and_the_report_is_there(
    clock: Clock, workspace: Workspace
) -> None:
    report = Report(workspace, "seen", "seen-1")
    report.text("What came of it")

    def shown() -> str:
        return workspace.read("reports/seen-1/index.html").decode()

    @flow
    def busy() -> None:
        with live_plot(report, "loss", "A curve", Drawing(clock, 0.0), lambda: "Words") as plot:
            plot.publish()
            assert '<meta http-equiv="refresh" content="15">' in shown()
            assert "<p>Words</p>" in shown()
            assert 'src="so-far.png"' in shown()
            assert workspace.read("reports/seen-1/so-far.png").startswith(b"\x89PNG")
        assert 'src="so-far.png"' in shown()
        assert "http-equiv" not in shown()
        report.publish("Seen")

    busy()
    assert "What came of it" in shown()
    assert "http-equiv" not in shown()
    assert not workspace.exists("reports/seen-1/so-far.png")


def test_the_artifact_begins_with_where_its_page_is(
    clock: Clock, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPORTS_VARIABLE, f"{workspace.location}/reports")
    work(clock, Report(workspace, "served", "served-1"), 0.0, 1)
    [only] = artifacts(key="served-loss")
    link = "[A page that loads itself anew](/reports/served-1/index.html)"
    assert only["data"].startswith(link)


def test_drawing_takes_at_most_a_hundredth_of_the_time(clock: Clock, workspace: Workspace) -> None:
    count = work(clock, Report(workspace, "slow", "slow-1"), 2.0, 1000)
    assert 2 <= count - 1 <= 6


def test_the_work_goes_on_where_nobody_listens(clock: Clock, workspace: Workspace) -> None:
    draw = Drawing(clock, 0.0)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        live_plot(Report(workspace, "nobody", "nobody-1"), "loss", "A curve", draw) as plot,
    ):
        for _ in range(30):
            clock.now_s += 1
            plot.update()
    assert draw.count == 3 + 1
    assert not artifacts(key="nobody-loss")
