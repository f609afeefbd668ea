"""What killed processes leave among temporary files goes, and nothing else."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from storage.scratch import LEFT_AFTER_S, PREFIX, sweep_scratch


def test_what_is_left_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, busy, file, others, results = (
        f"{PREFIX}old", f"{PREFIX}busy", f"{PREFIX}file", "others-old", "silentmix-results"
    )  # fmt: skip
    for name in (f"{old}/copy", f"{busy}/copy", file, f"{others}/copy", f"{results}/copy"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / others)
    now_s = 1e9 + LEFT_AFTER_S + 1
    for path in tmp_path.rglob("*"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    os.utime(tmp_path / busy / "copy", (now_s, now_s))
    assert sweep_scratch(now_s) == 3
    assert {path.name for path in tmp_path.iterdir()} == {busy, others, results}
    assert (tmp_path / others / "copy").exists()
