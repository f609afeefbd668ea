"""A plot that grows is one artifact; where the server is down, the work goes on without it."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.reports import live_plot as module
from flows.reports.live_plot import live_plot
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


def work(clock: Clock, key: str, cost_s: float, seconds: int) -> int:
    """Do something for a while; returns how often it was drawn."""
    draw = Drawing(clock, cost_s)

    @flow
    def busy() -> None:
        with live_plot(key, "A curve", draw, lambda: f"Drawn {draw.count}") as plot:
            for _ in range(seconds):
                clock.now_s += 1
                plot.update()

    busy()
    return draw.count


def test_it_is_one_artifact_that_is_drawn_anew(clock: Clock) -> None:
    assert work(clock, "grows-loss", 0.0, 60) == 6 + 1
    [only] = artifacts(key="grows-loss")
    assert only["data"].startswith("Drawn 7\n\n![A curve](data:image/png;base64,")
    first = only["data"]
    assert only["updated"] > only["created"]
    work(clock, "other-loss", 0.0, 10)
    [other] = artifacts(key="other-loss")
    assert other["data"] != first


def test_drawing_takes_at_most_a_hundredth_of_the_time(clock: Clock) -> None:
    count = work(clock, "slow-loss", 2.0, 1000)
    assert 2 <= count - 1 <= 6


def test_the_work_goes_on_where_nobody_listens(clock: Clock) -> None:
    draw = Drawing(clock, 0.0)
    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        live_plot("nobody-loss", "A curve", draw) as plot,
    ):
        for _ in range(30):
            clock.now_s += 1
            plot.update()
    assert draw.count == 3 + 1
    assert not artifacts(key="nobody-loss")
