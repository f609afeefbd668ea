"""A workspace with two songs, in which trainings take seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from flows.train.curves import Curves
from storage.workspace import Workspace
from tests.flows.conftest import play, write
from tests.flows.train.learning import take


@pytest.fixture
def nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "figure", lambda *_: Figure())


@pytest.fixture(scope="package")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("training")
    for seed, song in enumerate(("train/A", "valid/C")):
        for name, audio in play(seed).items():
            write(root / "set" / song / f"{name}.wav", audio)
    take(root / "workspace", root / "set")
    return root


@pytest.fixture
def workspace(ingested: Path, tmp_path: Path) -> Workspace:
    """One of its own, with the same songs."""
    shutil.copytree(ingested / "workspace", tmp_path / "workspace")
    return Workspace(str(tmp_path / "workspace"))
