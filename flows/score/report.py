"""What a person sees of scores: how sure the detector is, where the thresholds are, and sounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from demucs_core.extraction.calibration_result import Calibration
from demucs_core.extraction.segments import ExtractionPolicy, threshold_log_odds, to_log_odds
from demucs_core.windows import best_window
from flows.reports.file_names import file_names
from flows.reports.markdown import plain
from flows.reports.plots import colors_of, grid_of
from flows.running.stage import StageRun
from storage.music_format import MusicFormat
from storage.reading import CanonicalAudioError, CropReader
from storage.tables.manifests import Manifests, Partition

MAX_TRACKS = 500
"""Looked at, the first ones by the names of their parts, which are hashes."""

EXCERPT_S = 6.0
MAX_PLAYED_S = 48.0
"""Of all players together, so that they stay below the size that an artifact may have."""

EDGES = np.arange(-10.0, 10.01, 0.5)
"""Of the histogram's bins, in log-odds: equal steps of probability would hide both ends."""

TICKS = (0.0001, 0.01, 0.5, 0.99, 0.9999)


@dataclass(frozen=True)
class Track:
    """A row of ``scores`` as arrays.

    Attributes:
        probability: ``(S, F)``.
        level_db: ``(F,)``.
    """

    track_id: str
    path: str
    num_samples: int
    probability: NDArray[np.float32]
    level_db: NDArray[np.float32]


@dataclass(frozen=True)
class Excerpt:
    """A stretch worth hearing, and by how much it was chosen over others."""

    closeness: float
    track_id: str
    path: str
    start_sample: int
    num_samples: int
    probability: float


@dataclass
class Look:
    """What was seen of the scores of some tracks.

    Attributes:
        music: of the workspace.
        num_tracks: how many.
        counts: frames a source and bin, ``(S, bins)``.
        above: frames a source at or above its threshold.
        surest: for each source, where it is silent most surely.
        doubtful: for each source, where the probability is nearest to its threshold.
    """

    music: MusicFormat
    num_tracks: int = 0
    counts: NDArray[np.int64] = field(init=False)
    above: NDArray[np.int64] = field(init=False)
    surest: dict[str, Excerpt] = field(default_factory=dict)
    doubtful: dict[str, Excerpt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with no frames."""
        num_sources = len(self.music.sources)
        self.counts = np.zeros((num_sources, len(EDGES) - 1), dtype=np.int64)
        self.above = np.zeros(num_sources, dtype=np.int64)

    @property
    def excerpt_frames(self) -> int:
        """Frames of what is played, of two stretches a source."""
        excerpt_s = min(EXCERPT_S, MAX_PLAYED_S / (2 * len(self.music.sources)))
        return round(excerpt_s * self.music.frame_rate)


def report_scores(run: StageRun, calibration: Calibration | None) -> None:
    """Put a histogram of the scores a source into a run's report, and players.

    Args:
        run: of the stage; its partition of ``scores`` is looked at.
        calibration: of the detector, whose thresholds are drawn in, if there is one.
    """
    music = run.workspace.music
    thresholds = (
        dict(zip(music.sources, calibration.thresholds, strict=True)) if calibration else {}
    )
    look = look_at(_tracks(run.manifests, run.partition("scores")), thresholds, music)
    if not look.num_tracks:
        return
    promise = (
        f"Dashed: thresholds calibrated for a precision of {calibration.target_precision:g}."
        if calibration
        else "The detector has no calibrated thresholds yet."
    )
    caption = f"How likely each source is silent, frame by frame, in {look.num_tracks} tracks."
    run.report.plot("scores", histogram(look, thresholds), f"{caption} {promise}")
    _play(run, look, thresholds)


def look_at(tracks: Iterator[Track], thresholds: dict[str, float], music: MusicFormat) -> Look:
    """Count the frames of each probability, and choose what to hear."""
    look = Look(music)
    for track in tracks:
        look.num_tracks += 1
        log_odds = to_log_odds(track.probability)
        clipped = np.clip(log_odds, EDGES[0], np.nextafter(EDGES[-1], 0))
        for index, source in enumerate(music.sources):
            threshold = threshold_log_odds(thresholds.get(source, 0.5))
            look.counts[index] += np.histogram(clipped[index], EDGES)[0]
            look.above[index] += (log_odds[index] >= threshold).sum()
            _choose(look, look.surest, source, track, index, track.probability[index])
            if np.isfinite(threshold):
                closeness = -abs(log_odds[index] - threshold)
                _choose(look, look.doubtful, source, track, index, closeness)
    return look


def _choose(
    look: Look,
    chosen: dict[str, Excerpt],
    source: str,
    track: Track,
    index: int,
    values: NDArray[np.floating],
) -> None:
    """Keep a track's best stretch if none before it was as good."""
    num_frames, hop_samples = look.excerpt_frames, look.music.hop_samples
    found = best_window(
        values, track.level_db, num_frames, min_level_db=ExtractionPolicy.min_level_db
    )
    if found is None or (source in chosen and chosen[source].closeness >= found[1]):
        return
    start, closeness = found
    first = start * hop_samples
    chosen[source] = Excerpt(
        closeness=closeness,
        track_id=track.track_id,
        path=track.path,
        start_sample=first,
        num_samples=min(num_frames * hop_samples, track.num_samples - first),
        probability=float(track.probability[index, start : start + num_frames].mean()),
    )


def histogram(look: Look, thresholds: dict[str, float]) -> Figure:
    """A panel a source: frames by probability of silence, with the threshold."""
    sources = look.music.sources
    figure, panels = grid_of(len(sources))
    num_frames = max(1, int(look.counts[0].sum()))
    colors = colors_of(sources)
    for index, (source, axes) in enumerate(zip(sources, panels, strict=True)):
        share = 100 * look.counts[index] / num_frames
        axes.stairs(share, EDGES, fill=True, color=colors[source], alpha=0.75)
        title = source
        threshold = thresholds.get(source, np.inf)
        if np.isfinite(threshold):
            place = np.clip(threshold_log_odds(threshold), EDGES[0], EDGES[-1])
            axes.axvline(place, color="#222222", linestyle="--", linewidth=1.2)
            above = 100 * look.above[index] / num_frames
            title = f"{source}: {above:.1f} % of frames from {threshold:.4g} on"
        elif thresholds:
            title = f"{source}: refused, no threshold keeps the promise"
        axes.set_title(title, fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xticks([threshold_log_odds(tick) for tick in TICKS], [f"{t:g}" for t in TICKS])
    figure.supxlabel("probability of silence", fontsize="medium")
    figure.supylabel("% of frames", fontsize="medium")
    figure.tight_layout()
    return figure


def _play(run: StageRun, look: Look, thresholds: dict[str, float]) -> None:
    sample_rate = run.workspace.music.sample_rate
    kinds = {"surest": look.surest, "doubtful": look.doubtful if thresholds else {}}
    ids = {excerpt.track_id for found in kinds.values() for excerpt in found.values()}
    names = file_names(run.manifests, run.corpus, ids)
    reader = CropReader(run.workspace.location)
    heading = {
        "surest": "### Where each source is most surely silent",
        "doubtful": "### Where each source is nearest to its threshold",
    }
    for kind, found in kinds.items():
        if found:
            run.report.text(heading[kind])
        for source, excerpt in found.items():
            try:
                audio = reader(excerpt.path, excerpt.start_sample, excerpt.num_samples)
            except CanonicalAudioError:
                continue  # forgotten or damaged since it was scored
            run.report.player(
                f"{excerpt.track_id}-{source}-{kind}",
                audio,
                sample_rate,
                f"**{source}** is silent with probability {excerpt.probability:.3f}: "
                f"{plain(names.get(excerpt.track_id, excerpt.track_id))} "
                f"at {excerpt.start_sample / sample_rate:.1f} s",
            )


def _tracks(manifests: Manifests, scores: Partition) -> Iterator[Track]:
    """The first tracks of a partition, without a Python object a frame."""
    columns = ["track_id", "path", "num_samples", "silence_probability", "level_db"]
    number = 0
    for batch in manifests.scan(scores, columns):
        texts = batch.select(columns[:3]).to_pylist()
        for index, row in enumerate(texts):
            if number == MAX_TRACKS:
                return
            number += 1
            sources: Any = batch["silence_probability"][index].values
            yield Track(
                **row,
                probability=np.stack([values.values.to_numpy() for values in sources]),
                level_db=batch["level_db"][index].values.to_numpy(),
            )
