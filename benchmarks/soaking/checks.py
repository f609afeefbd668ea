"""What must be true of the manifests after a soak; plain rows in, counts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.tables.manifests import Manifests

Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
"""The rows of a corpus, by table."""

COMPARED = ("tracks", "rejects", "scores", "segments")


@dataclass
class Findings:
    """What is wrong: a line for each item that is missing, there twice, or not as it should be."""

    missing: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def once(self, what: str, wanted: Iterable[str], found: Iterable[str]) -> None:
        """Note what of ``wanted`` is not among ``found``, and what is there more than once."""
        counts = Counter(found)
        self.missing += [f"{what} {item}" for item in sorted(set(wanted)) if not counts[item]]
        self.duplicated += [f"{what} {item}" for item in sorted(counts) if counts[item] > 1]


def read_corpus(manifests: Manifests, corpus: str) -> dict[str, list[Row]]:
    """The rows of a corpus in every partition of the tables that are compared."""
    return {
        table: [
            {**row, "fingerprint": partition.fingerprint}
            for partition in manifests.partitions(table, corpus)
            for row in manifests.rows(partition)
        ]
        for table in COMPARED
    }


def check_corpus(
    found: Findings, corpus: str, files: Iterable[str], rows: Rows, undisturbed: Rows
) -> None:
    """Check that every file and track of a corpus is where it belongs, once.

    Args:
        found: where findings go.
        corpus: its name, for the findings.
        files: the files that were there to ingest, as manifests name them.
        rows: what the manifests hold.
        undisturbed: what they hold where nothing was killed.
    """
    tracks = [row["track_id"] for row in rows["tracks"]]
    refused = [row for row in rows["rejects"] if row["stage"] == "ingest"]
    ingested = [row["source_url"] for row in rows["tracks"]] + [row["item"] for row in refused]
    found.once(f"{corpus}: file", files, ingested)
    found.once(f"{corpus}: track", tracks, tracks)
    not_scored = [row["item"] for row in rows["rejects"] if row["stage"] == "score"]
    scored = [row["track_id"] for row in rows["scores"]]
    found.once(f"{corpus}: scores of track", tracks, scored + not_scored)
    segments = [row["segment_id"] for row in rows["segments"]]
    wanted = [row["segment_id"] for row in undisturbed["segments"]]
    found.once(f"{corpus}: segment", wanted, segments)
    for table in COMPARED:
        mine, theirs = (Counter(map(_text, each[table])) for each in (rows, undisturbed))
        found.different += [f"{corpus}: {table} {row[:300]}" for row in (mine - theirs).elements()]
        found.different += [f"{corpus}: no {table} {row[:300]}" for row in (theirs - mine)]


def _text(row: Row) -> str:
    return repr(sorted(row.items()))
