"""The model that a training begins with, refused before the first step where it won't do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.logging import get_logger

from demucs_core.separators.imported import check_contract
from demucs_core.separators.registry import build_model
from demucs_core.separators.separator import SeparationModel
from demucs_core.separators.transfer import Transfer, freeze, take_weights
from demucs_core.training.memory import is_out_of_memory
from demucs_core.training.mixit import output_names
from flows.inputs import networks
from flows.train.options import TrainOptions
from flows.train.start import Start
from storage.errors import UserError
from storage.music_format import MusicFormat


def first_model(
    options: TrainOptions, music: MusicFormat, start: Start | None = None
) -> tuple[SeparationModel, dict[str, Any]]:
    """Build the model with the weights that it is trained from.

    Returns:
        The model, and what its description says of where it began.

    Raises:
        UserError: its configuration, its package, its class, its size or the weights won't do; says
            what to change.
    """
    try:
        described = options.describe_model(music, crop_s=options.crop_s)
        if options.objective == "mixit":
            described["sources"] = list(output_names(len(music.sources)))
        model = build_model(
            described,
            seed=options.seed,
            allow_import=options.allowed,
        )
        if options.is_imported:
            check_contract(model, max(1, round(options.crop_s * music.sample_rate)))
    except ValueError as error:
        raise UserError(f"architecture: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            "architecture: a model of this size does not fit into memory; lower channels or depth"
        ) from error
    began: dict[str, Any] = {}
    if start is not None:
        began["init_from"] = _begin(model, start)
    try:
        frozen = freeze(model, options.freeze)
    except ValueError as error:
        raise UserError(f"freeze: {error}") from error
    if frozen:
        began["frozen"] = list(frozen)
    return model, began


def _begin(model: SeparationModel, start: Start) -> dict[str, Any]:
    weights = networks.to_float(start.weights())
    try:
        transfer = take_weights(model, weights, start.sources)
    except ValueError as error:
        raise UserError(f"init_from: {start.place}: {error}") from error
    _tell(start, transfer, model.config.sources)
    return {
        "from": start.place,
        "model": start.model,
        "sha256": start.digest,
        "sources": None if start.sources is None else list(start.sources),
        "taken": len(transfer.taken),
        "in_part": list(transfer.in_part),
        "fresh": list(transfer.fresh),
        "left": list(transfer.left),
    }


def _tell(start: Start, transfer: Transfer, here: Sequence[str]) -> None:
    logger = get_logger(__name__)
    logger.info("begins with %s: %s", start.place, transfer)
    if start.sources is None:
        logger.warning(
            "nothing says which sources %s is for; taken as %s", start.place, ", ".join(here)
        )
