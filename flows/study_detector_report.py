"""What ``silentmix study detector`` writes: ``detector.md``, its plots, and the figures as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from demucs_core import SOURCES
from demucs_core.calibration_result import SourceCalibration
from flows.plots import precision_recall_figure, reliability_figure
from flows.study_detector import DetectorFindings, StudyDetectorParameters
from flows.truth import SourceQuality

PLOT_DPI = 70


def write_detector_study(
    parameters: StudyDetectorParameters, findings: Sequence[DetectorFindings]
) -> list[Path]:
    """Write the study into its output folder; returns the files."""
    folder = Path(parameters.output)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "detector.md", folder / "detector.json"]
    paths[0].write_text(_markdown(parameters, findings), encoding="utf-8")
    report = {
        "command": _command(parameters),
        "parameters": parameters.content(),
        "detectors": [_figures(found) for found in findings],
    }
    paths[1].write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    test = {found.architecture: found.test for found in findings}
    curves = {
        found.architecture: (
            found.test,
            {source: (done.recall, done.precision) for source, done in found.quality.items()},
        )
        for found in findings
    }
    for name, figure in (
        ("detector-precision-recall.png", precision_recall_figure(curves)),
        ("detector-reliability.png", reliability_figure(test)),
    ):
        paths.append(_save(figure, folder / name))
    return paths


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=PLOT_DPI, bbox_inches="tight")
    return path


def _command(parameters: StudyDetectorParameters) -> str:
    """The command that makes this study again: what differs from the defaults."""
    words = ["silentmix study detector"]
    for name, value in parameters.content().items():
        field = type(parameters).model_fields[name]
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if value != default:
            values = value if isinstance(value, list) else [value]
            words += [f"--{name.replace('_', '-')} {given}" for given in values]
    return " ".join(words)


def _markdown(parameters: StudyDetectorParameters, findings: Sequence[DetectorFindings]) -> str:
    target = parameters.target_precision
    lines = [
        "# How precise the detector is on music like none it has heard",
        "",
        "Made by:",
        "",
        f"```sh\n{_command(parameters)}\n```",
        "",
        f"{parameters.songs} generated songs to fit on, {parameters.calibration_songs} to "
        f"calibrate on, {parameters.test_songs} to test on, of {parameters.song_s:g} s each. The "
        "three sets share no song seed, no General MIDI program and no recorded sample, but for "
        "cymbals, hi-hats and some toms of the drum kits and a quiet layer of two voices, which "
        "the soundfont shares. So the songs that the thresholds stand on are as strange to the "
        "detector as those it is tested on, and a user's unlabelled music is no stranger than "
        "that. The test songs are in the formats of a music folder: WAV, FLAC, MP3, Ogg and "
        "others.",
        "",
        f"The thresholds are chosen for a precision of {target:g} of the extracted seconds, with "
        f"{parameters.confidence:.0%} confidence. Promised is the lower bound on the calibration "
        "songs; achieved is what `extract` did on the test songs, of which no threshold knew.",
        "",
        "## Extraction",
        "",
        _table(
            ("detector", "silent source", "promised", "achieved precision", "recall",
             "minutes extracted", "threshold"),
            [_row(found, index) for found in findings for index in range(len(SOURCES))],
        ),
        "",
        "An asterisk marks a source of which the calibration songs could not promise that much: "
        "it has the lowest threshold whose plain precision on them meets the target.",
        "",
        "## Cost",
        "",
        _table(
            ("detector", "weights", "steps", "x real time, one CPU thread", "stitching error"),
            [
                (
                    found.architecture,
                    f"{found.num_weights:,}",
                    f"{found.steps:,}",
                    f"{found.realtime_factor:.0f}",
                    f"{found.stitching_error:.1e}",
                )
                for found in findings
            ],
        ),
        "",
        "The stitching error is the largest difference between the probabilities of a song scored "
        "in chunks of 80 frames and in one piece.",
        "",
        "## Every threshold, on the test songs",
        "",
        "![precision over recall](detector-precision-recall.png)",
        "",
        "Dots: what was extracted with the thresholds of the calibration songs.",
        "",
        "![reliability](detector-reliability.png)",
        "",
    ]  # fmt: skip
    if any(found.real for found in findings):
        lines += ["## Real music", "", _real_table(findings), ""]
    return "\n".join(lines)


def _row(found: DetectorFindings, index: int) -> tuple[str, ...]:
    calibrated, quality = found.calibration.sources[index], found.quality[SOURCES[index]]
    return (
        found.architecture,
        SOURCES[index],
        _promise(calibrated),
        _number(quality.precision, 3),
        _number(quality.recall, 2),
        f"{quality.extracted_s / 60:.1f}",
        "none" if calibrated.threshold is None else f"{calibrated.threshold:.4f}",
    )


def _promise(calibrated: SourceCalibration) -> str:
    if calibrated.precision_bound is None:
        return "nothing"
    return f"{calibrated.precision_bound:.3f}{'*' if calibrated.overridden else ''}"


def _number(value: float, digits: int) -> str:
    return "none" if math.isnan(value) else f"{value:.{digits}f}"


def _real_table(findings: Sequence[DetectorFindings]) -> str:
    rows = [
        (
            found.architecture,
            source,
            _number(quality.precision, 3),
            _number(quality.recall, 2),
            f"{quality.extracted_s:.1f}",
            f"{quality.wanted_s:.1f}",
        )
        for found in findings
        for source, quality in (found.real or {}).items()
    ]
    heads = ("detector", "silent source", "precision", "recall", "seconds extracted", "there are")
    return _table(heads, rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


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
