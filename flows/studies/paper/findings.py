"""What a study has found so far, read from the manifests: scores, runs, comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demucs_core.metrics.comparison import holm
from demucs_core.metrics.medians import median_sdr
from demucs_core.metrics.seeded_comparison import SeededDifference, compare_trainings
from flows.inputs.songs import load_songs
from flows.studies.paper.arms import FAMILIES, PRIMARY, Comparison
from flows.studies.paper.trainings import Key, State, Training, Trainings
from flows.studies.truth import SourceQuality
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import RUNS
from storage.workspace import Workspace

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The runs of one stage that made something, the last that ended well among them.

    Attributes:
        run_id: of the last one, as the manifest ``runs`` knows it.
        duration_s: of all of them together, but for those that were killed.
        failed: what the last one said, if it failed.
    """

    run_id: str = ""
    duration_s: float = 0.0
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What has come of one training.

    Attributes:
        training: which.
        state: what has come of it.
        sdr_ns: ``(N, S)`` in dB of the test songs, in the order of their names; None before they
            are scored.
        train: the runs that trained it.
        evaluate: the runs that scored it.
    """

    training: Training
    state: State
    sdr_ns: FloatArray | None
    train: Run
    evaluate: Run


@dataclass(frozen=True, kw_only=True)
class Point:
    """One point of a curve: an arm at another value of one of the study's parameters.

    Attributes:
        curve: the parameter.
        value: its value.
        found: the trainings.
    """

    curve: str
    value: float
    found: Sequence[Found]


@dataclass(frozen=True, kw_only=True)
class PaperFindings:
    """What the study has found so far.

    Attributes:
        songs: names of the test songs, in order.
        sources: names of the sources, in order.
        found: a training each, in the order in which they are trained.
        problems: what kept a training from its end just now, by its label.
        quality: how right each extraction was, by source; empty where nobody knows.
        earlier_silences: the same as the study's files hold it, rows of ``silence_rows``.
        points: of the curves, as far as they were asked for.
    """

    songs: Sequence[str]
    sources: Sequence[str]
    found: Sequence[Found]
    problems: Mapping[str, str]
    quality: Mapping[str, Mapping[str, SourceQuality]]
    earlier_silences: Sequence[Mapping[str, Any]] = ()
    points: Sequence[Point] = ()

    def of(self, arm: str) -> list[Found]:
        """The trainings of an arm, seed by seed."""
        return [each for each in self.found if each.training.arm.key == arm]

    def problem(self, found: Found) -> str:
        """Why a training has not come to its end, as far as anybody knows; empty if it has."""
        if found.state.done:
            return ""
        failed = found.train.failed or found.evaluate.failed
        return found.state.problem or failed or self.problems.get(found.training.label, "")

    @property
    def workspace(self) -> int:
        """Number of this workspace among those of the study: of another detector, another one."""
        earlier: dict[int, list[float]] = {}
        for row in self.earlier_silences:
            earlier.setdefault(row["workspace"], []).append(row["minutes"])
        here = [found.extracted_s / 60 for _, _, found in self._silences_here()]
        alike = (number for number, minutes in earlier.items() if minutes == here)
        return next(alike, max(earlier, default=0) + 1)

    def silence_rows(self) -> list[dict[str, Any]]:
        """What each workspace's detector found, workspace after workspace.

        One that is fitted on another kind of processor is another detector.
        """
        this = self.workspace
        rows = [dict(row) for row in self.earlier_silences if row["workspace"] != this]
        rows += [
            {
                "workspace": this,
                "segments": kind,
                "source": source,
                "minutes": found.extracted_s / 60,
                "precision": found.precision,
                "recall": found.recall,
            }
            for kind, source, found in self._silences_here()
        ]
        return sorted(rows, key=lambda row: int(row["workspace"]))

    def _silences_here(self) -> list[tuple[str, str, SourceQuality]]:
        return [
            (kind, source, found)
            for kind, by_source in self.quality.items()
            for source, found in by_source.items()
        ]

    def scored(self, arm: str) -> dict[int, FloatArray]:
        """The scores of an arm by seed, as far as they are there."""
        return {each.training.seed: each.sdr_ns for each in self.of(arm) if each.sdr_ns is not None}


def gather(
    trainings: Trainings,
    all_of_them: Sequence[Training],
    earlier: Mapping[Key, Found] = MappingProxyType({}),
) -> list[Found]:
    """Look up what has come of some trainings, here or, where they are not done, earlier."""
    here = [_found(trainings, training) for training in all_of_them]
    return [each if each.state.done else earlier.get(each.training.key, each) for each in here]


def names_of_songs(workspace: str, corpus: str) -> list[str]:
    """The test songs, in the order of every matrix of scores."""
    manifests = Manifests(Workspace(workspace))
    songs = load_songs(manifests, manifests.latest("stems", corpus), "test")
    return sorted(song.name for song in songs)


def arm_figures(scored: Mapping[int, FloatArray]) -> FloatArray:
    """The medians over songs, and after the sources their mean, a seed each: ``(K, S + 1)``."""
    return np.stack([median_sdr(sdr_ns) for sdr_ns in scored.values()])


def compare_arms(findings: PaperFindings, asked: Comparison) -> SeededDifference | None:
    """The difference of two arms in the mean over sources.

    None before all seeds of both are there: nobody looks at a test before its time.
    """
    candidate, reference = findings.scored(asked.arm), findings.scored(asked.against)
    seeds = sorted(candidate.keys() & reference.keys())
    if not seeds or len(seeds) < len(findings.of(asked.arm)):
        return None
    return compare_trainings(
        np.stack([(candidate[seed] - reference[seed]).mean(axis=1) for seed in seeds])
    )


def comparisons(findings: PaperFindings) -> list[tuple[Comparison, SeededDifference | None]]:
    """All comparisons, the primary one first; the others' p-values are corrected by Holm's way.

    Those that came later are families of their own, and change nothing in the others.
    """
    corrected = [each for family in FAMILIES for each in _corrected(findings, family)]
    return [(PRIMARY, compare_arms(findings, PRIMARY)), *corrected]


def _corrected(
    findings: PaperFindings, family: Sequence[Comparison]
) -> list[tuple[Comparison, SeededDifference | None]]:
    found = [compare_arms(findings, asked) for asked in family]
    p_values = holm([np.nan if each is None else each.p_value for each in found])
    return [
        (asked, each and replace(each, p_value=float(p_value)))
        for asked, each, p_value in zip(family, found, p_values, strict=True)
    ]


def _found(trainings: Trainings, training: Training) -> Found:
    state = trainings.state(training)
    train, evaluate, sdr_ns = Run(), Run(), None
    if state.job is not None:
        manifests = Manifests(Workspace(state.job.train.workspace))
        train = _runs(manifests, Partition(RUNS.name, state.job.train.labelled, state.model))
        scores = state.scores
        if scores is not None and scores.evaluations is not None:
            evaluate = _runs(manifests, replace(scores.evaluations, table=RUNS.name))
            stems = manifests.latest("stems", scores.evaluations.corpus)
            songs = sorted(load_songs(manifests, stems, "test"), key=lambda song: song.name)
            sdr_ns = scores.matrix(songs)
    return Found(training=training, state=state, sdr_ns=sdr_ns, train=train, evaluate=evaluate)


def _runs(manifests: Manifests, partition: Partition) -> Run:
    columns = ["run_id", "started_at", "duration_s", "outcome", "message"]
    rows = sorted(manifests.rows(partition, columns), key=lambda row: row["started_at"])
    completed = [row["run_id"] for row in rows if row["outcome"] == "completed"]
    # runs that found all of it done took part in nothing, and hardly any time
    return Run(
        run_id=completed[0] if completed else "",
        duration_s=sum(row["duration_s"] for row in rows),
        # less the kind of the error, which stands before it
        failed=rows[-1]["message"].partition(": ")[2]
        if rows and rows[-1]["outcome"] == "failed"
        else "",
    )
