"""The soak's checks find what they are there to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.soaking.checks import Findings, check_corpus

Rows = dict[str, list[dict[str, Any]]]
FILES = ["/music/a.wav", "/music/b.wav", "/music/broken.wav"]


def whole() -> Rows:
    """Manifests of a corpus in which nothing is wrong."""
    return {
        "tracks": [
            {"track_id": "ta", "source_url": "/music/a.wav"},
            {"track_id": "tb", "source_url": "/music/b.wav"},
        ],
        "rejects": [
            {"stage": "ingest", "item": "/music/broken.wav"},
            {"stage": "score", "item": "tb"},
        ],
        "scores": [{"track_id": "ta"}],
        "segments": [{"segment_id": "s1", "start_sample": 0}, {"segment_id": "s2"}],
    }


def findings(rows: Rows) -> Findings:
    found = Findings()
    check_corpus(found, "music", FILES, rows, whole())
    return found


def test_nothing_is_wrong_in_any_order() -> None:
    rows = {table: rows[::-1] for table, rows in whole().items()}
    assert findings(rows) == Findings()


def forget_file(rows: Rows) -> None:
    rows["rejects"].pop(0)


def ingest_twice(rows: Rows) -> None:
    rows["rejects"].append({"stage": "ingest", "item": "/music/a.wav"})


def forget_scores(rows: Rows) -> None:
    rows["scores"].pop()


def score_twice(rows: Rows) -> None:
    rows["scores"].append({"track_id": "tb"})


def extract_twice(rows: Rows) -> None:
    rows["segments"].append(rows["segments"][0])


@pytest.mark.parametrize(
    ("spoil", "what", "said"),
    [
        (forget_file, "missing", "music: file /music/broken.wav"),
        (ingest_twice, "duplicated", "music: file /music/a.wav"),
        (forget_scores, "missing", "music: scores of track ta"),
        (score_twice, "duplicated", "music: scores of track tb"),
        (extract_twice, "duplicated", "music: segment s1"),
    ],
)
def test_what_is_missing_or_there_twice(
    spoil: Callable[[Rows], None], what: str, said: str
) -> None:
    rows = whole()
    spoil(rows)
    found = findings(rows)
    assert getattr(found, what) == [said]
    assert len(found.different) == 1


def test_a_row_that_is_not_what_it_should_be() -> None:
    rows = whole()
    rows["segments"][0] = {"segment_id": "s1", "start_sample": 1}
    found = findings(rows)
    assert not found.missing
    assert not found.duplicated
    assert [line.split(" [")[0] for line in found.different] == [
        "music: segments", "music: no segments"
    ]  # fmt: skip
