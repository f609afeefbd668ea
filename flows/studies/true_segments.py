"""The segments that a detector which is always right would lead to, or one that errs at random.

The truth is the activity of the stems, which another workspace holds, or what the generator of the
songs wrote down; the rows are those that ``extract`` writes, by the same policy, so that all that
follows takes them for its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from prefect import flow
from pydantic import Field

from demucs_core.extraction.segments import Segment, extract_segments
from flows.extract.flow import segment_row
from flows.inputs.songs import Activity, load_activity
from flows.policy.options import PolicyOptions
from flows.running.parameters import CorpusName, StageParameters
from flows.running.stage import StageResult, stage_run
from flows.studies.truth import rows_of, true_activity
from storage.errors import UserError
from storage.fingerprint import ID_DIGITS, fingerprint, short_hash
from storage.music_format import MIXTURE
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

STAGE, VERSION = "true-segments", 1
CERTAIN = 0.5
"""A threshold between the truth's only two probabilities."""


class TrueSegmentsParameters(PolicyOptions, StageParameters):
    """Of which corpus, from whose stems."""

    corpus: CorpusName = Field("music", description="Corpus of the mixtures.")
    truth: str = Field(
        "", description="File of their true levels (demo_corpus.truth); empty takes the stems'."
    )
    stems_workspace: str = Field("", description="Workspace that holds their stems.")
    stems: CorpusName = Field("stems", description="Corpus of the stems there.")
    into: str = Field(
        "", description="Corpus whose segments they are to be; empty takes that of the mixtures."
    )
    precision: float = Field(
        1.0, gt=0, le=1, description="Share of the silences that are left true."
    )
    seed: int = Field(0, ge=0, description="Decides which are not.")


@flow(name="true-segments", flow_run_name="true-segments {parameters.corpus}")
def true_segments(parameters: TrueSegmentsParameters) -> StageResult:
    """Write the true segments of a corpus, some of them made false on purpose."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    tracks = manifests.latest("tracks", parameters.corpus)
    told = {
        **asdict(parameters.policy),
        "truth": _name_of_truth(parameters),
        "precision": parameters.precision,
        "seed": parameters.seed,
    }
    policy_json = json.dumps(told, sort_keys=True)
    name = fingerprint(STAGE, VERSION, tracks=manifests.digest(tracks), policy=policy_json)
    into = parameters.into or parameters.corpus
    with stage_run(STAGE, parameters, corpus=into, fingerprint=name, workspace=workspace) as run:
        segments = run.partition("segments")
        rows = {row["track_id"]: row for row in manifests.rows(tracks)}
        pending = set(rows) - run.done(segments, set(rows))
        run.plan("tracks", len(pending), len(rows), tracks)
        activity = _truth(parameters, manifests)
        if missing := sorted(pending - activity.keys()):
            raise UserError(f"nobody knows the stems of track {missing[0]}")
        found = []
        for track_id in sorted(pending):
            # no detector, and no scores
            track = {**rows[track_id], "detector_id": STAGE}
            found += [
                segment_row(track, segment, workspace.music, name, policy_json)
                for segment in _segments(track, activity[track_id], parameters, workspace)
            ]
        if pending:
            manifests.write(segments, sorted(pending), found)
        run.counts["segments"] = manifests.count(segments)
    return run.result()


def _name_of_truth(parameters: TrueSegmentsParameters) -> str:
    if not parameters.truth:
        return parameters.stems
    return short_hash(Path(parameters.truth).read_bytes().hex())


def _truth(parameters: TrueSegmentsParameters, manifests: Manifests) -> Mapping[str, Activity]:
    if parameters.truth:
        return true_activity(manifests, parameters.corpus, rows_of(Path(parameters.truth)))
    return activity_of_tracks(Manifests(Workspace(parameters.stems_workspace)), parameters.stems)


def activity_of_tracks(manifests: Manifests, stems: str) -> dict[str, Activity]:
    """Where the sources of songs sound, by the ``track_id`` that their mixtures have unlabelled."""
    partition = manifests.latest("stems", stems)
    of_stems = Partition("activity", stems, partition.fingerprint)
    activity = load_activity(manifests, of_stems, "train")
    return {
        row["content_hash"][:ID_DIGITS]: activity[row["track_id"]]
        for row in manifests.rows(partition, ["track_id", "source", "content_hash"])
        if row["source"] == MIXTURE
    }


def truth_rows(
    manifests: Manifests, music: str, truth: Mapping[str, Activity]
) -> list[dict[str, Any]]:
    """The truth as :func:`flows.studies.truth.extraction_quality` takes it."""
    sources = manifests.workspace.music.sources
    tracks = manifests.rows(manifests.latest("tracks", music), ["track_id", "source_url"])
    return [
        {
            # all of the file's path but the first slash
            "path": track["source_url"].partition("/")[2],
            "source": source,
            "level_db": truth[track["track_id"]].level_db[place],
            "mixture_level_db": truth[track["track_id"]].mixture_level_db,
        }
        for track in tracks
        for place, source in enumerate(sources)
    ]


def _segments(
    track: Mapping[str, Any],
    activity: Activity,
    parameters: TrueSegmentsParameters,
    workspace: Workspace,
) -> list[Segment]:
    music = workspace.music
    rng = np.random.default_rng([parameters.seed, int(track["track_id"], 16)])
    segments = extract_segments(
        (~activity.active).astype(np.float32),
        activity.mixture_level_db,
        [CERTAIN] * len(music.sources),
        parameters.policy,
        num_samples=track["num_samples"],
        hop_samples=music.hop_samples,
        sample_rate=music.sample_rate,
    )
    return [
        replace(
            segment, silent=spoilt(segment.silent, len(music.sources), parameters.precision, rng)
        )
        for segment in segments
    ]


def spoilt(
    silent: tuple[int, ...], num_sources: int, precision: float, rng: np.random.Generator
) -> tuple[int, ...]:
    """Exchange some of the silent sources for ones that sound; they stay as many.

    Args:
        silent: the sources that are silent.
        num_sources: of all.
        precision: how likely each of them is left as it is.
        rng: decides.

    >>> spoilt((1, 3), 4, 1.0, np.random.default_rng(0))
    (1, 3)
    >>> spoilt((1, 3), 4, 0.01, np.random.default_rng(0))
    (0, 2)
    """
    sounding = [source for source in range(num_sources) if source not in silent]
    told = list(silent)
    for place in range(len(told)):
        if rng.random() >= precision and sounding:
            told[place] = sounding.pop(int(rng.integers(len(sounding))))
    return tuple(sorted(told))
