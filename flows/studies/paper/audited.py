"""An audit as a person would do it, whose answers are the truth: arm 11."""

from __future__ import annotations

from collections.abc import Mapping

from flows.audit.options import AuditParameters
from flows.audit.sample import Answer, Clip, audit_of, draw_clips, write_answers
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.inputs.songs import Activity
from storage.tables.manifests import Manifests
from storage.workspace import Workspace

DRAWS = 88
"""Segments heard a source."""
PRECISION = 0.7
"""What the answers must show; more than they can show of many a source leaves nothing of it."""
HEARD = 0.05
"""Share of a segment in which a source must sound to be heard."""


def audited(wanted: ExtractParameters, truth: Mapping[str, Activity]) -> ExtractParameters:
    """Answer an audit of what is extracted, if nobody has; returns what ``extract`` is told then.

    Args:
        wanted: what it is told before; how precise it must be is for the answers to show.
        truth: where the sources sound, by ``track_id``.
    """
    manifests = Manifests(Workspace(wanted.workspace))
    wanted = wanted.model_copy(update={"target_precision": PRECISION})
    asked = AuditParameters(
        workspace=wanted.workspace,
        corpus=wanted.corpus,
        segments=extract(wanted).fingerprint,
        draws=DRAWS,
        target_precision=PRECISION,
    )
    audit = audit_of(manifests, asked)
    clips = draw_clips(manifests, asked)
    answers = {clip.name: _answer(manifests, clip, truth[clip.row["track_id"]]) for clip in clips}
    write_answers(manifests, audit, answers, clips)
    return wanted.model_copy(update={"audit": audit.fingerprint})


def _answer(manifests: Manifests, clip: Clip, truth: Activity) -> Answer:
    music = manifests.workspace.music
    frames = slice(
        clip.start_sample // music.hop_samples, -(-clip.stop_sample // music.hop_samples)
    )
    source = music.sources.index(clip.row["source"])
    return "heard" if truth.active[source, frames].mean() > HEARD else "silent"
