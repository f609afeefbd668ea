"""The study as a flow over the flows of the stages: data, trainings side by side, the page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from prefect import flow
from rich.console import Console

from flows.running.devices import pick_device
from flows.studies.paper.curves import at_point, curves_of
from flows.studies.paper.data import PaperData, prepare
from flows.studies.paper.findings import PaperFindings, Point, gather, names_of_songs
from flows.studies.paper.lock import only_study
from flows.studies.paper.parameters import PaperParameters
from flows.studies.paper.report import write_paper_study
from flows.studies.paper.tables import read_earlier, read_silences
from flows.studies.paper.trainings import State, Training, Trainings, in_order, left_to_do
from flows.studies.side_by_side import LOGS, Job, how_many, run_side_by_side
from storage.errors import UserError
from storage.workspace import Workspace


@flow(name="study-paper", flow_run_name="study paper")
def study_paper(parameters: PaperParameters) -> list[Path]:
    """Train what is not trained, and write the page after every training that ends.

    Killed at any time, it goes on where it stood when it is run again.

    Returns:
        The files of the page.

    Raises:
        UserError: the workspace is not a local folder, holds other music, or is at work already.
    """
    if "://" in parameters.workspace:
        raise UserError(f"--workspace {parameters.workspace}: the study wants a local folder")
    root = Path(parameters.workspace).resolve()
    Workspace(str(root), create=True, music=parameters.music)
    with only_study(root) if parameters.train else nullcontext():
        study = _Study(parameters, root)
        study.run()
        return study.files


class _Study:
    """A study at work: its trainings, then those of its curves, and the page between them."""

    def __init__(self, parameters: PaperParameters, root: Path) -> None:
        self.parameters, self.root = parameters, root
        self.device = pick_device(parameters.device)
        self.processes = how_many(parameters.processes, self.device)
        self.data = self._prepare(parameters)
        self.trainings = Trainings(parameters, self.data, self.device)
        self.songs = names_of_songs(self.data.workspace, self.data.labelled)
        self.all_of_them = in_order(parameters.seeds)
        self.earlier = read_earlier(
            parameters, self.all_of_them, self.songs, parameters.music.sources
        )
        self.earlier_silences = read_silences(parameters)
        self.problems: dict[str, str] = {}
        self.points: list[Point] = []
        self.files: list[Path] = []

    def run(self) -> None:
        """Do all that was asked for."""
        wanted = in_order(self.parameters.seeds, self.parameters.arms)
        self._train(self.trainings, left_to_do(wanted, self.earlier))
        self._write()
        if self.parameters.curves:
            self._follow_curves()

    def _prepare(self, parameters: PaperParameters) -> PaperData:
        return prepare(parameters, self.root, self.parameters.processes or os.cpu_count() or 1)

    def _train(self, trainings: Trainings, wanted: list[Training]) -> None:
        if not self.parameters.train:
            return
        console = Console(stderr=True)
        left, under_way = list(wanted), set[str]()

        def ended(label: str, problem: str) -> None:
            under_way.discard(label)
            console.print(f"{label}: {problem or 'done'}", markup=False, highlight=False)
            if problem:
                self.problems[label] = problem
            self._write()

        def may_begin(training: Training) -> bool:
            awaited = trainings.state(training).waits
            return awaited not in left and (awaited is None or awaited.label not in under_way)

        def jobs() -> Iterator[Job | None]:
            while left:
                training = next(filter(may_begin, left), None)
                if training is None:
                    yield None
                    continue
                left.remove(training)
                state = trainings.state(training)
                if state.job is None:
                    ended(training.label, state.problem or _not_there(state))
                elif not state.done:
                    under_way.add(training.label)
                    yield state.job

        run_side_by_side(
            jobs(),
            num_processes=self.processes,
            device=self.device,
            logs=self.root / LOGS,
            on_end=lambda job, problem: ended(job.label, problem),
        )

    def _follow_curves(self) -> None:
        for curve in curves_of(self.parameters):
            for value in curve.values:
                changed = at_point(self.parameters, curve, value)
                trainings = Trainings(changed, self._prepare(changed), self.device)
                wanted = in_order(changed.seeds, curve.arms)
                self._train(trainings, wanted)
                found = gather(trainings, wanted)
                self.points.append(Point(curve=curve.field, value=value, found=found))
                self._write()

    def _write(self) -> None:
        findings = PaperFindings(
            songs=self.songs,
            sources=self.parameters.music.sources,
            found=gather(self.trainings, self.all_of_them, self.earlier),
            problems=self.problems,
            quality=self.data.quality,
            earlier_silences=self.earlier_silences,
            points=self.points,
        )
        self.files = write_paper_study(self.parameters, findings)


def _not_there(state: State) -> str:
    assert state.waits is not None
    return f"{state.waits.label} is not trained; name it in arms too"
