"""SQL over a workspace's manifests, for the terminal."""

from __future__ import annotations

import duckdb
from rich.console import Console

from flows.reports.terminal_table import print_table
from storage.errors import UserError
from storage.tables.schemas import TABLES
from storage.tables.sql import connect, damage_told, given_up_after
from storage.workspace import Workspace


def print_query(location: str, sql: str, console: Console, *, limit_s: float) -> None:
    """The result of SQL over the manifests.

    Raises:
        UserError: the SQL is wrong, or takes too long; says how.
        DamagedError: a part that it reads is damaged.
    """
    workspace = Workspace(location)
    connection = connect(workspace)
    try:
        with given_up_after(connection, limit_s), damage_told(workspace):
            result = connection.sql(sql)
            if result is not None:
                print_table(console, result.columns, result.fetchall())
    except duckdb.InterruptException as error:
        raise UserError(f"SQL: not done in {limit_s:g} s; give it more with --limit-s") from error
    except duckdb.Error as error:
        known = ", ".join(TABLES)
        raise UserError(f"SQL: {' '.join(str(error).split())} (tables: {known})") from error
    finally:
        connection.close()
