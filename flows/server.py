"""The Prefect server that shows what ran: yours if you have one, else one inside the workspace.

Whoever sets ``PREFECT_API_URL``, ``PREFECT_PROFILE`` or ``PREFECT_HOME`` has chosen a server.
Otherwise runs are recorded in ``<workspace>/.prefect`` by a server that lives as long as the
command, and ``silentmix ui`` shows them. Nothing here imports Prefect: its settings must be in
place before anyone does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

CHOSEN_BY_USER = ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME")
DEFAULT_PORT = 4200


def configure_prefect(workspace: str, environ: MutableMapping[str, str]) -> None:
    """Put Prefect's settings for a workspace in place, where the user has not."""
    if not any(name in environ for name in CHOSEN_BY_USER) and "://" not in workspace:
        home = Path(workspace).resolve() / ".prefect"
        home.mkdir(parents=True, exist_ok=True)
        environ["PREFECT_HOME"] = str(home)
    defaults = {
        # a first start migrates the database, which takes longer than Prefect's 20 s
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # the terminal has progress bars and one line for an error; the UI has the logs
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    for name, value in defaults.items():
        environ.setdefault(name, value)


def serve_ui(port: int = DEFAULT_PORT) -> int:
    """Run the server and its UI until interrupted; returns its exit status."""
    address = f"http://127.0.0.1:{port}"
    # Without this the pages talk to port 4200, whatever the port they came from.
    environ = {**os.environ, "PREFECT_SERVER_UI_API_URL": f"{address}/api"}
    print(f"Prefect UI: {address} (stop it with Ctrl-C)", flush=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    try:
        return subprocess.run(command, env=environ, check=False).returncode
    except KeyboardInterrupt:
        return 0
