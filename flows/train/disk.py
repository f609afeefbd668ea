"""Whether there is room for what a training writes, looked at before its first step."""

from __future__ import annotations

import shutil

from demucs_core.training.trainer import Trainer
from storage.errors import UserError
from storage.workspace import Workspace

GIB = 2**30


def require_room(workspace: Workspace, trainer: Trainer) -> None:
    """Refuse a training whose checkpoints would fill the disk; of an object store, nobody knows.

    Raises:
        UserError: says what is needed, and what is free.
    """
    if not workspace.is_local:
        return
    needed, free = bytes_needed(trainer), shutil.disk_usage(workspace.root).free
    if needed > free:
        raise UserError(
            f"{workspace.location}: training needs {needed / GIB:.2f} GiB there for its "
            f"checkpoints, and {free / GIB:.2f} GiB are free; make room, or take a smaller model "
            "or fewer ema_decays"
        )


def bytes_needed(trainer: Trainer) -> int:
    """Bytes that a training has on the disk at once, at most.

    A checkpoint holds the weights, the best ones, the averages and two moments; the one before is
    there until it is written, and the model is beside them in the end.
    """
    weights: int = sum(
        value.numel() * value.element_size() for value in trainer.model.state_dict().values()
    )
    return weights * (2 * (4 + len(trainer.averages.decays)) + 1)
