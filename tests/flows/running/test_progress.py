from __future__ import annotations

import pytest
from prefect import flow

from flows.running import progress as module
from flows.running.progress import progress
from tests.flows.reports.pages import artifacts


class Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_it_says_how_fast_it_goes_and_how_much_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seen = Clock(), []
    monkeypatch.setattr(module, "time", clock)

    @flow
    def train() -> None:
        with progress("lessons", 1000, "steps", done=400) as bar:
            seen.extend(artifacts(key="lessons-progress"))
            clock.now_s = 10.0
            bar.advance(50, "loss 0.5")
            seen.extend(artifacts(key="lessons-progress"))
            bar.advance(550)

    train()
    before, during = seen
    [after] = artifacts(key="lessons-progress")
    assert (before["data"], before["description"]) == (40.0, "lessons: 400 of 1000 steps")
    # five a second since this run began, whatever an earlier one did
    assert during["description"] == (
        "lessons: 450 of 1000 steps, 5 a second, 1 min 50 s left; loss 0.5"
    )
    assert (after["data"], after["description"]) == (100.0, "lessons: 1000 of 1000 steps in 10 s")
