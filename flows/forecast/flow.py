"""``silentmix forecast``: what a corpus would give, from a random sample of its tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger
from rich.console import Console
from rich.table import Table

from demucs_core.extraction.calibration_result import Calibration
from demucs_core.extraction.segments import ExtractionPolicy
from demucs_core.extraction.yields import YieldForecast, forecast_yield
from flows.forecast.options import MIN_TRACKS, ForecastParameters
from flows.inputs import registry
from flows.inputs.usable_tracks import usable_tracks
from flows.policy.calibration import calibrated
from flows.running.stage import StageResult, StageRun, as_told, stage_run
from flows.score.flow import score_tracks, scores_fingerprint
from flows.yields.flow import Yields, track_yield
from storage.errors import UserError
from storage.fingerprint import short_hash
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

STAGE = "forecast"
CONFIDENCE = 0.9


@dataclass(frozen=True)
class CorpusForecast:
    """What a sample of a corpus's tracks says about the whole of it.

    Attributes:
        hours: length of the corpus.
        scoring_hours: what scoring the rest would take; none where no track was scored to measure
            it.
    """

    corpus: str
    num_tracks: int
    num_sampled: int
    hours: float
    sources: dict[str, YieldForecast]
    scoring_hours: float | None

    def rows(self) -> list[dict[str, Any]]:
        """A row a source: expected hours, and their interval."""
        return [
            {
                "silent source": source,
                "hours": round(found.hours, 2),
                "from": round(found.low_hours, 2),
                "to": round(found.high_hours, 2),
                "minutes an hour": round(60 * found.hours / self.hours, 2),
            }
            for source, found in self.sources.items()
        ]

    def summary(self) -> str:
        """What the rows are about, and what scoring the rest would take, in a line."""
        rest = "how long scoring the rest would take was not measured: all of the sample was scored"
        if self.scoring_hours is not None:
            rest = f"scoring the rest would take {_duration(self.scoring_hours)} on these workers"
        return (
            f"{self.corpus}: {self.num_sampled} of {self.num_tracks} tracks sampled; hours of "
            f"{self.hours:.1f} h in which a source is silent, with {CONFIDENCE:.0%} intervals; "
            f"{rest}"
        )


@flow(name="forecast", flow_run_name="forecast {parameters.corpus}")
@as_told
def forecast(parameters: ForecastParameters) -> CorpusForecast | StageResult:
    """Say from a small sample what a corpus would give, before all of it is scored.

    Scores a random sample of its tracks, and tells the hours a source that the policy would
    extract from the whole corpus, and how long scoring the rest would take. The scores are kept.
    A dry run gives the plan.
    """
    workspace = Workspace(parameters.workspace)
    detector = registry.resolve(workspace, "detectors", parameters.detector)
    calibration = calibrated(workspace, detector, parameters, keep=not parameters.dry_run)
    name = scores_fingerprint(detector)
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        source = run.manifests.latest("tracks", parameters.corpus)
        tracks, _ = usable_tracks(run.manifests, source, **parameters.selection)
        sample = draw_sample(tracks, parameters.sample, parameters.seed)
        num_new = score_tracks(run, sample, source, parameters, detector)
        extracted, duration = _extractable(
            run, {str(track["track_id"]) for track in sample}, parameters.policy, calibration
        )
        if len(duration) < MIN_TRACKS:
            raise UserError(
                f"corpus {parameters.corpus!r}: {len(duration)} of {len(tracks)} tracks have "
                f"scores to forecast from, and it takes {MIN_TRACKS}; see the manifest rejects"
            )
        music = workspace.music
        total_s = _duration_s(tracks, music)
        found = forecast_yield(extracted, duration, total_s, confidence=CONFIDENCE)
        scoring_hours = None
        if num_new and (new_s := run.counts.get("seconds")):
            done = run.manifests.items(run.partition("scores"))
            rest = [track for track in tracks if track["track_id"] not in done]
            scoring_hours = _duration_s(rest, music) * run.counts["scoring_s"] / new_s / 3600
        made = CorpusForecast(
            corpus=parameters.corpus,
            num_tracks=len(tracks),
            num_sampled=len(duration),
            hours=total_s / 3600,
            sources=dict(zip(music.sources, found, strict=True)),
            scoring_hours=scoring_hours,
        )
        create_table_artifact(table=made.rows(), key=STAGE, description=made.summary())
    return run.result() if parameters.dry_run else made


def draw_sample(
    tracks: Sequence[dict[str, Any]], num_tracks: int, seed: int
) -> list[dict[str, Any]]:
    """Tracks at random, the same each time; a larger sample holds a smaller one."""

    def place(track: dict[str, Any]) -> str:
        return short_hash(f"{seed}/{track['track_id']}", 32)

    return sorted(sorted(tracks, key=place)[:num_tracks], key=lambda track: track["track_id"])


def _extractable(
    run: StageRun, track_ids: set[str], policy: ExtractionPolicy, calibration: Calibration
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds that the policy would extract of each track ``(N, S)``, and lengths ``(N,)``."""
    thresholds = sorted(set(calibration.thresholds))
    places = [thresholds.index(threshold) for threshold in calibration.thresholds]
    music = run.workspace.music
    grid = Yields.nothing(music, thresholds, [policy.min_duration_s])
    extracted, duration = [], []
    for track in _scores_of(run.manifests, run.partition("scores"), track_ids):
        try:
            seconds = track_yield(track, policy, grid)
        except ValueError as error:  # such a track will be rejected
            get_run_logger().warning("%s: %s: left out", track["track_id"], error)
            continue
        extracted.append(seconds[places, 0, range(len(music.sources))])
        duration.append(track["num_samples"] / music.sample_rate)
    return np.array(extracted), np.array(duration)


def _scores_of(
    manifests: Manifests, scores: Partition, track_ids: set[str]
) -> Iterator[dict[str, Any]]:
    """The scores of a few tracks, of the many that there may be."""
    for group in manifests.row_groups(scores):
        if track_ids & {row["track_id"] for row in manifests.read_row_group(group, ["track_id"])}:
            rows = manifests.read_row_group(group)
            yield from (row for row in rows if row["track_id"] in track_ids)


def _duration_s(tracks: Sequence[dict[str, Any]], music: MusicFormat) -> float:
    return float(sum(track["num_samples"] for track in tracks)) / music.sample_rate


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def print_forecast(made: CorpusForecast, console: Console) -> None:
    """The forecast, for the terminal."""
    console.print(made.summary(), markup=False, highlight=False)
    table = Table(box=None, pad_edge=False)
    rows = made.rows()
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "silent source" else "right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
