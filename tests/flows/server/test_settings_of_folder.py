"""No file in the folder that a command is started in sets up the libraries that we use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows.cli import main as cli
from flows.server.settings_of_folder import refuse_settings_of
from storage.errors import UserError

SETTINGS = {
    ".env": "# mine\nexport prefect_logging_settings_path='evil.yml'\n",
    "prefect.toml": "[logging]\nsettings_path = 'evil.yml'\n",
    "pyproject.toml": "[tool . 'prefect'.logging]\nsettings_path = 'evil.yml'\n",
    "matplotlibrc": "backend: module://evil\n",
    ".numba_config.yaml": "cache_dir: evil\n",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_a_stranger_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the command: before anything is imported that would read them."""
    (tmp_path / name).write_text(SETTINGS[name])
    monkeypatch.chdir(tmp_path)
    for command in (["status"], ["up"], ["ingest", "--source", "."], ["separate", "a.wav"]):
        assert cli.main(command) == cli.EXIT_USER_ERROR
        assert f"{tmp_path / name}: would set up a library" in capsys.readouterr().err


def test_what_can_not_be_read_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[")
    with pytest.raises(UserError):
        refuse_settings_of(tmp_path)
    os.mkfifo(tmp_path / "prefect.toml")  # which Prefect would wait for
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(UserError):
        refuse_settings_of(tmp_path)


def test_a_project_of_somebodys_own_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TOKEN=1\n")
    project = "[project]\nname = 'mine'\ndependencies = ['prefect']\n[tool.ruff]\n"
    (tmp_path / "pyproject.toml").write_text(project)
    refuse_settings_of(tmp_path)
