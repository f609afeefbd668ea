"""A study that goes on in another workspace tells what the detector of each found."""

from __future__ import annotations

from dataclasses import replace

from flows.studies.paper.findings import PaperFindings
from flows.studies.truth import SourceQuality

FOUND = PaperFindings(
    songs=[],
    sources=["bass"],
    found=[],
    problems={},
    quality={"extracted": {"bass": SourceQuality(60.0, 45.0, 80.0, 40.0)}},
)
ROW = {"segments": "extracted", "source": "bass", "minutes": 1.0, "precision": 0.75, "recall": 0.5}


def test_each_detector_has_its_rows() -> None:
    assert FOUND.silence_rows() == [{"workspace": 1, **ROW}]
    other = [{"workspace": 1, **ROW, "minutes": 1.1}]
    there = replace(FOUND, earlier_silences=other)
    assert there.silence_rows() == [*other, {"workspace": 2, **ROW}]


def test_a_workspace_that_is_known_keeps_its_number() -> None:
    known = [{"workspace": 1, **ROW}, {"workspace": 2, **ROW, "minutes": 1.1}]
    again = replace(FOUND, earlier_silences=known)
    assert (again.workspace, again.silence_rows()) == (1, known)
