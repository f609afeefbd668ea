"""Of servers that start at once in one folder, one makes the database, and then the others do."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path
from typing import Any

import pytest

from flows.server.first_start import LOCK, one_after_the_other

POLL_S = 0.01


def is_free(home: Path) -> bool:
    with (home / LOCK).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


async def nothing() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("outcome", ["complete", "failed"])
def test_a_start_keeps_others_waiting_until_it_is_over(tmp_path: Path, outcome: str) -> None:
    seen = []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        seen.append(is_free(tmp_path))
        await send({"type": f"lifespan.startup.{outcome}"})
        seen.append(is_free(tmp_path))

    async def told(message: Any) -> None:
        seen.append(message["type"])

    started: Any = one_after_the_other(app, tmp_path)
    asyncio.run(started({"type": "lifespan"}, nothing, told))
    assert seen == [False, f"lifespan.startup.{outcome}", True]


def test_a_start_waits_for_another(tmp_path: Path) -> None:
    async def app(scope: Any, *_: Any) -> None:
        began.append(scope["type"])

    async def both() -> None:
        with (tmp_path / LOCK).open("wb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            started: Any = one_after_the_other(app, tmp_path)
            run = asyncio.to_thread(asyncio.run, started({"type": "lifespan"}, nothing, nothing))
            waiting = asyncio.create_task(run)
            await asyncio.sleep(POLL_S)
            assert not began
            await started({"type": "http"}, nothing, nothing)  # nobody else waits
            fcntl.flock(other, fcntl.LOCK_UN)
            await waiting

    began: list[str] = []
    asyncio.run(both())
    assert began == ["http", "lifespan"]
