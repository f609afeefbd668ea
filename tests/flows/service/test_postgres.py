"""The same service with PostgreSQL under its server: a change of settings alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prefect.client.schemas.sorting import FlowRunSort

from flows.service import registration
from tests.flows.conftest import play, write
from tests.flows.service.standing_service import free_port, standing

NOBODY = "nobody"


def program(name: str) -> str | None:
    """A program of PostgreSQL; Debian's package leaves them off PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(map(str, folders)))


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of a database of its own."""
    initdb, control = program("initdb"), program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("PostgreSQL is not installed")
    # it refuses to run as root, and another user can't look into pytest's folders
    user = NOBODY if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="silentmix-postgres-"))
    if user is not None:
        shutil.chown(folder, user)
    data, port = str(folder / "data"), free_port()

    def run(*command: str) -> None:
        # not capture_output: the server inherits what pg_ctl has
        with (folder / "run.log").open("ab") as log:
            subprocess.run(command, user=user, cwd=folder, stdout=log, stderr=log, check=True)

    try:
        run(initdb, "--pgdata", data, "--auth", "trust", "--username", "prefect", "--no-sync")
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        run(control, "start", "--wait", "--pgdata", data, "--options", options)
        try:
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
        finally:
            run(control, "stop", "--wait", "--pgdata", data, "--mode", "immediate")
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_a_stage_runs_with_postgresql(database: str, tmp_path: Path) -> None:
    write(tmp_path / "music" / "a.wav", np.sum(list(play(301).values()), axis=0))
    setting = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": database}
    with standing(tmp_path / "workspace", **setting) as service:
        assert not (service.home / "prefect.db").exists()
        done = service.command("ingest", "--source", str(tmp_path / "music"), "--workers", "1")
        assert done.returncode == 0, done.stderr
        with registration.server(service.address, service.login) as client:
            assert client.read_deployment_by_name("score/score").work_pool_name == "gpu"
            runs = client.read_flow_runs(sort=FlowRunSort.ID_DESC, limit=200)
            [run] = [each for each in runs if each.name == "ingest music"]
            assert run.state is not None
            assert run.state.is_completed()
