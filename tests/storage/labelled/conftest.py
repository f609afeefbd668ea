from __future__ import annotations

import uuid
from pathlib import Path

import pytest


@pytest.fixture(params=["local", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL or path of a place of the test's own."""
    return str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}"
