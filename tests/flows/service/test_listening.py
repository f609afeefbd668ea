"""Where a server of our own listens, and that it is found there again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.server.hosts import EVERYWHERE
from flows.service import lifecycle, processes
from flows.service.listening import require_own_host, who_listens
from flows.service.processes import OwnProcess
from flows.service.state import ServiceState
from storage.errors import UserError
from tests.flows.service.standing_service import free_port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", EVERYWHERE])
def test_a_host_of_this_machine(host: str) -> None:
    require_own_host(host)
    assert not who_listens(free_port(), host)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("http://studio.lan", "without a scheme or a port"),
        ("studio.lan:4200", "without a scheme or a port"),
        ("::", "wants an IPv4 address or a name"),
        ("192.0.2.1", "is no address or name of this machine"),  # kept for documentation
        ("nowhere.invalid", "is no address or name of this machine"),
    ],
)
def test_another_host_is_refused(host: str, said: str) -> None:
    with pytest.raises(UserError, match=f"--host {host}: ") as refused:
        require_own_host(host)
    assert said in str(refused.value)
    assert EVERYWHERE in str(refused.value)


def test_a_server_that_was_lost_listens_where_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    started: list[str] = []

    def start(command: list[str], *_: Any) -> OwnProcess:
        started[:] = command
        return OwnProcess(pid=2**22 + 1, started_at=0.0, command=tuple(command), log="")

    monkeypatch.setattr(processes, "start", start)
    state = ServiceState(address=f"http://127.0.0.1:{port}", host=EVERYWHERE)
    lifecycle._start_own_server(state, tmp_path, None, None)
    assert started[-3:] == [str(port), EVERYWHERE, "--lasting"]
    noted = ServiceState.read(tmp_path)
    assert (noted.address, noted.host) == (f"http://127.0.0.1:{port}", EVERYWHERE)
