"""What is shown of the progress can't end the work."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from prefect import flow

from flows.progress import progress


def test_work_goes_on_when_nobody_reads_the_bar_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard error of a deployed run is a pipe to its Prefect worker, which may be killed."""

    @flow
    def work() -> float:
        with progress("unread", 1) as bar:
            bar.advance()
        return bar.done

    reader, writer = os.pipe()
    os.close(reader)
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr("sys.stderr", pipe)
        done = work()
        monkeypatch.undo()
    assert done == 1
