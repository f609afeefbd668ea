"""What the standing server complains of in its log, told from errors that passed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

RECORD = re.compile(r"(?P<at>\d\d:\d\d:\d\d)\S* \| (?P<level>[A-Z]+) +\| (?P<said>.*)")
GRAVE = {"ERROR", "CRITICAL"}
CHANGING = re.compile(r"\s*\b[0-9a-f]*\d[0-9a-f-]*")
"""Durations, counts and ids, by which lines of one complaint differ."""
RAISED = re.compile(r"[A-Za-z_][\w.]*(: \S.*)?$")
"""The last line of a traceback, as against its heading and its sentences between two of them."""
MOST_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """An error that the server logged.

    Attributes:
        said: the last line of it, and what was raised.
        count: how often it was logged.
        first_at: time of day of the first line.
        last_at: time of day of the last line.
    """

    said: str
    count: int
    first_at: str
    last_at: str


def loudest_complaint(log: Path, start_byte: int = 0) -> Complaint | None:
    """The error that a log has most often, or None if it has none.

    Errors that raised the same are one, whichever of Prefect's services logged them; those that
    raised nothing are one if they differ in numbers and ids alone.

    Args:
        log: what the server printed, with the tracebacks below the lines of its logger.
        start_byte: where to begin: what an earlier server printed is over.
    """
    complaints: dict[str, Complaint] = {}
    at = said = raised = ""

    def note() -> None:
        if not at:
            return
        text = " ".join(f"{said}: {raised}".split() if raised else said.split())
        text = text[:MOST_CHARACTERS]
        kind = CHANGING.sub("", raised or said)
        before = complaints.get(kind, Complaint(said="", count=0, first_at=at, last_at=at))
        complaints[kind] = replace(before, said=text, count=before.count + 1, last_at=at)

    with log.open("rb") as lines:
        lines.seek(start_byte)
        for line in lines:
            text = line.decode("utf-8", errors="replace").rstrip()
            if record := RECORD.match(text):
                note()
                at = record["at"] if record["level"] in GRAVE else ""
                said, raised = record["said"], ""
            elif RAISED.match(text):
                raised = text
    note()
    return max(complaints.values(), key=lambda found: found.count, default=None)
