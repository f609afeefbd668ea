"""What ``silentmix study detector`` writes: its page, two plots, and the figures as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demucs_core.extraction.calibration_result import SourceCalibration
from flows.fit_detector.plots import precision_recall_figure, reliability_figure
from flows.studies.detector import STITCH_FRAMES, DetectorFindings
from flows.studies.detector_options import StudyDetectorParameters
from flows.studies.report import NONE_SHOWN, Row, StudyReport, markdown_table
from flows.studies.songs import MUSIC
from flows.studies.truth import SourceQuality


def write_detector_study(
    parameters: StudyDetectorParameters, findings: Sequence[DetectorFindings]
) -> list[Path]:
    """Write the study into its output folder; returns the files."""
    title = "How precise the detector is on music like none it has heard"
    report = StudyReport("detector", title, parameters, parameters.output)
    report.text(
        f"{parameters.songs} generated songs to fit on, {parameters.calibration_songs} to "
        f"calibrate on, {parameters.test_songs} to test on, of {parameters.song_s:g} s each. The "
        "three sets share no song seed, no General MIDI program and no recorded sample, but for "
        "cymbals, hi-hats and some toms of the drum kits and a quiet layer of two voices, which "
        "the soundfont shares. So the songs that the thresholds stand on are as strange to the "
        "detector as those it is tested on, and a user's unlabelled music is no stranger than "
        "that. The test songs are in the formats of a music folder: WAV, FLAC, MP3, Ogg and "
        "others."
    )
    report.text(
        f"The thresholds are chosen for a precision of {parameters.target_precision:g} of the "
        f"extracted seconds, with {parameters.confidence:.0%} confidence. Promised is the lower "
        "bound on the calibration songs; achieved is what `extract` did on the test songs, of "
        "which no threshold knew."
    )
    report.heading("Extraction")
    report.text(markdown_table(_extraction_rows(findings)))
    report.text(
        "An asterisk marks a source of which the calibration songs could not promise that much: "
        "it has the lowest threshold whose plain precision on them meets the target."
    )
    report.heading("Cost")
    report.text(markdown_table(_cost_rows(findings)))
    report.text(
        "The stitching error is the largest difference between the probabilities of a song scored "
        f"in chunks of {STITCH_FRAMES} frames and in one piece."
    )
    report.heading("Every threshold, on the test songs")
    report.plot(
        "precision-recall",
        precision_recall_figure(
            {
                found.architecture: (
                    found.test,
                    {
                        source: (done.recall, done.precision)
                        for source, done in found.quality.items()
                    },
                )
                for found in findings
            }
        ),
        "Precision over recall; dots: what was extracted with the thresholds of the calibration "
        "songs",
    )
    report.plot(
        "reliability",
        reliability_figure({found.architecture: found.test for found in findings}),
        "How often a source was silent where the detector gave it a probability",
    )
    if any(found.real for found in findings):
        report.heading("Real music")
        report.text(
            "Songs of a labelled set that nobody generated, each as it was mixed and with every "
            "set of its sources left out."
        )
        report.text(markdown_table(_real_rows(findings)))
    report.figures("detectors", [_figures(found) for found in findings])
    return report.write()


def _extraction_rows(findings: Sequence[DetectorFindings]) -> list[Row]:
    return [
        {
            "detector": found.architecture,
            "silent source": source,
            "promised": _promise(calibrated),
            "achieved precision": _number(quality.precision, 3),
            "recall": _number(quality.recall, 2),
            "minutes extracted": f"{quality.extracted_s / 60:.1f}",
            "threshold": _number(calibrated.threshold, 4),
        }
        for found in findings
        for source, calibrated in zip(MUSIC.sources, found.calibration.sources, strict=True)
        for quality in [found.quality[source]]
    ]


def _promise(calibrated: SourceCalibration) -> str:
    return _number(calibrated.precision_bound, 3) + "*" * calibrated.overridden


def _cost_rows(findings: Sequence[DetectorFindings]) -> list[Row]:
    return [
        {
            "detector": found.architecture,
            "weights": f"{found.num_weights:,}",
            "steps": f"{found.steps:,}",
            "x real time, one CPU thread": f"{found.realtime_factor:.0f}",
            "stitching error": f"{found.stitching_error:.1e}",
        }
        for found in findings
    ]


def _real_rows(findings: Sequence[DetectorFindings]) -> list[Row]:
    return [
        {
            "detector": found.architecture,
            "silent source": source,
            "precision": _number(quality.precision, 3),
            "recall": _number(quality.recall, 2),
            "seconds extracted": f"{quality.extracted_s:.1f}",
            "there are": f"{quality.wanted_s:.1f}",
        }
        for found in findings
        for source, quality in (found.real or {}).items()
    ]


def _number(value: float | None, digits: int) -> str:
    return NONE_SHOWN if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _figures(found: DetectorFindings) -> dict[str, Any]:
    return {
        "architecture": found.architecture,
        "steps": found.steps,
        "num_weights": found.num_weights,
        "realtime_factor": round(found.realtime_factor, 1),
        "stitching_error": found.stitching_error,
        "calibration": [_without_curves(source) for source in found.calibration.sources],
        "extracted": _qualities(found.quality),
        "real": None if found.real is None else _qualities(found.real),
        "test": {
            source.source: {
                "curve": asdict(source.curve),
                "reliability": asdict(source.reliability),
            }
            for source in found.test.sources
        },
    }


def _without_curves(source: SourceCalibration) -> dict[str, Any]:
    return {
        name: value
        for name, value in asdict(source).items()
        if name not in ("curve", "reliability")
    }


def _qualities(quality: Mapping[str, SourceQuality]) -> dict[str, dict[str, float | None]]:
    return {
        source: {
            **asdict(found),
            "precision": None if math.isnan(found.precision) else found.precision,
            "recall": None if math.isnan(found.recall) else found.recall,
        }
        for source, found in quality.items()
    }
