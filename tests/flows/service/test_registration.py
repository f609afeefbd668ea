"""What `silentmix down` tells the server, without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from flows.service.registration import end_what_never_began


def test_runs_that_a_worker_took_and_never_began_are_crashed() -> None:
    taken = [uuid4(), uuid4()]
    told: dict[UUID, str] = {}

    def read_flow_runs(flow_run_filter: Any, limit: int) -> list[SimpleNamespace]:
        assert flow_run_filter.state.type.any_ == ["PENDING"]
        assert limit
        return [SimpleNamespace(id=each) for each in taken]

    def set_flow_run_state(run: UUID, state: Any, force: bool) -> None:
        assert force, "Prefect's rules leave a pending run alone"
        told[run] = state.name

    client: Any = SimpleNamespace(
        read_flow_runs=read_flow_runs, set_flow_run_state=set_flow_run_state
    )
    assert end_what_never_began(client) == 2
    assert told == dict.fromkeys(taken, "Crashed")
