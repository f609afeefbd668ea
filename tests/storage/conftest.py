from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.workspace import Workspace


@pytest.fixture(params=["local", "memory"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workspace]:
    """A new workspace, on a local disk and in memory."""
    if request.param == "local":
        yield Workspace(str(tmp_path / "workspace"), create=True)
        return
    made = Workspace(f"memory://{uuid.uuid4().hex}", create=True)
    yield made
    made.fs.rm(made.root, recursive=True)
