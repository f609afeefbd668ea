"""A training under way: its checkpoints, what is seen of it, and how it comes back from a fall."""

from __future__ import annotations

from collections.abc import Callable

from prefect.logging import get_run_logger

from demucs_core.training.divergence import DivergedError
from demucs_core.training.memory import OutOfMemoryError
from demucs_core.training.trainer import StepReport, Trainer
from flows.reports.live_plot import live_plot
from flows.running.interruption import interruptible
from flows.running.progress import progress
from flows.running.stage import StageRun
from flows.train.curves import Curves
from flows.train.earlier import earlier_trainings
from flows.train.listening import LiveSounds
from flows.train.saved import SavedTraining
from flows.train.step_log import StepLog
from flows.train.threads import threads
from storage.errors import UserError
from storage.tables.schemas import STEPS

CAPTION = "How the training goes, over the steps"
LOWER_RATE = 0.25
"""What the learning rate is multiplied with once a training has diverged."""


def train_to_the_end(
    trainer: Trainer,
    run: StageRun,
    saved: SavedTraining,
    log: StepLog,
    *,
    beside: str = "",
    num_threads: int,
    listen_every: int,
) -> None:
    """Train to the last step, write what each step showed, and draw how it went.

    Args:
        trainer: at its beginning, or where an earlier run left it.
        run: the training's.
        saved: keeps its checkpoints.
        log: keeps what each step showed.
        beside: markdown above the figures of its page while it goes on.
        num_threads: of the CPU.
        listen_every: see :class:`LiveSounds`.

    Raises:
        UserError: it diverged twice, or does not fit into memory.
    """
    first_step = trainer.step
    curves = Curves(
        run.workspace.music.sources,
        trainer.examples.config.batch_size,
        first_step,
        earlier_trainings(run.manifests, run.partition(STEPS.name), run.stage),
    )
    sounds = LiveSounds(run, trainer, listen_every)
    log.go_back(first_step)
    get_run_logger().info("from step %d to %d", first_step, trainer.config.steps)

    with (
        progress(run.stage, trainer.config.steps, "steps", done=first_step) as bar,
        live_plot(
            run.report,
            "loss",
            CAPTION,
            lambda: curves.figure(trainer.history),
            lambda: "\n\n".join(filter(None, [beside, curves.words(trainer.history)])),
        ) as plot,
    ):

        def show(report: StepReport) -> None:
            validation = report.validation
            note = f"loss {report.loss:.4f}"
            if validation is not None:
                note = f"validation loss {validation.loss:.4f}"
                get_run_logger().info("step %d: %s", report.step, note)
            curves.add(log.add(report))
            bar.advance(1, note)
            plot.update()
            if validation is not None:
                sounds.update()

        def save() -> None:
            log.write()
            saved.save(trainer)

        def work(stop: Callable[[], bool]) -> None:
            while True:
                trainer.share_state()
                try:
                    ended = trainer.run(stop=stop, on_step=show, on_checkpoint=save)
                    log.write()
                    if not ended and not stop():
                        raise UserError(
                            "train: another of its processes was told to end, so all did; step "
                            f"{trainer.step} is saved. Run the same command to continue"
                        )
                    return
                except OutOfMemoryError as error:
                    raise UserError(f"train: {error}") from error
                except DivergedError as error:
                    _go_back(trainer, run, saved, error)
                    log.go_back(trainer.step)
                    num_taken = len(curves)
                    curves.go_back(trainer.step)
                    bar.advance(len(curves) - num_taken, "went back")

        with threads(num_threads):
            interruptible(work)
    run.report.plot("loss", curves.figure(trainer.history), CAPTION)


def _go_back(trainer: Trainer, run: StageRun, saved: SavedTraining, error: DivergedError) -> None:
    """Go back to the last checkpoint that was good, and on from there at a lower rate.

    Raises:
        UserError: that was done before, and did not help.
    """
    if trainer.rate_share < 1:
        raise UserError(
            f"train: {error}. It had gone back to a checkpoint and a quarter of the rate before, "
            "which did not help"
        ) from error
    saved.load(trainer)
    trainer.rate_share = LOWER_RATE
    saved.save(trainer)
    note = f"{error}: went back to step {trainer.step}, and on at a quarter of the rate"
    run.warn(note)
