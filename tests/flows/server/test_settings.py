"""What is put in place before Prefect is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prefect._internal.analytics import enabled
from prefect.settings.models.server.ui import ServerUISettings

from flows.server.process import configure_prefect


def test_prefect_tells_its_makers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is not the reason."""
    monkeypatch.setattr(enabled, "is_ci_environment", lambda: False)
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    assert enabled.is_telemetry_enabled()
    environ: dict[str, str] = {}
    configure_prefect(str(tmp_path), environ)
    monkeypatch.setattr(os, "environ", environ)
    assert not enabled.is_telemetry_enabled()


def test_the_interface_advertises_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    configure_prefect(str(tmp_path), environ)
    monkeypatch.setattr(os, "environ", environ)
    assert not ServerUISettings().show_promotional_content
