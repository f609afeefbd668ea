"""What the standing server complains of, found in its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.service.server_log import loudest_complaint

# as Prefect 3.8.8 logged it with SQLAlchemy 2.1.9, the traceback shortened
SCHEDULER = """\
02:23:16.467 | ERROR   | docket.dependencies - ↩ [   215ms] schedule_recent_deployments(){x}
Traceback (most recent call last):
  File "prefect/server/services/scheduler.py", line 348, in schedule_recent_deployments
    inserted_runs = await models.deployments._insert_scheduled_flow_runs(
                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement
02:23:46.018 | ERROR   | docket.dependencies - ↩ [   101ms] schedule_deployments(){y}
Traceback (most recent call last):
  File "prefect/server/services/scheduler.py", line 273, in schedule_deployments
    raise exc.InvalidRequestError(
sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement
02:24:46.157 | ERROR   | docket.dependencies - ↩ [    91ms] schedule_deployments(){y}
Traceback (most recent call last):
  File "prefect/server/services/scheduler.py", line 273, in schedule_deployments
    raise exc.InvalidRequestError(
sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "standing-server.log"


def test_what_raised_the_same_is_one_complaint(log: Path) -> None:
    log.write_text("03:00:00.000 | ERROR   | prefect.other - once\n" + SCHEDULER)
    found = loudest_complaint(log)
    assert found is not None
    assert (found.count, found.first_at, found.last_at) == (3, "02:23:16", "02:24:46")
    assert found.said == (
        "docket.dependencies - ↩ [ 91ms] schedule_deployments(){y}: "
        "sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement"
    )


def test_lines_that_differ_in_numbers_and_ids_are_one_complaint(log: Path) -> None:
    line = "0{0}:00:00.000 | CRITICAL | prefect.events - {0} events of 0{0}ab-12{0}f lost\n"
    log.write_text("".join(line.format(hour) for hour in (1, 2)))
    found = loudest_complaint(log)
    assert found is not None
    assert (found.count, found.last_at) == (2, "02:00:00")


def test_different_errors_are_different_complaints(log: Path) -> None:
    line = "01:00:00.000 | ERROR   | prefect.server - {}\n"
    log.write_text("".join(line.format(said) for said in ("disk", "database", "network")))
    found = loudest_complaint(log)
    assert found is not None
    assert found.count == 1


@pytest.mark.parametrize(
    "said",
    [
        "",
        "INFO:     Started server process [7]\n",
        "01:00:00.000 | WARNING | prefect.server - slow\nValueError: told in a warning\n",
        "01:00:00.000 | INFO    | prefect.server - | ERROR | is a word of it\n",
    ],
)
def test_a_log_without_errors(log: Path, said: str) -> None:
    log.write_text(said)
    assert loudest_complaint(log) is None


def test_what_is_not_of_the_traceback_is_not_what_was_raised(log: Path) -> None:
    log.write_text("01:00:00.000 | ERROR   | prefect.server - broken\nINFO:     127.0.0.1 came\n")
    found = loudest_complaint(log)
    assert found is not None
    assert found.said == "prefect.server - broken"


def test_what_an_earlier_server_said_is_over(log: Path) -> None:
    log.write_text(SCHEDULER)
    start_byte = log.stat().st_size
    assert loudest_complaint(log, start_byte) is None
    with log.open("a") as later:
        later.write("09:00:00.000 | ERROR   | prefect.server - broken\n")
    found = loudest_complaint(log, start_byte)
    assert found is not None
    assert (found.said, found.count) == ("prefect.server - broken", 1)
