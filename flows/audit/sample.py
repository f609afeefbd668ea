"""The sample that an audit hears, and what was answered of it: → ``audits``.

The thresholds were calibrated on labelled songs, which say little about someone else's corpus. So
a person hears a sample, stratified by source and score, and answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from demucs_core.extraction.audit import draw, strata_of
from flows.audit.options import AuditParameters
from storage.errors import UserError
from storage.fingerprint import fingerprint
from storage.reading import CropReader
from storage.tables.edits import remove_rows
from storage.tables.manifests import Manifests, Partition
from storage.tables.retired import Hidden
from storage.tables.schemas import AUDITS
from storage.tables.sql import any_of, quoted, reading
from storage.workspace import Workspace

STAGE, VERSION = "audit", 1
Answer = Literal["silent", "heard", "can't tell"]


@dataclass(frozen=True)
class Clip:
    """A segment to listen to for one source.

    Attributes:
        row: of ``audits``, less the answer.
        path: of the track's audio.
        start_sample: where the segment starts in it.
        stop_sample: one past its end.
    """

    row: dict[str, Any]
    path: str
    start_sample: int
    stop_sample: int

    @property
    def name(self) -> str:
        """Name among the items of the manifest."""
        return f"{self.row['segment_id']}/{self.row['source']}"

    def audio(self, reader: CropReader) -> np.ndarray:
        """The whole segment, ``(C, T)``."""
        return reader(self.path, self.start_sample, self.stop_sample - self.start_sample)


def audit_of(manifests: Manifests, parameters: AuditParameters) -> Partition:
    """The partition of the answers."""
    segments = segments_of(manifests, parameters)
    content = {name: getattr(parameters, name) for name in ("draws", "strata", "seed")}
    # the digest, since the segments of a corpus that grows are another population
    made_from = f"{segments.fingerprint}/{manifests.digest(segments)}"
    name = fingerprint(STAGE, VERSION, segments=made_from, **content)
    return Partition(AUDITS.name, parameters.corpus, name)


def segments_of(manifests: Manifests, parameters: AuditParameters) -> Partition:
    """The segments that are audited."""
    return manifests.latest("segments", parameters.corpus, parameters.segments or None)


def draw_clips(manifests: Manifests, parameters: AuditParameters) -> list[Clip]:
    """The sample, in an order that tells nothing.

    Raises:
        UserError: there are no segments to hear.
    """
    segments = segments_of(manifests, parameters)
    rng = np.random.default_rng(parameters.seed)
    clips = [
        clip
        for source in manifests.workspace.music.sources
        for clip in _draw_source(manifests.workspace, segments, source, parameters, rng)
    ]
    if not clips:
        raise UserError(f"corpus {segments.corpus!r}: no segments to listen to; extract first")
    return [clips[place] for place in rng.permutation(len(clips))]


def _draw_source(
    workspace: Workspace,
    segments: Partition,
    source: str,
    parameters: AuditParameters,
    rng: np.random.Generator,
) -> list[Clip]:
    place = f"list_position(silent_sources, {quoted(source)})"
    rows = f"""(
        SELECT *, mean_probability[{place}] AS score, row_number() OVER (ORDER BY segment_id) AS n
        FROM segments WHERE {any_of([segments])} AND {place} > 0
    )"""
    with reading(workspace, ("segments",)) as database:
        arrays = database.sql(f"SELECT score, duration_s FROM {rows} ORDER BY n").fetchnumpy()
        scores, seconds = np.asarray(arrays["score"]), np.asarray(arrays["duration_s"])
        if not len(scores):
            return []
        strata = strata_of(scores, seconds, parameters.strata)
        drawn = draw(seconds, strata, parameters.draws, rng)
        chosen = np.flatnonzero(drawn)
        found = database.execute(
            "SELECT segment_id, track_id, path, start_sample, stop_sample "
            f"FROM {rows} WHERE n IN (SELECT unnest($places)) ORDER BY n",
            {"places": (chosen + 1).tolist()},
        ).fetchall()
    clips = []
    for place_of, (segment_id, track_id, path, start, stop) in zip(chosen, found, strict=True):
        inside = strata == strata[place_of]
        row = {
            "segment_id": segment_id,
            "track_id": track_id,
            "source": source,
            "segments_fingerprint": segments.fingerprint,
            "score": float(scores[place_of]),
            "duration_s": float(seconds[place_of]),
            "draws": int(drawn[place_of]),
            "stratum": int(strata[place_of]),
            "stratum_least_score": float(scores[inside].min()),
            "stratum_s": float(seconds[inside].sum()),
        }
        clips.append(Clip(row, path, start, stop))
    return clips


def answers_of(manifests: Manifests, audit: Partition) -> dict[str, Answer]:
    """What was answered, by the names of the clips."""
    columns = ["segment_id", "source", "answer"]
    return {
        f"{row['segment_id']}/{row['source']}": row["answer"]
        for row in manifests.rows(audit, columns)
    }


def take_back(manifests: Manifests, audit: Partition, answers: Mapping[str, Answer]) -> set[str]:
    """Take back what was answered otherwise before; returns the names of those clips."""
    before = answers_of(manifests, audit)
    changed = {name for name in answers if before.get(name, answers[name]) != answers[name]}

    if changed:
        columns = ("segment_id", "source")
        old = Hidden(columns, frozenset(name.replace("/", Hidden.SEPARATOR) for name in changed))
        remove_rows(manifests, audit, old.matches, changed, columns=columns)
    return changed


def write_answers(
    manifests: Manifests, audit: Partition, answers: Mapping[str, Answer], clips: Sequence[Clip]
) -> int:
    """Keep what was answered about some clips; returns how many there are."""
    rows = [{**clip.row, "answer": answers[clip.name]} for clip in clips if clip.name in answers]
    if rows:
        manifests.write(audit, list(answers), rows)
    return len(rows)
