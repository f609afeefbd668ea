"""What commands print of a workspace."""

from __future__ import annotations

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
