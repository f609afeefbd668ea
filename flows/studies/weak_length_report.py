"""What ``silentmix study weak-length`` writes: its page, two plots, and the figures as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from demucs_core.extraction.segments import ExtractionPolicy, Segment
from flows.evaluate.plots import METHOD_COLORS
from flows.reports.plots import SIZE_IN
from flows.studies.report import Row, StudyReport
from flows.studies.songs import MUSIC
from flows.studies.usable_minutes import FRAME_RATE, at_least, usable_minutes
from flows.studies.weak_length import CONFIDENCE_WEIGHTING, Training, WeakLengthFindings, arms
from flows.studies.weak_length_options import WeakLengthParameters

CROPS_S = (2, 5, 10)
CURVE_CROPS_S = np.arange(1.0, 20.5, 0.5)
AIM, AIM_CROP_S = 5, 10
LABEL_WIDTH = 11
EXTRACTED, TRUE = "extracted", "true silences"


def write_weak_length_study(
    parameters: WeakLengthParameters, findings: WeakLengthFindings
) -> list[Path]:
    """Write the study into its output folder; returns the files."""
    title = "What a mask gives where silences are shorter than the crop"
    report = StudyReport("weak-length", title, parameters, parameters.output)
    report.text(
        f"{parameters.train_songs} labelled songs to train on, {parameters.valid_songs} to "
        "calibrate the detector and to validate on, and "
        f"{parameters.unlabelled_songs} without stems ({findings.music_s / 60:.0f} minutes), all "
        f"generated, of {parameters.song_s:g} s each. Sources drop out for sections or parts of "
        f"them: {_share_below(findings.true, AIM_CROP_S):.0%} of the true silences are shorter "
        f"than {AIM_CROP_S} s. Every figure comes from the stages that a user runs."
    )
    silences = {EXTRACTED: findings.extracted, TRUE: findings.true}
    _minutes(report, parameters, findings, silences)
    if findings.trainings:
        _sdr(report, parameters, findings.trainings)
    return report.write()


def _minutes(
    report: StudyReport,
    parameters: WeakLengthParameters,
    findings: WeakLengthFindings,
    silences: Mapping[str, Sequence[Sequence[Segment]]],
) -> None:
    default_s = ExtractionPolicy().min_duration_s
    rows = [
        _minutes_row(name, tracks, crop_s, default_s)
        for name, tracks in silences.items()
        for crop_s in CROPS_S
    ]
    report.heading("Usable minutes")
    report.table("minutes", rows)
    report.text(
        f"`{EXTRACTED}`: segments of at least {parameters.min_duration_s:g} s that `extract` found "
        f"with one set of thresholds; `{TRUE}`: what it would find if the detector were always "
        "right. A minute in which two sources are silent counts for both. Without masks, a crop "
        "must lie inside a silence: *whole crops* cuts crops side by side, the paper's way, and "
        "drops the rest; *long enough* is kinder to it, and counts all of each silence that is as "
        "long as a crop, since crops at random places in it reach everything. With a mask, every "
        f"second of every segment counts; *masked, {default_s:g} s* leaves out those shorter than "
        "the default of `extract`. A masked minute is a minute under the loss: what is around it "
        "in the crop is context and costs computing, but teaches nothing by itself."
    )
    for name, tracks in silences.items():
        report.text(f"**{name.capitalize()}: {_against_aim(tracks)}**")
    whole = float(usable_minutes(findings.true, AIM_CROP_S).whole_crops.sum())
    every = float(usable_minutes(findings.all_true, AIM_CROP_S).masked.sum())
    report.figures("all_true_silence_min", every)
    report.text(
        "All true silence of these songs together, down to a single frame and with nothing cut "
        f"from its ends, is {every:.1f} minutes, {_ratio(every, whole):.1f} times the whole crops "
        f"of {AIM_CROP_S} s: no mask could give more."
    )
    report.text(f"By source, at crops of {parameters.crop_s:g} s, as extracted:")
    minutes = usable_minutes(findings.extracted, parameters.crop_s)
    report.table(
        "sources",
        [
            {
                "silent source": source,
                "true precision": findings.quality[source].precision,
                "whole crops, min": float(minutes.whole_crops[index]),
                "long enough, min": float(minutes.long_enough[index]),
                "masked, min": float(minutes.masked[index]),
            }
            for index, source in enumerate(MUSIC.sources)
        ],
    )
    report.plot(
        "minutes", _minutes_figure(silences), "Minutes that crops of a length can use, all sources"
    )


def _minutes_row(
    name: str, tracks: Sequence[Sequence[Segment]], crop_s: float, default_s: float
) -> Row:
    minutes = usable_minutes(tracks, crop_s)
    longer = usable_minutes([at_least(segments, default_s) for segments in tracks], crop_s)
    whole, masked = float(minutes.whole_crops.sum()), float(minutes.masked.sum())
    return {
        "silences": name,
        "crop, s": crop_s,
        "whole crops, min": whole,
        "long enough, min": float(minutes.long_enough.sum()),
        "masked, min": masked,
        f"masked, {default_s:g} s, min": float(longer.masked.sum()),
        "masked / whole crops": _ratio(masked, whole),
        "masked / long enough": _ratio(masked, float(minutes.long_enough.sum())),
    }


def _against_aim(tracks: Sequence[Sequence[Segment]]) -> str:
    minutes = usable_minutes(tracks, AIM_CROP_S)
    whole, long_enough, masked = (
        float(values.sum()) for values in (minutes.whole_crops, minutes.long_enough, minutes.masked)
    )
    lengths_s = [
        (segment.stop_frame - segment.start_frame) / FRAME_RATE
        for segments in tracks
        for segment in segments
    ]
    reached = [
        crop_s
        for crop_s in CURVE_CROPS_S
        if masked >= AIM * usable_minutes(tracks, float(crop_s)).whole_crops.sum()
    ]
    return (
        f"for crops of {AIM_CROP_S} s, masks give {masked:.1f} minutes, "
        f"{_ratio(masked, whole):.1f} times the {whole:.1f} of whole crops and "
        f"{_ratio(masked, long_enough):.1f} times the {long_enough:.1f} of all silences that are "
        f"long enough. The aim, {AIM} times the whole crops, is "
        f"{'reached' if masked >= AIM * whole else 'not reached'}. It depends on how long the "
        f"silences are: half of the {len(lengths_s)} here are shorter than "
        f"{np.median(lengths_s) if lengths_s else math.nan:.1f} s, and the factor is {AIM} from "
        f"crops of {min(reached, default=math.inf):g} s on."
    )


def _share_below(tracks: Sequence[Sequence[Segment]], length_s: float) -> float:
    total = sum(len(segments) for segments in tracks)
    longer = sum(len(at_least(segments, length_s)) for segments in tracks)
    return 1 - longer / total if total else math.nan


def _ratio(more: float, less: float) -> float:
    return more / less if less else math.inf if more else math.nan


def _minutes_figure(silences: Mapping[str, Sequence[Sequence[Segment]]]) -> Figure:
    width, height = SIZE_IN
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(1, len(silences), sharey=True)
    for axes, (name, tracks) in zip(panels, silences.items(), strict=True):
        found = [usable_minutes(tracks, float(crop_s)) for crop_s in CURVE_CROPS_S]
        for color, (label, values) in zip(
            METHOD_COLORS,
            {
                "whole crops": [minutes.whole_crops.sum() for minutes in found],
                "long enough": [minutes.long_enough.sum() for minutes in found],
                "masked": [minutes.masked.sum() for minutes in found],
            }.items(),
            strict=False,
        ):
            axes.plot(CURVE_CROPS_S, values, label=label, color=color)
        axes.set(title=name, xlabel="crop (s)", ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("usable minutes")
    panels[-1].legend(frameon=False)
    figure.tight_layout()
    return figure


def _sdr(
    report: StudyReport, parameters: WeakLengthParameters, trainings: Sequence[Training]
) -> None:
    by_arm: dict[str, list[Training]] = {}
    for training in trainings:
        by_arm.setdefault(training.arm, []).append(training)
    report.heading("Validation SDR")
    report.text(
        f"Demucs with {parameters.channels} channels and {parameters.depth} blocks, "
        f"{parameters.steps} steps of {parameters.batch_size} crops of {parameters.crop_s:g} s, "
        f"{parameters.weak_share:.0%} of them remixes where there are any; "
        f"{parameters.seeds} seed{'s' * (parameters.seeds > 1)}, each with the same first weights "
        "for every way to train. The SDR is that of all validation crops together, at the last "
        "step, in dB."
    )
    baselines = {arm.name: arm.against for arm in arms(parameters.crop_s)}
    report.table(
        "sdr",
        [
            _sdr_row(arm, found, baselines[arm], by_arm[baselines[arm]])
            for arm, found in by_arm.items()
        ],
    )
    report.text(
        "*The paper's whole crops*: segments as long as the crop, one source put in, the others "
        "known as a sum, no mask. *Masked*: the same with segments of any length. *With groups*: "
        "each source known to be silent is a target of its own, zeros or the stem put into it, and "
        "several may get one. *By confidence*: a remix weighs the detector's confidence in its "
        f"silences to the power {CONFIDENCE_WEIGHTING:g}. *Matched*: stems whose tempo and key fit "
        "the segment's."
    )
    report.text(
        "The spread is the largest difference between two seeds of the same way to train. "
        "A difference within it shows nothing, and one beyond it, from so few seeds, is a hint. "
        "The trainings are far too short, and the models far too small, to say what full-size "
        "models would gain; the songs are generated, and labelled and unlabelled ones share their "
        "instruments, which real music does not do."
    )
    report.plot("sdr", _sdr_figure(by_arm), "Mean SDR on the validation crops")
    report.figures(
        "trainings",
        [
            {
                "arm": training.arm,
                "seed": training.seed,
                "remixes": training.num_remixes,
                "history": [entry.to_json() for entry in training.history],
            }
            for training in trainings
        ],
    )


def _sdr_row(
    arm: str, found: Sequence[Training], against: str, baseline: Sequence[Training]
) -> Row:
    means = _means(found)
    row: dict[str, str | int | float | None] = {"trained on": arm, "remixes": found[0].num_remixes}
    for index, source in enumerate(MUSIC.sources):
        values = [training.history[-1].sdr_db[index] for training in found if training.history]
        row[source] = float(np.mean(values)) if values else math.nan
    row["mean"] = float(np.mean(means)) if means else math.nan
    row["lowest seed"] = min(means, default=math.nan)
    row["highest seed"] = max(means, default=math.nan)
    differs = found is not baseline
    row["against"] = against if differs else ""
    row["difference"] = compare(means, _means(baseline)) if differs else ""
    return row


def compare(means: Sequence[float], baseline: Sequence[float]) -> str:
    """How far the seeds of one way to train are above those of another, and whether that counts.

    >>> compare([3.0, 3.2], [2.0, 2.5])
    '+0.85, beyond the spread of 0.50'
    >>> compare([3.0], [2.0])
    '+1.00, one seed: no spread known'
    """
    if not means:
        return "no segment to train on"
    difference = float(np.mean(means) - np.mean(baseline))
    if len(means) < 2:
        return f"{difference:+.2f}, one seed: no spread known"
    spread = max(max(values) - min(values) for values in (means, baseline))
    beyond = "beyond" if abs(difference) > spread else "within"
    return f"{difference:+.2f}, {beyond} the spread of {spread:.2f}"


def _means(found: Sequence[Training]) -> list[float]:
    return [training.history[-1].mean_sdr_db for training in found if training.history]


def _sdr_figure(by_arm: Mapping[str, Sequence[Training]]) -> Figure:
    figure = Figure(figsize=SIZE_IN)
    curves, last = figure.subplots(1, 2, sharey=True)
    for place, (color, (arm, found)) in enumerate(zip(METHOD_COLORS, by_arm.items(), strict=False)):
        label = arm
        for training in found:
            steps = [entry.step for entry in training.history]
            values = [entry.mean_sdr_db for entry in training.history]
            curves.plot(steps, values, color=color, label=label, linewidth=1.2)
            label = "_"
        means = _means(found)
        last.plot([place] * len(means), means, "o", color=color, alpha=0.6)
        if means:
            last.plot(place, np.mean(means), "_", color=color, markersize=22, markeredgewidth=2)
    curves.set(xlabel="step", ylabel="mean validation SDR (dB)")
    curves.legend(frameon=False, fontsize="small")
    last.set_xticks(range(len(by_arm)), [fill(arm, LABEL_WIDTH) for arm in by_arm], fontsize=6)
    last.set_title("last step: each seed, and their mean", fontsize="small")
    for axes in (curves, last):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
