"""What holds for every test and for the processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# Threads beyond the cores wait for each other and burn what the tests beside them need; and another
# number of threads rounds otherwise. torch reads this when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"

ONE_SERVICE = PurePosixPath("tests/flows/service")
"""A folder whose tests take longest, and wait rather than work."""


class ByFile(LoadFileScheduling):
    """Gives a process whole files, and of one folder all."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return str(ONE_SERVICE) if PurePosixPath(file).parent == ONE_SERVICE else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that no process is left with it at the end."""
    folder = Path(__file__).parents[1] / ONE_SERVICE
    items.sort(key=lambda item: not item.path.is_relative_to(folder))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Called where tests run in several processes."""
    return ByFile(config, log)
