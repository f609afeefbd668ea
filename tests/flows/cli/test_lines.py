"""What commands say in lines moves no cursor and sets no title, whatever a name holds."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from flows.cli.lines import complain, say
from flows.cli.stage_table import print_results
from flows.running.stage_result import StageResult

NAME = "a\x1b]0;title\x07\x1b[2Jb\u202etxt.wav"
SHOWN = r"a\x1b]0;title\x07\x1b[2Jb\u202etxt.wav"


def test_lines(capsys: pytest.CaptureFixture[str]) -> None:
    say(NAME)
    complain(f"{NAME}:\nis no music")
    complain("s3://key:ge/heim@bucket/x: s3:/key:geheim@bucket/x: not found")
    told = capsys.readouterr()
    said, told_of_addresses = told.err.splitlines()
    assert told_of_addresses == "silentmix: s3://***@bucket/x: s3:/***@bucket/x: not found"
    assert told.out == f"{SHOWN}\n"
    assert said == f"silentmix: {SHOWN}: is no music"


def test_notes_of_a_stage() -> None:
    console = Console(file=io.StringIO(), width=200)
    result = StageResult(stage="ingest", corpus="music", fingerprint="f1", notes=[f"{NAME}: bad"])
    print_results([result], console)
    assert isinstance(console.file, io.StringIO)
    assert f"ingest music: {SHOWN}: bad\n" in console.file.getvalue()
