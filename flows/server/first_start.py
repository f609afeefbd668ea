"""Servers of one database begin one after the other: the first one makes it, the others find it.

Each of two commands that begin in a new workspace starts a server of its own, and Prefect makes the
tables of a database that has none, whoever else is about to.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCK = "starting"


def one_after_the_other(app: ASGIApp, home: Path) -> ASGIApp:
    """An application whose start waits for those of others of the same folder.

    Args:
        app: what is started.
        home: folder of the server's database; a file in it is locked meanwhile.
    """

    async def started_alone(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        # nothing else is there yet that could not wait too
        with (home / LOCK).open("wb") as lock:
            _lock(lock, fcntl.LOCK_EX)

            async def sent(message: Message) -> None:
                if message["type"].startswith("lifespan.startup."):
                    _lock(lock, fcntl.LOCK_UN)
                await send(message)

            await app(scope, receive, sent)

    return started_alone


def _lock(file: BinaryIO, how: int) -> None:
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, how)
