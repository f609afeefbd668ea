from __future__ import annotations

import io

import pytest
from rich.console import Console

from flows.reports.terminal_table import print_table


@pytest.mark.parametrize("terminal", [True, False])
def test_a_name_moves_no_cursor(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, no_color=True)
    print_table(console, ["file"], [["a\x1b]0;title\x07\x1b[2Jb\u202etxt.exe"], ["two\nlines"]])
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert r"a\x1b]0;title\x07\x1b[2Jb\u202etxt.exe" in said
    assert r"two\nlines" in said


@pytest.mark.parametrize("terminal", [True, False])
def test_a_heading_is_a_text_too(terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200, no_color=True)
    print_table(console, ["[red]a\x1b[2J.wav"], [["1"]])
    assert isinstance(console.file, io.StringIO)
    assert r"[red]a\x1b[2J.wav" in console.file.getvalue()
