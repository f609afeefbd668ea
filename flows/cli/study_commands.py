"""The commands that measure what silentmix claims."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from flows.cli.lines import say
from flows.studies.detector_options import StudyDetectorParameters
from flows.studies.paper.parameters import PaperParameters
from flows.studies.weak_length_options import WeakLengthParameters

app = cyclopts.App(name="study", help="Measure what silentmix claims, and write tables and plots.")


@app.command(name="detector")
def study_detector_command(
    *,
    parameters: Annotated[StudyDetectorParameters, Parameter(name="*")] = StudyDetectorParameters(),  # noqa: B008
) -> None:
    """Measure the detectors on songs whose instruments they never heard, against the truth."""
    from flows.studies.detector import study_detector
    from flows.studies.detector_report import write_detector_study

    for path in write_detector_study(parameters, study_detector(parameters)):
        say(str(path))


@app.command(name="weak-length")
def study_weak_length_command(
    *,
    parameters: Annotated[WeakLengthParameters, Parameter(name="*")] = WeakLengthParameters(),  # noqa: B008
) -> None:
    """Measure what masks give: minutes of music for crops of any length, and validation SDR."""
    from flows.studies.weak_length import study_weak_length
    from flows.studies.weak_length_report import write_weak_length_study

    for path in write_weak_length_study(parameters, study_weak_length(parameters)):
        say(str(path))


@app.command(name="paper")
def study_paper_command(
    *,
    parameters: Annotated[PaperParameters, Parameter(name="*")] = PaperParameters(),  # noqa: B008
) -> None:
    """Make the paper's table: what unlabelled music gives, arm by arm; run again, it goes on."""
    from flows.studies.paper.flow import study_paper

    for path in study_paper(parameters):
        say(str(path))
