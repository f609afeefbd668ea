"""SQL over a workspace's manifests, for the terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import duckdb
from rich.console import Console

from flows.reports.terminal_table import print_table
from storage.errors import UserError
from storage.printable import in_a_line
from storage.tables.schemas import TABLES
from storage.tables.sql import connect, damage_told, given_up_after
from storage.workspace import Workspace

MOST_CHARACTERS = 100_000_000
"""Of a table that is shown, with what fills its columns up to their widest cell."""

CHARACTERS_OF_CELL = 100
"""What a cell takes at least, by the memory that it needs until the table is shown."""

ROWS_AT_ONCE = 100


def print_query(location: str, sql: str, console: Console, *, limit_s: float) -> None:
    """The result of SQL over the manifests.

    Raises:
        UserError: the SQL is wrong, or takes too long; says how.
        DamagedError: a part that it reads is damaged.
    """
    workspace = Workspace(location)
    try:
        with (
            connect(workspace, _read_by(workspace, sql)) as connection,
            damage_told(workspace),
            given_up_after(connection, limit_s),
        ):
            connection.execute(sql)
            if not connection.description:  # of no statement at all
                return
            headings = [column[0] for column in connection.description]
            rows = _rows(connection, headings)
        print_table(console, headings, rows)
    except duckdb.InterruptException as error:
        raise UserError(f"SQL: not done in {limit_s:g} s; give it more with --limit-s") from error
    except duckdb.Error as error:
        known = ", ".join(TABLES)
        raise UserError(f"SQL: {in_a_line(error)} (tables: {known})") from error


def _read_by(workspace: Workspace, sql: str) -> Collection[str]:
    """The manifests that some SQL reads; all where that can't be told."""
    with connect(workspace, ()) as parser:
        try:
            if len(parser.extract_statements(sql)) != 1:
                return TABLES
            return parser.get_table_names(sql).intersection(TABLES) or TABLES
        except duckdb.Error:
            return TABLES  # the one that has them says what is wrong


def _rows(connection: duckdb.DuckDBPyConnection, headings: list[str]) -> list[tuple[Any, ...]]:
    """All rows of what was executed, of which no more is read than can be shown.

    Raises:
        UserError: there are too many, or they are too wide.
    """
    rows: list[tuple[Any, ...]] = []
    widths = [max(CHARACTERS_OF_CELL, len(heading)) for heading in headings]
    while more := connection.fetchmany(ROWS_AT_ONCE):
        rows += more
        for row in more:
            widths = [max(width, len(str(cell))) for width, cell in zip(widths, row, strict=True)]
        if len(rows) * sum(widths) > MOST_CHARACTERS:
            raise UserError(
                f"SQL: more than can be shown ({MOST_CHARACTERS:,} characters); ask for fewer rows "
                "or columns, or for a part of them with LIMIT and OFFSET"
            )
    return rows
