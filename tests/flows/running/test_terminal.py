"""A run goes on when nobody reads what it prints any more: its Prefect worker was killed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest
from prefect import flow
from prefect.logging import get_run_logger
from prefect.logging.handlers import PrefectConsoleHandler

from flows.running.parameters import StageParameters
from flows.running.progress import progress
from flows.running.stage import stage_run
from storage.workspace import Workspace


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as pipe:
        yield pipe


def test_the_progress_bar(unread: TextIO, monkeypatch: pytest.MonkeyPatch) -> None:
    @flow
    def work() -> float:
        with progress("unread", 1, "lines") as bar:
            bar.advance()
        return bar.done

    monkeypatch.setattr("sys.stderr", unread)
    done = work()
    monkeypatch.undo()
    assert done == 1


def test_the_log(unread: TextIO, tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path / "workspace"), create=True)
    handler = PrefectConsoleHandler(stream=unread, level=logging.WARNING)

    @flow
    def work() -> str:
        parameters = StageParameters(workspace=workspace.location)
        with stage_run(
            "ingest", parameters, corpus="music", fingerprint="f0", workspace=workspace
        ) as run:
            get_run_logger().warning("nobody reads this")
        return run.stage

    logger = logging.getLogger()
    logger.addHandler(handler)
    try:
        assert work() == "ingest"
    finally:
        logger.removeHandler(handler)
