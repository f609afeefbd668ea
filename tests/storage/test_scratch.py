"""What killed processes leave among temporary files goes, and nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from storage.scratch import LEFT_AFTER_S, sweep_scratch


def test_what_is_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("silentmix-old/copy", "silentmix-busy/copy", "silentmix-file", "others-old/copy"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "silentmix-link").symlink_to(tmp_path / "others-old")
    now_s = 1e9 + LEFT_AFTER_S + 1
    for path in tmp_path.rglob("*"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    os.utime(tmp_path / "silentmix-busy" / "copy", (now_s, now_s))
    assert sweep_scratch(now_s) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"silentmix-busy", "others-old"}
    assert (tmp_path / "others-old" / "copy").exists()
