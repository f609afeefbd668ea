"""A folder of music may hold a stranger's Python: none is run, wherever a command begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.tables.manifests import Manifests
from storage.workspace import Workspace
from tests.flows.conftest import play, write

NAMES = ("json", "multiprocessing", "numpy", "prefect", "random", "socket", "storage", "types")


@pytest.mark.slow
def test_modules_in_the_folder_of_music_are_not_imported(tmp_path: Path) -> None:
    """Neither by the Prefect server, nor by Dask's workers, nor by the process that decodes."""
    music, marks = tmp_path / "music", tmp_path / "marks"
    marks.mkdir()
    write(music / "a.wav", np.sum(list(play(1).values()), axis=0))
    for name in NAMES:
        (music / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w').close()\n")
    # -P, as the command has it that is installed
    command = [sys.executable, "-P", "-m", "flows.cli", "ingest", "--workers", "2"]
    places = ["--workspace", str(tmp_path / "workspace"), "--source", "."]
    subprocess.run([*command, *places], cwd=music, check=True)
    assert [path.name for path in marks.iterdir()] == []
    manifests = Manifests(Workspace(str(tmp_path / "workspace")))
    [partition] = manifests.partitions("tracks", "music")
    assert manifests.count(partition) == 1
