"""What weights make of a validation song, to listen to: in training, and in the report."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demucs_core.separators.separator import SeparationModel
from demucs_core.training.trainer import Trainer
from flows.reports.artifacts import MAX_ARTIFACT_BYTES
from flows.reports.live_plot import LivePage
from flows.running.stage import StageRun

CAPTION = "A validation song, as it is heard by now"


class LiveSounds:
    """A page of the UI with players of a validation crop, written anew now and then.

    The files are the report's, and are overwritten: however long the training, it takes the room of
    one look.

    Args:
        run: the training's.
        trainer: whose weights, as they are then, and crops; nothing is played where there are none.
        every: validations between two looks; 0 never looks.
    """

    def __init__(self, run: StageRun, trainer: Trainer, every: int) -> None:
        self._run, self._trainer, self._every = run, trainer, every
        self._page = LivePage(f"{run.stage}-listening", CAPTION)

    def update(self) -> None:
        """Listen, if it is time to; called after a validation."""
        trainer = self._trainer
        if not self._every or len(trainer.history) % self._every:
            return
        mixture = _loudest(trainer)
        if mixture is None:
            return
        sections = [f"Step {trainer.step:,} of {trainer.config.steps:,}"]
        sounds = _sounds(self._run, trainer.model, mixture, trainer.device, "by now")
        for name, audio_ct, caption in sounds:
            rate = self._run.workspace.music.sample_rate
            section = self._run.report.sound(f"validation-{name}", audio_ct, rate, caption)
            if sum(map(len, sections)) + len(section) < MAX_ARTIFACT_BYTES:
                sections.append(section)  # the file is there all the same
        self._page.write("\n\n".join(sections))


def play_validation(run: StageRun, model: SeparationModel, trainer: Trainer) -> None:
    """Put players into the report: the loudest validation crop, and each source of it as estimated.

    Args:
        run: the training's.
        model: with the best weights; it stays on the CPU.
        trainer: whose crops; nothing is played where there are none.
    """
    mixture = _loudest(trainer)
    if mixture is None:
        return
    sounds = _sounds(
        run, model.to(trainer.device), mixture, trainer.device, "with the best weights"
    )
    for name, audio_ct, caption in sounds:
        run.report.player(f"validation-{name}", audio_ct, run.workspace.music.sample_rate, caption)
    model.cpu()


def _loudest(trainer: Trainer) -> Tensor | None:
    """The mixture of a validation crop, ``(C, T)``, the same each time; None without any."""
    mixtures = (crop.targets.sum(dim=0) for crop in trainer.best_so_far.crops)
    return max(mixtures, key=lambda sum_ct: float(sum_ct.norm()), default=None)


def _sounds(
    run: StageRun, model: SeparationModel, mixture: Tensor, device: torch.device, when: str
) -> Iterator[tuple[str, NDArray[np.float32], str]]:
    """Name, audio and caption of the mixture and of each source; leaves the model evaluating."""
    model.eval()
    with torch.inference_mode():
        estimates = model(mixture[None].to(device))[0].float().cpu().numpy()
    yield "mixture", mixture.numpy(), "Of a validation song: the mixture"
    for source, audio_ct in zip(run.workspace.music.sources, estimates, strict=True):
        yield source, audio_ct, f"Of a validation song: {source}, as it is heard {when}"
