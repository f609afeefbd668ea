"""What commands print of a workspace."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli.query import print_query
from storage.errors import UserError
from storage.workspace import Workspace


def test_sql_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    Workspace(str(tmp_path), create=True)
    endless = "SELECT count(*) FROM range(1000000000) AS a, range(1000000000) AS b WHERE a < b"
    with pytest.raises(UserError, match=r"SQL: not done in 0.2 s; give it more with --limit-s"):
        print_query(str(tmp_path), endless, Console(quiet=True), limit_s=0.2)


@pytest.mark.parametrize(
    "large",
    [
        "SELECT range FROM range(1000000000000)",
        "SELECT repeat('a', 20000) FROM range(1000000)",
        "SELECT CASE WHEN range = 0 THEN repeat('a', 1000000) END FROM range(1000000)",
    ],
)
def test_a_result_that_no_terminal_shows_is_refused(tmp_path: Path, large: str) -> None:
    Workspace(str(tmp_path), create=True)
    with pytest.raises(UserError, match=r"SQL: more than can be shown .*LIMIT"):
        print_query(str(tmp_path), large, Console(quiet=True), limit_s=20)


@pytest.mark.parametrize(
    ("sql", "told"),
    [("SELECT 1 AS a, NULL AS b; SELECT 2 AS c", "c\n2\n"), ("SELECT 1 AS a WHERE false", "a\n")],
)
def test_what_is_small_is_shown(tmp_path: Path, sql: str, told: str) -> None:
    Workspace(str(tmp_path), create=True)
    out = StringIO()
    print_query(str(tmp_path), sql, Console(file=out), limit_s=20)
    assert out.getvalue() == told


def test_sql_that_is_empty_shows_nothing(tmp_path: Path) -> None:
    Workspace(str(tmp_path), create=True)
    out = StringIO()
    print_query(str(tmp_path), "", Console(file=out), limit_s=20)
    assert out.getvalue() == ""
