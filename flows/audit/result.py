"""What an audit's answers say: a corpus's own precision, and from which score on it suffices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from demucs_core.extraction.audit import Stratum, estimate, least_score
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import AUDITS

if TYPE_CHECKING:
    from flows.running.stage import StageRun

LEAST_SCORE = "least score that meets the target"


def strata_heard(
    rows: Iterable[dict[str, Any]], sources: Sequence[str]
) -> dict[str, list[Stratum]]:
    """The strata of each source by rising score; answers of "can't tell" are left out."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        stratum = found.setdefault(
            (row["source"], row["stratum"]),
            {
                "least_score": row["stratum_least_score"],
                "seconds": row["stratum_s"],
                "num_draws": 0,
                "num_right": 0,
            },
        )
        if row["answer"] != "can't tell":
            stratum["num_draws"] += row["draws"]
            stratum["num_right"] += row["draws"] * (row["answer"] == "silent")
    return {
        source: [Stratum(**found[key]) for key in sorted(found) if key[0] == source]
        for source in sources
    }


def least_scores(
    manifests: Manifests, corpus: str, audit: str, segments: str, target: float, confidence: float
) -> dict[str, float | None]:
    """For each source, the least mean probability that a segment must have to be as sure as asked.

    Args:
        manifests: of the workspace.
        corpus: that was audited.
        audit: its id.
        segments: the fingerprint of the segments that it must be an audit of.
        target: precision to be met.
        confidence: with which.

    Returns:
        By source; None for one that no score is sure enough of.

    Raises:
        UserError: the audit is one of other segments.
    """
    rows = list(manifests.rows(manifests.latest(AUDITS.name, corpus, audit)))
    heard = {row["segments_fingerprint"] for row in rows}
    if heard != {segments}:
        raise UserError(
            f"audit {audit!r} is of segments {', '.join(sorted(heard))}, and these parameters "
            f"make {segments}: extract with the parameters of the audited segments, or run "
            f"{manifests.workspace.command(f'audit --listen --corpus {corpus}')} on these"
        )
    strata = strata_heard(rows, manifests.workspace.music.sources)
    return {source: least_score(found, target, confidence) for source, found in strata.items()}


def precision_rows(
    manifests: Manifests, audit: Partition, target: float, confidence: float
) -> list[dict[str, Any]]:
    """What the answers of an audit say; a row a source of which each stratum was heard."""
    rows = []
    heard = strata_heard(manifests.rows(audit), manifests.workspace.music.sources)
    for source, strata in heard.items():
        found = estimate(strata, confidence)
        if found is None:
            continue
        cut = least_score(strata, target, confidence)
        rows.append(
            {
                "source": source,
                "heard": found.num_draws,
                "precision": found.precision,
                "from": found.lower,
                "to": found.upper,
                LEAST_SCORE: "none" if cut is None else cut,
            }
        )
    return rows


def summarise(run: StageRun, target: float, confidence: float) -> list[dict[str, Any]]:
    """Count what the answers say; returns the rows of :func:`precision_rows`."""
    audit = run.partition(AUDITS.name)
    run.counts["answers"] = len(run.manifests.items(audit))
    rows = precision_rows(run.manifests, audit, target, confidence)
    for row in rows:
        source, cut = row["source"], row[LEAST_SCORE]
        run.counts[f"{source}_precision"] = round(row["precision"], 4)
        run.counts[f"{source}_precision_lower"] = round(row["from"], 4)
        run.counts[f"{source}_precision_upper"] = round(row["to"], 4)
        if cut != "none":
            run.counts[f"{source}_least_score"] = round(cut, 4)
    return rows
