"""What can't be printed in a name is found where a report shows it."""

from __future__ import annotations

from flows.provenance.report_texts import Named, without
from flows.reports.markdown import plain

NAME = "a\x1b[2Jb\u202ec.wav"


def test_a_name_that_can_not_be_printed_is_found() -> None:
    text = f"- {plain(NAME)}\n- other\n"
    assert "\x1b" not in text
    named = Named(ids=set(), names={NAME})
    assert NAME not in without("report.md", text, named, lambda _: False, [])
    assert without("report.md", text, named, lambda _: False, []).strip() == "- other"
