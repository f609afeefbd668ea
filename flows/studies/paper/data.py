"""What every arm of the study reads: corpora, the detector, segments; the stages' own flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demucs_core.extraction.segments import ExtractionPolicy
from flows.extract.flow import extract
from flows.extract.options import ExtractParameters
from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.ingest.flow import ingest
from flows.ingest.options import IngestParameters
from flows.inputs.songs import Activity
from flows.running.execution import dask_client
from flows.running.parameters import WorkParameters
from flows.score.flow import score
from flows.score.options import ScoreParameters
from flows.studies.paper.audited import audited
from flows.studies.paper.parameters import PaperParameters
from flows.studies.paper.songs import Songs, StudySets, write_sets
from flows.studies.true_segments import (
    TrueSegmentsParameters,
    activity_of_tracks,
    true_segments,
    truth_rows,
)
from flows.studies.truth import SourceQuality, extraction_quality
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

DETECTOR_BATCH, DETECTOR_CROP_S = 8, 6.0
SUREST_SHARE = 2 / 3


@dataclass(frozen=True, kw_only=True)
class PaperData:
    """The corpora of a study in its two workspaces, and the segments.

    Two of them, since music that is also a labelled song is unlabelled to nobody: where all songs
    are labelled is another workspace.

    Attributes:
        workspace: where all arms but one live.
        labelled: name of the labelled corpus in both, with the test songs.
        music: name of the unlabelled corpus.
        all_labelled: the other workspace, or empty where nobody knows the stems.
        stems: name of the corpus of the unlabelled songs with their stems there.
        segments: fingerprints of the segments ``extracted``, the ``surest`` of them and, where the
            stems are known, ``audited`` and ``true``.
        quality: how right the first three are, by source; empty where nobody knows.
    """

    workspace: str
    labelled: str
    music: str
    all_labelled: str
    stems: str
    segments: Mapping[str, str]
    quality: Mapping[str, Mapping[str, SourceQuality]]


def prepare(parameters: PaperParameters, root: Path, workers: int) -> PaperData:
    """Make all that the trainings read; what is there already is not done again.

    Args:
        parameters: of the study.
        root: its workspace.
        workers: worker processes.
    """
    sets = write_sets(parameters, root.with_name(f"{root.name}-songs"), workers)
    place = {"workspace": str(root), "workers": workers}
    ceiling = {**place, "workspace": str(root.with_name(f"{root.name}-all-labelled"))}
    for location in [place] if sets.stems is None else [place, ceiling]:
        Workspace(str(location["workspace"]), create=True, music=parameters.music)
    truth: Mapping[str, Activity] = {}
    with dask_client(WorkParameters.model_validate(place), in_process=workers == 1):
        _ingest(sets, place, ceiling)
        policy = {
            "min_duration_s": parameters.min_duration_s,
            "target_precision": parameters.target_precision,
            "allow_insufficient_evidence": True,
            "surest_share": 1.0,
        }
        wanted = _scored(parameters, sets, place, policy)
        surest = wanted.model_copy(update={"surest_share": SUREST_SHARE})
        segments = {"extracted": extract(wanted).fingerprint, "surest": extract(surest).fingerprint}
        if sets.stems is not None:
            truth = activity_of_tracks(
                Manifests(Workspace(str(ceiling["workspace"]))), sets.stems.corpus
            )
            segments["audited"] = extract(audited(wanted, truth)).fingerprint
            wish = TrueSegmentsParameters.model_validate(
                {
                    **place,
                    **policy,
                    "corpus": sets.unlabelled.corpus,
                    "stems_workspace": ceiling["workspace"],
                    "stems": sets.stems.corpus,
                    "precision": parameters.true_precision,
                }
            )
            segments["true"] = true_segments(wish).fingerprint
    return PaperData(
        workspace=str(root),
        labelled=sets.labelled.corpus,
        music=sets.unlabelled.corpus,
        all_labelled="" if sets.stems is None else str(ceiling["workspace"]),
        stems="" if sets.stems is None else sets.stems.corpus,
        segments=segments,
        quality=_quality(str(root), sets.unlabelled.corpus, segments, truth, wanted.policy),
    )


def _ingest(sets: StudySets, place: Mapping[str, Any], ceiling: Mapping[str, Any]) -> None:
    def add(songs: Songs, where: Mapping[str, Any], *, labelled: bool, **more: Any) -> None:
        given = {**where, "corpus": songs.corpus, "source": songs.source, "labelled": labelled}
        ingest(IngestParameters.model_validate({**given, **more}))

    add(sets.labelled, place, labelled=True)
    add(sets.unlabelled, place, labelled=False)
    if sets.stems is not None:
        add(sets.labelled, ceiling, labelled=True)
        add(sets.stems, ceiling, labelled=True, valid_share=0.0)


def _scored(
    parameters: PaperParameters,
    sets: StudySets,
    place: Mapping[str, Any],
    policy: Mapping[str, Any],
) -> ExtractParameters:
    """Fit the detector on the labelled songs alone, and score; returns what ``extract`` is told."""
    detector = fit_detector(
        FitDetectorParameters.model_validate(
            {
                **place,
                **policy,
                "labelled": sets.labelled.corpus,
                "steps": parameters.detector_steps,
                "batch_size": DETECTOR_BATCH,
                "crop_s": DETECTOR_CROP_S,
            }
        )
    ).fingerprint
    scored = {**place, "corpus": sets.unlabelled.corpus, "detector": detector}
    score(ScoreParameters.model_validate(scored))
    return ExtractParameters.model_validate({**scored, **policy})


def _quality(
    workspace: str,
    music: str,
    segments: Mapping[str, str],
    truth: Mapping[str, Activity],
    policy: ExtractionPolicy,
) -> dict[str, dict[str, SourceQuality]]:
    if not truth:
        return {}
    manifests = Manifests(Workspace(workspace))
    return {
        kind: extraction_quality(
            manifests,
            Partition("segments", music, segments[kind]),
            truth_rows(manifests, music, truth),
            policy,
        )
        for kind in ("extracted", "surest", "audited")
    }
