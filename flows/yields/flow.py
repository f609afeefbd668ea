"""``silentmix yields``: what other thresholds and minimum lengths would extract; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import flow
from prefect.artifacts import create_table_artifact
from rich.console import Console
from rich.table import Table

from demucs_core.extraction.calibration_result import Calibration, SourceCalibration
from demucs_core.extraction.segments import ExtractionPolicy, threshold_log_odds
from demucs_core.extraction.yields import yield_table
from flows.inputs import registry
from flows.inputs.made_for import require_hears
from flows.policy.calibration import calibrated
from flows.running.dividing import Indispensable
from flows.running.execution import results_of
from flows.running.stage import as_told
from flows.score.flow import scores_fingerprint
from flows.yields.options import YieldsParameters
from storage.errors import UserError
from storage.music_format import MusicFormat
from storage.tables.manifests import Manifests, RowGroup
from storage.workspace import Workspace

CHOSEN = " *"


@dataclass(frozen=True)
class YieldBatch(Indispensable["Yields"]):
    """A row group of scores that one Dask task tries thresholds and lengths on."""

    workspace: Workspace
    row_group: RowGroup
    policy: ExtractionPolicy
    thresholds: tuple[float, ...]
    min_durations_s: tuple[float, ...]

    @property
    def named(self) -> str:
        """The part of the scores."""
        return self.workspace.url(self.row_group.path)


@dataclass
class Yields:
    """What thresholds and minimum lengths (both ascending) would extract of some tracks.

    Attributes:
        seconds: ``(H, L, S)``.
        num_unreadable: tracks whose scores are no probabilities.
    """

    music: MusicFormat
    thresholds: tuple[float, ...]
    min_durations_s: tuple[float, ...]
    seconds: NDArray[np.float64]
    num_tracks: int = 0
    num_unreadable: int = 0
    duration_s: float = 0.0

    @classmethod
    def nothing(
        cls, music: MusicFormat, thresholds: Sequence[float], min_durations_s: Sequence[float]
    ) -> Yields:
        """Of no tracks yet."""
        shape = (len(thresholds), len(min_durations_s), len(music.sources))
        return cls(music, tuple(thresholds), tuple(min_durations_s), np.zeros(shape))

    def add(self, other: Yields) -> None:
        """Count another's tracks too."""
        self.seconds += other.seconds
        self.num_tracks += other.num_tracks
        self.num_unreadable += other.num_unreadable
        self.duration_s += other.duration_s


@dataclass(frozen=True)
class CorpusYields:
    """The yields of a corpus, and the choice that its detector's calibration makes.

    Attributes:
        tried: thresholds tried for every source, calibrated or not.
        problem: why there is no calibration, or empty.
    """

    corpus: str
    detector: str
    policy: ExtractionPolicy
    yields: Yields
    tried: frozenset[float]
    calibration: Calibration | None
    problem: str

    def rows(self) -> list[dict[str, str]]:
        """A row a source and threshold: minutes for each minimum length, the choice marked."""
        rows = []
        for index, source in enumerate(self.yields.music.sources):
            own = None if self.calibration is None else self.calibration.sources[index]
            for threshold, seconds in zip(
                self.yields.thresholds, self.yields.seconds[:, :, index], strict=True
            ):
                calibrated_here = own is not None and threshold == own.threshold
                if threshold not in self.tried and not calibrated_here:
                    continue
                row = {
                    "silent": source,
                    "threshold": f"{threshold:.5g}",
                    "promised": promised(own, threshold),
                }
                for length, value in zip(self.yields.min_durations_s, seconds, strict=True):
                    chosen = calibrated_here and length == self.policy.min_duration_s
                    row[f"≥ {length:g} s"] = f"{value / 60:.1f}{CHOSEN if chosen else ''}"
                rows.append(row)
        return rows

    def summary(self) -> str:
        """What the rows are about, in a line."""
        said = (
            f"{self.corpus}: minutes that could be extracted from {self.yields.num_tracks} tracks "
            f"({self.yields.duration_s / 3600:.1f} h), by threshold, the precision promised for "
            "it, and shortest segment"
        )
        if self.problem:
            return f"{said}; nothing is calibrated: {self.problem}"
        return f"{said};{CHOSEN} is the calibrated choice"


@flow(name="yields", flow_run_name="yields {parameters.corpus}")
@as_told
def yields(parameters: YieldsParameters) -> CorpusYields:
    """Show what other thresholds and minimum lengths would extract; writes nothing.

    Minutes a source over a scored corpus, with the calibrated choice marked. Run it before
    ``extract``, to choose a policy by looking.
    """
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    detector = registry.resolve(workspace, "detectors", parameters.detector)
    scores = manifests.latest("scores", parameters.corpus, scores_fingerprint(detector))
    calibration, problem = None, ""
    try:
        calibration = calibrated(workspace, detector, parameters, keep=False)
    except UserError as error:  # too little evidence: looking at the yield may be why they came
        require_hears(workspace, detector)
        problem = str(error)
    tried = frozenset(parameters.thresholds)
    thresholds = tried | thresholds_of(calibration)
    lengths = {*parameters.min_durations_s, parameters.min_duration_s}
    total = Yields.nothing(workspace.music, sorted(thresholds), sorted(lengths))
    batches = [
        YieldBatch(workspace, group, parameters.policy, total.thresholds, total.min_durations_s)
        for group in manifests.row_groups(scores)
    ]
    with results_of(
        yields_of_batch, batches, parameters, label="yields", unit="batches"
    ) as results:
        for found in results:
            total.add(found)
    made = CorpusYields(
        parameters.corpus, detector, parameters.policy, total, tried, calibration, problem
    )
    create_table_artifact(table=made.rows(), key="yields", description=made.summary())
    return made


def yields_of_batch(batch: YieldBatch) -> Yields:
    """What each threshold and minimum length would extract from one row group of scores."""
    total = Yields.nothing(batch.workspace.music, batch.thresholds, batch.min_durations_s)
    columns = ["num_samples", "hop_samples", "silence_probability", "level_db"]
    for track in Manifests(batch.workspace).read_row_group(batch.row_group, columns):
        try:
            total.seconds += track_yield(track, batch.policy, total)
        except ValueError:
            total.num_unreadable += 1
            continue
        total.num_tracks += 1
        total.duration_s += track["num_samples"] / total.music.sample_rate
    return total


def track_yield(
    track: dict[str, Any], policy: ExtractionPolicy, grid: Yields
) -> NDArray[np.float64]:
    """What a grid of thresholds and lengths would extract of one row of ``scores``: ``(H, L, S)``.

    Raises:
        ValueError: the scores are no probabilities.
    """
    return yield_table(
        np.array(track["silence_probability"], dtype=np.float32),
        np.array(track["level_db"], dtype=np.float32),
        grid.thresholds,
        grid.min_durations_s,
        policy,
        hop_samples=track["hop_samples"],
        sample_rate=grid.music.sample_rate,
    )


def print_yields(found: CorpusYields, console: Console) -> None:
    """The table of yields, for the terminal."""
    console.print(found.summary(), markup=False, highlight=False)
    rows = found.rows()
    table = Table(box=None, pad_edge=False)
    for heading in rows[0]:
        table.add_column(heading, justify="left" if heading == "silent" else "right")
    for before, row in zip([rows[0], *rows], rows, strict=False):
        if row["silent"] != before["silent"]:
            table.add_row()
        style = "bold" if any(cell.endswith(CHOSEN) for cell in row.values()) else ""
        table.add_row(*row.values(), style=style)
    console.print(table)
    if found.yields.num_unreadable:
        console.print(
            f"{found.yields.num_unreadable} tracks left out: their scores are no probabilities"
        )


def promised(source: SourceCalibration | None, threshold: float) -> str:
    """The precision that the held-out songs promise at a threshold, between those measured."""
    log_odds = threshold_log_odds(threshold)
    if source is None or not source.curve.log_odds[0] <= log_odds <= source.curve.log_odds[-1]:
        return ""
    return f"{np.interp(log_odds, source.curve.log_odds, source.curve.precision_bound):.3f}"


def thresholds_of(calibration: Calibration | None) -> set[float]:
    """The thresholds that a calibration chose, of any source."""
    sources = () if calibration is None else calibration.sources
    return {source.threshold for source in sources if source.threshold is not None}
