"""A server that is too busy to give a run its turn stops no run."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError

from flows.server import exclusive_run as module
from flows.server.exclusive_run import exclusive_run
from flows.server.process import PRIVATE


def no_slot(*_: Any, **__: Any) -> ExitStack:
    class Busy(ExitStack):
        def __enter__(self) -> Busy:
            raise ConcurrencySlotAcquisitionError("503 Service Unavailable")

    return Busy()


def no_answer(_: str) -> bool:
    raise httpx.ReadTimeout("no answer")


@pytest.mark.parametrize(
    ("name", "busy"), [("concurrency", no_slot), ("_is_taken", no_answer)]
)  # fmt: skip
def test_a_busy_server_stops_no_run(
    name: str, busy: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Address:
        value = staticmethod(lambda: "http://127.0.0.1:1/api")

    monkeypatch.delenv(PRIVATE, raising=False)
    monkeypatch.setattr(module, "PREFECT_API_URL", Address)
    monkeypatch.setattr(module, "_is_taken", lambda _: False)
    monkeypatch.setattr(module, "get_run_logger", lambda: logging.getLogger("busy"))
    monkeypatch.setattr(module, name, busy)
    done = []
    with exclusive_run("extract", "music", "/workspace"):
        done.append("work")
    assert done == ["work"]
    assert "extract" in caplog.text
    with pytest.raises(KeyError, match="own"), exclusive_run("extract", "music", "/workspace"):
        raise KeyError("its own error")
