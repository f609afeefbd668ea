"""What the best weights make of a validation song, to listen to in the report."""

from __future__ import annotations

import torch

from demucs_core.separators.separator import SeparationModel
from demucs_core.training.trainer import Trainer
from flows.running.stage import StageRun


def play_validation(run: StageRun, model: SeparationModel, trainer: Trainer) -> None:
    """Put players into the report: the loudest validation crop, and each source of it as estimated.

    Args:
        run: the training's.
        model: with the best weights; it stays on the CPU.
        trainer: whose crops; nothing is played where there are none.
    """
    crops = trainer.best_so_far.crops
    if not crops:
        return
    mixture = max((crop.targets.sum(dim=0) for crop in crops), key=lambda sum_ct: sum_ct.norm())
    model.to(trainer.device).eval()
    with torch.inference_mode():
        estimates = model(mixture[None].to(trainer.device))[0].float().cpu().numpy()
    model.cpu()
    music = run.workspace.music
    heard = {"mixture": mixture.numpy(), **dict(zip(music.sources, estimates, strict=True))}
    for name, audio_ct in heard.items():
        what = "the mixture" if name == "mixture" else f"{name}, as the best weights hear it"
        run.report.player(
            f"validation-{name}", audio_ct, music.sample_rate, f"Of a validation song: {what}"
        )
