"""The Prefect server of a workspace, as a process."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from flows.server.process import (
    CHOSEN_BY_USER,
    configure_prefect,
    server_command,
    server_environment,
)

PORT = 0
"""Any: it never listens."""
LIMIT_S = 180


def test_a_server_that_cannot_start_ends(tmp_path: Path) -> None:
    """Half of one would answer that it is well, and remember nothing."""
    (tmp_path / ".prefect").write_text("no folder")
    environ = dict(os.environ)
    for name in CHOSEN_BY_USER:
        environ.pop(name, None)
    configure_prefect(str(tmp_path), environ)
    ended = subprocess.run(
        server_command(PORT, lasting=True),
        env=server_environment(PORT, environ),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert ended.returncode != 0
    assert "NotADirectoryError" in ended.stderr
