"""What holds for every test and for the processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Threads beyond the cores wait for each other and burn what the tests beside them need; and another
# number of threads rounds otherwise. torch reads this when it is imported.
os.environ["OMP_NUM_THREADS"] = "1"

SERVICES = Path(__file__).parent / "flows" / "service"
"""A folder whose tests take longest, and wait rather than work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest goes first, so that no process is left with it at the end."""
    first = {SERVICES / "test_ui.py": 0, SERVICES / "test_service.py": 1}
    items.sort(
        key=lambda item: first.get(item.path, 2 if item.path.is_relative_to(SERVICES) else 3)
    )
