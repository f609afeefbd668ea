"""What findings touch, and the commands that make what was put away again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import duckdb

from flows.catalogue import BY_NAME
from flows.fsck.finding import Finding
from flows.running.parameters import option_words, recorded
from storage.errors import UserError
from storage.tables.joined import is_joined
from storage.tables.manifests import Manifests
from storage.tables.runs import last_runs
from storage.tables.schemas import ACTIVITY, HEARD, REJECTS

MADE_OF = {
    "tracks": ("scores", "segments", "remixes"),
    "stems": ("activity", "scores", "segments", "remixes", "evaluations"),
    "activity": ("segments", "remixes"),
    "scores": ("segments", "remixes"),
    "segments": ("remixes", "audits"),
}
"""Manifests whose rows may have been made of another's."""

MADE_WITH = {
    "detectors": {
        "scores": "detector_id = $name",
        "segments": "detector_id = $name",
        "remixes": "(corpus, segments_fingerprint) IN (SELECT (corpus, fingerprint) FROM segments "
        "WHERE detector_id = $name)",
    },
    "models": {"remixes": "model_id = $name", "evaluations": "model_id = $name"},
}
"""Manifests whose rows a detector or a model made, and SQL for which those are."""

MOST_NAMES = 5


class Touched:
    """What was made of what is damaged.

    Args:
        database: all that can be read.
        findings: whose touch is asked for.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, findings: Sequence[Finding]) -> None:
        self._database = database
        ids = sorted({finding.track_id for finding in findings if finding.track_id})
        database.execute(
            "CREATE TABLE damaged AS SELECT unnest($ids::VARCHAR[]) AS track_id", {"ids": ids}
        )
        self._of_track: dict[str, list[str]] = {}
        for name, rows in {
            "segments": "SELECT track_id FROM segments",
            "remixes": "SELECT unnest(list_distinct([track_id] || [stem.track_id FOR stem IN "
            "added])) AS track_id FROM remixes",
        }.items():
            counted = database.sql(
                f"SELECT track_id, count(*) FROM ({rows}) SEMI JOIN damaged USING (track_id) "
                "GROUP BY ALL"
            )
            for track_id, count in counted.fetchall():
                self._of_track.setdefault(track_id, []).append(f"{count} {name}")
        heard = database.sql(
            "SELECT track_id, heard_by, list_sort(list(DISTINCT fingerprint)) FROM heard "
            "SEMI JOIN damaged USING (track_id) GROUP BY ALL ORDER BY ALL"
        )
        for track_id, kind, names in heard.fetchall():
            self._of_track.setdefault(track_id, []).append(_named(kind, names))
        self._of_corpus: dict[tuple[str, str], list[str]] = {}

    def by(self, finding: Finding) -> list[str]:
        """What it touches, in words."""
        if finding.track_id:
            return self._of_track.get(finding.track_id, [])
        kind, _, name = finding.what.partition("/")
        if kind in MADE_WITH and name == finding.made:
            return list(self._made_by(kind, name))
        found: list[str] = []
        for table in finding.tables:
            key = finding.corpus, table
            if key not in self._of_corpus:
                self._of_corpus[key] = self._made_of(*key)
            found += self._of_corpus[key]
        return found

    def _made_by(self, kind: str, name: str) -> Iterator[str]:
        for made, rows in MADE_WITH[kind].items():
            query = f"SELECT count(*) FROM {made} WHERE {rows}"
            [(count,)] = self._database.execute(query, {"name": name}).fetchall()
            if count:
                yield f"{count} {made}"

    def _made_of(self, corpus: str, table: str) -> list[str]:
        found = []
        for made in MADE_OF.get(table, ()):
            query = f"SELECT count(*) FROM {made} WHERE corpus = $corpus"
            [(count,)] = self._database.execute(query, {"corpus": corpus}).fetchall()
            if count:
                found.append(f"some of {count} {made}")
        heard = self._database.execute(
            "SELECT heard_by, list_sort(list(DISTINCT fingerprint)) FROM heard "
            "WHERE corpus = $corpus GROUP BY ALL ORDER BY ALL",
            {"corpus": corpus},
        ).fetchall()
        return [*found, *(_named(kind, names) for kind, names in heard if table in MADE_OF)]


def _named(kind: str, names: Sequence[str]) -> str:
    more = ", ..." if len(names) > MOST_NAMES else ""
    return f"{kind} {', '.join(names[:MOST_NAMES])}{more}"


def commands(manifests: Manifests, findings: Iterable[Finding]) -> list[str]:
    """The commands that make again what findings are about, in the order of the chain."""
    findings = list(findings)
    try:
        runs = last_runs(manifests, {stage for finding in findings for stage in finding.stages})
    except UserError:
        runs = []  # damaged themselves
    found: dict[str, list[str]] = {name: [] for name in BY_NAME}
    for finding in findings:
        mine = [run for run in runs if run.stage in finding.stages]
        # of several stages that write a manifest, those that worked on this corpus
        of_corpus = [run for run in mine if run.corpus == finding.corpus]
        of_it = [
            run
            for run in (of_corpus if finding.corpus else mine)
            if run.fingerprint == finding.made
        ]
        for run in of_it or of_corpus or mine:
            command = _command(manifests, run.stage, json.loads(run.parameters))
            alone = finding.kind == "lost_part" or is_joined(finding.what)
            if alone or HEARD.name in finding.tables:
                command += "".join(_looking_again(run.stage, table) for table in finding.tables)
            found[run.stage].append(command)
        if not mine:
            for stage in finding.stages:
                found[stage].append(_command(manifests, stage, {}))
    return list(dict.fromkeys(command for name in BY_NAME for command in found[name]))


def _looking_again(stage: str, table: str) -> str:
    """What makes a stage look again at what counts as done, since a part beside is there."""
    if table == REJECTS.name and stage == "ingest":
        return " --retry rejected"
    return " --force" if table in (REJECTS.name, ACTIVITY.name, HEARD.name) else ""


def _command(manifests: Manifests, stage: str, given: dict[str, Any]) -> str:
    """A stage's command line with the parameters of a run."""
    words = ["silentmix", stage, "--workspace", manifests.workspace.location]
    model = BY_NAME[stage].load_parameters()
    given = recorded(model, given) if given else {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        value = given.get(name, default)
        if name not in ("workspace", "force", "dry_run") and value not in (default, None, []):
            words += option_words(name, value)
    return shlex.join(words)
