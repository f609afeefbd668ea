"""What ``silentmix study paper`` writes: its page, plots, and the figures as Parquet and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demucs_core.metrics.seeded_comparison import SeededDifference, mean_interval
from flows.studies.paper.arms import (
    ARMS,
    FIRST,
    LATER,
    OF_THE_DEFAULT,
    ORDER,
    PRIMARY,
    REMEDIES,
    TRIED,
    Arm,
    Comparison,
)
from flows.studies.paper.audited import DRAWS, PRECISION
from flows.studies.paper.data import SUREST_SHARE
from flows.studies.paper.figures import convergence_figure, curve_figure, table_figure
from flows.studies.paper.findings import PaperFindings, arm_figures, comparisons
from flows.studies.paper.parameters import PaperParameters
from flows.studies.paper.tables import write_tables
from flows.studies.report import Row, StudyReport

TITLE = "Does unlabelled music help? The paper's table, made by the pipeline"
HOUR_S = 3600.0


def write_paper_study(parameters: PaperParameters, findings: PaperFindings) -> list[Path]:
    """Write what is known so far into the output folder; returns the files."""
    report = StudyReport(
        parameters.study, TITLE, parameters, parameters.output,
        command="paper", usual=parameters.usual, given={"preset": parameters.preset},
    )  # fmt: skip
    report.text(_about(parameters))
    report.text(_progress(findings))
    report.heading("The answer")
    found = comparisons(findings)
    report.text(_verdict(*found[0]))
    remedy = dict(found)[REMEDIES[0]]
    if remedy is not None:
        report.text(
            f"{_verdict(REMEDIES[0], remedy)} That is the default now (`extract --surest-share`), "
            "and was asked once the primary comparison was known."
        )
    report.heading("SDR")
    report.table("sdr", [_arm_row(findings, ARMS[key]) for key in sorted(ARMS, key=int)])
    report.text(
        "SDR in dB: the median over the test songs of the median over their frames (BSSEval v4), "
        "as museval has it; then the mean over the seeds. *all* is the mean over the sources, "
        "*from* and *to* its interval of 95 % over the seeds (Student's t). The weights are those "
        "of the best validation loss; test songs choose nothing. Hours are of one training in one "
        "process, those that were killed left out."
    )
    _problems(report, findings)
    if any(findings.scored(key) for key in ARMS):
        report.plot("sdr", table_figure(findings), "SDR of each seed, and their mean")
    report.heading("Comparisons")
    report.table("comparisons", [_comparison_row(*each) for each in found])
    report.text(
        "Differences of the mean SDR over the sources, paired by seed and song, at the last step: "
        "mean, interval of 95 % and p-value of the mixed model with crossed random effects of "
        "seeds and songs (`demucs_core/metrics/seeded_comparison.py`). The first row is the one "
        "primary comparison, named before any training had ended, and its p-value stands as it "
        "is; those of the others are corrected for being several (Holm). "
        f"{_named_later()}"
    )
    report.heading("Have they converged?")
    if any(each.state.history for each in findings.found):
        report.plot(
            "convergence", convergence_figure(findings), "SDR on validation crops over the steps"
        )
    _detector(report, parameters, findings)
    _curves(report, parameters, findings)
    report.heading("Tried and dropped")
    report.text("\n".join(f"- {line}" for line in TRIED))
    report.heading("Where each figure comes from")
    report.text(
        f"`{parameters.study}-trainings.parquet`: a row a training, with its model and the runs "
        f"of `train` and `evaluate` in the manifest `runs` of its workspace. "
        f"`{parameters.study}-scores.parquet`: a row a training, test song and source. "
        f"`{parameters.study}-validations.parquet`: a row a training and validation. "
        f"`{parameters.study}-silences.parquet`: a row a workspace, kind of segments and source."
    )
    return [*report.write(), *write_tables(parameters, findings)]


def _named_later() -> str:
    return (
        f"{_pairs(LATER)} came later, when other arms were being trained and none of arms 7, 8 and "
        f"9; {_pairs(REMEDIES)} once the primary comparison was known, before any training of arms "
        f"11 and 12 had ended; {_pairs(OF_THE_DEFAULT)} once arm 12 had become the default, when "
        "three trainings of arm 6 had ended and none of arms 2, 4, 7 and 8. Each of these families "
        "is corrected by itself, so that the others' p-values are what they would be without it."
    )


def _pairs(family: Sequence[Comparison]) -> str:
    return ", ".join(f"{asked.arm} - {asked.against}" for asked in family)


def _about(parameters: PaperParameters) -> str:
    models = (
        f"Demucs has {parameters.demucs_channels} channels and {parameters.demucs_depth} blocks. "
        f"All arms take {parameters.steps:,} steps of {parameters.batch_size} crops of "
        f"{parameters.crop_s:g} s, {parameters.weak_share:.0%} of them remixes where there are "
        f"any, Adam at {parameters.learning_rate:g}; {parameters.seeds} seeds each, with the same "
        "first weights for all arms of Demucs. Arms 8 and 9 begin with those that "
        f"{parameters.mixit_steps:,} steps on mixtures of the unlabelled songs left, which come "
        "on top."
    )
    if parameters.labelled:
        return f"A labelled set and a folder of unlabelled music, at {parameters.music}. {models}"
    return (
        f"Generated songs of {parameters.song_s:g} s: {parameters.labelled_songs} labelled ones to "
        f"train on and {parameters.valid_songs} to validate on (instruments "
        f"`{parameters.labelled_instruments}`), {parameters.unlabelled_songs} unlabelled ones "
        f"(`{parameters.unlabelled_instruments}`) and {parameters.test_songs} to test on "
        f"(`{parameters.test_instruments}`): the three share no instrument and no seed. All is at "
        f"{parameters.music}. The detector is fitted on the labelled songs and calibrated on the "
        f"validation songs alone. {models}"
    )


def _progress(findings: PaperFindings) -> str:
    done = sum(each.state.done for each in findings.found)
    elsewhere = sum(bool(each.state.elsewhere) for each in findings.found)
    where = f", {elsewhere} of them in other workspaces than the last" * bool(elsewhere)
    if done == len(findings.found):
        return f"All {done} trainings have ended{where}."
    return (
        f"**Not finished: {done} of {len(findings.found)} trainings have ended{where}.** The same "
        f"command goes on. First come arms {' and '.join(ORDER[:FIRST])}, seed by seed, then the "
        "others."
    )


def _verdict(asked: Comparison, found: SeededDifference | None) -> str:
    arms = f"{ARMS[asked.arm].name} (arm {asked.arm})"
    against = f"{ARMS[asked.against].name} (arm {asked.against})"
    if found is None or math.isnan(found.p_value):
        return (
            f"{asked.asks} Not known yet: {arms} is compared with {against} once all seeds of both "
            "are there, and not before."
        )
    shown = found.low_db > 0 or found.high_db < 0
    said = "is better" if found.mean_db > 0 else "is worse"
    said = f"{said} by {abs(found.mean_db):.2f} dB" if shown else "shows no difference"
    seeds = f"{found.num_seeds} seed{'s' * (found.num_seeds > 1)}"
    return (
        f"{asked.asks} **{arms} {said}** against {against}: {found.mean_db:+.2f} dB, interval of "
        f"95 % from {found.low_db:+.2f} to {found.high_db:+.2f}, p = {found.p_value:.2g}, {seeds} "
        f"and {found.num_songs} test songs, of which {found.better_songs:.0%} are better."
    )


def _arm_row(findings: PaperFindings, arm: Arm) -> Row:
    scored = findings.scored(arm.key)
    row: dict[str, str | int | float | None] = {"arm": arm.key, "what": arm.name}
    columns = (*findings.sources, "all")
    figures = arm_figures(scored) if scored else np.full((1, len(columns)), math.nan)
    row |= dict(zip(columns, figures.mean(axis=0).tolist(), strict=True))
    row["from"], row["to"] = mean_interval(figures[:, -1])
    of_arm = findings.of(arm.key)
    hours = [each.train.duration_s / HOUR_S for each in of_arm if each.state.trained]
    row["seeds"] = f"{len(scored)} of {len(of_arm)}"
    row["remixes"] = max((each.state.remixes for each in of_arm), default=0) or None
    row["hours"] = float(np.mean(hours)) if hours else math.nan
    return row


def _problems(report: StudyReport, findings: PaperFindings) -> None:
    """Say which arms can't be made, and why: in the table's own words, not by leaving them out."""
    problems: dict[str, str] = {}
    for each in findings.found:
        if why := findings.problem(each):  # one line where all seeds of an arm say the same
            label = f"arm {each.training.arm.key}" if each.state.problem else each.training.label
            problems.setdefault(label, why)
    if problems:
        report.text("\n".join(f"- Not made: {label}: {why}" for label, why in problems.items()))


def _comparison_row(asked: Comparison, found: SeededDifference | None) -> Row:
    return {
        "question": asked.asks + (" (primary)" if asked is PRIMARY else ""),
        "arms": f"{asked.arm} - {asked.against}",
        "difference": math.nan if found is None else found.mean_db,
        "from": math.nan if found is None else found.low_db,
        "to": math.nan if found is None else found.high_db,
        "p": None if found is None or math.isnan(found.p_value) else f"{found.p_value:.2g}",
        "claimed": f"at least {asked.claim_db:+.1f}",
        "reached": None if found is None else "yes" if found.mean_db >= asked.claim_db else "no",
        "seeds": 0 if found is None else found.num_seeds,
    }


def _detector(report: StudyReport, parameters: PaperParameters, findings: PaperFindings) -> None:
    rows = findings.silence_rows()
    if not rows:
        return
    report.heading("What the detector found")
    names = {
        "workspace": "workspace", "segments": "segments", "source": "silent source",
        "minutes": "minutes", "precision": "true precision", "recall": "true recall",
    }  # fmt: skip
    several = len({row["workspace"] for row in rows}) > 1
    report.table(
        "detector",
        [
            {named: row[name] for name, named in names.items() if several or name != "workspace"}
            for row in rows
        ],
    )
    if several:
        report.text(
            "Each workspace's detector was fitted anew: on another kind of processor sums are "
            "rounded otherwise, and it becomes another one. Which training is of which workspace "
            f"is in `{parameters.study}-trainings.parquet`. Where no recall is told, it was "
            "counted of silences of 3 s and more alone, and dropped."
        )
    report.text(
        "*surest* (arm 12): with thresholds at which the validation songs still give "
        f"{SUREST_SHARE:.0%} of the seconds (`silentmix extract --surest-share`). "
        f"*audited* (arm 11): {DRAWS} segments a source were heard, which the truth did in place "
        f"of a person, and those are left that the answers show to be right in {PRECISION:.0%} of "
        "their seconds (`silentmix audit`, then `extract --audit`)."
    )


def _curves(report: StudyReport, parameters: PaperParameters, findings: PaperFindings) -> None:
    if not findings.points:
        return
    report.heading("Curves")
    report.text(
        "One parameter changes at a time; the other points are the study's own. Intervals of 95 % "
        "over the seeds. No test was made of them, and none was planned."
    )
    report.plot("curves", curve_figure(parameters, findings), "SDR of arms over parameters")
