"""Takes a model or a detector out of a workspace, once it was said what depends on it."""

from __future__ import annotations

from flows.inputs import registry
from flows.inputs.given_names import Kind, names_of, take_names
from flows.inputs.paper_table import evaluated_models
from flows.provenance.lineage import lineage
from storage.tables.manifests import Manifests
from storage.tables.sql import reading
from storage.workspace import Workspace

MADE_WITH_DETECTOR = {
    "scores of {}": "SELECT corpus || '/' || fingerprint, count(*) FROM scores "
    "WHERE detector_id = $detector GROUP BY ALL ORDER BY ALL",
    "answers of audit {}, which heard what it found": "SELECT audits.corpus || '/' || "
    "audits.fingerprint, count(*) FROM audits SEMI JOIN (SELECT DISTINCT corpus, fingerprint FROM "
    "segments WHERE detector_id = $detector) found ON audits.corpus = found.corpus "
    "AND audits.segments_fingerprint = found.fingerprint GROUP BY ALL ORDER BY ALL",
}
"""What a detector scored, and what a person heard of that: in words, and SQL that counts it."""


def dependents(workspace: Workspace, kind: Kind, known_id: str) -> list[str]:
    """What was made with a model or a detector, a line each; that stays, and can't be made anew."""
    said = [f"its name {name}" for name in names_of(workspace, kind, known_id)]
    if kind == "models":
        said += [
            f"its scores: evaluations {partition.corpus}/{partition.fingerprint}"
            for partition, model in evaluated_models(Manifests(workspace))
            if model == known_id
        ]
        with reading(workspace, ("remixes",), retired=True) as database:
            taught = database.execute(
                "SELECT corpus || '/' || fingerprint, count(*) FROM remixes "
                "WHERE model_id = $model GROUP BY ALL ORDER BY ALL",
                {"model": known_id},
            ).fetchall()
        said += [f"{count} pseudo-labels of {name}" for name, count in taught]
        return said + [
            f"model {model}, which began with its weights"
            for model in registry.names(workspace, "models")
            if known_id in registry.began_with(workspace, model)
        ]
    with reading(workspace, ("scores", "segments", "audits"), retired=True) as database:
        for what, query in MADE_WITH_DETECTOR.items():
            counted = database.execute(query, {"detector": known_id}).fetchall()
            said += [f"{count} {what.format(name)}" for name, count in counted]
    found = lineage(workspace, known_id)
    for table, listing in (("segments", found.segments), ("remixes", found.remixes)):
        said += [f"{count} {table} of {name}" for name, count in listing.partitions.items()]
    said += [f"model {model.id}, which was trained on those remixes" for model in found.models]
    return said


def delete(workspace: Workspace, kind: Kind, known_id: str) -> int:
    """Delete a model or a detector, and its names; returns how many files those were.

    Its description goes first, so that a deletion that is cut short leaves nothing half usable.
    """
    take_names(workspace, kind, known_id)
    folder = f"{kind}/{known_id}"
    description = f"{folder}/{registry.DESCRIPTION}"
    files = workspace.find(folder)
    for path in sorted(files, key=lambda path: path != description):
        workspace.remove(path)
    return len(files)
