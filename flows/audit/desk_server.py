"""The page on which an audit is answered, where no service shows it: a server of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from flows.server.hosts import LOCALHOST, address_of, answering_to
from flows.server.report_pages import behind_login, by_ear


def serve_desk(workspace: str, login: str, ready: Callable[[str], None]) -> None:
    """Serve it to this machine alone until somebody presses Ctrl-C.

    Args:
        workspace: its location.
        login: ``user:password`` that it asks for.
        ready: told the address once it is there.
    """
    with socket.socket() as listening:
        listening.bind((LOCALHOST, 0))
        app = answering_to(behind_login(by_ear(workspace), login))
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none")
        listening.listen()  # whoever comes now waits until it answers
        ready(address_of(listening.getsockname()[1]))
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
