"""The model that a training begins with, refused before the first step where it won't do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from distributed.system import memory_limit

from demucs_core.separators.imported import check_contract
from demucs_core.separators.registry import build_model
from demucs_core.separators.separator import SeparationModel
from demucs_core.separators.transfer import freeze, take_weights
from demucs_core.training.memory import is_out_of_memory
from demucs_core.training.mixit import output_names
from flows.inputs import networks
from flows.train.options import TrainOptions
from flows.train.start import Start
from storage.errors import UserError
from storage.music_format import MusicFormat

GLIMPSE_S = 0.1
"""Length of the noise that a registered model is tried on."""
TOO_LARGE = "a model of this size does not fit into memory; lower channels or depth"
GIB = 2**30


class FirstModel(NamedTuple):
    """A model with the weights that it is trained from.

    Attributes:
        model: itself.
        description: what its description says of where it began.
        notes: what a person should know of that.
    """

    model: SeparationModel
    description: dict[str, Any]
    notes: list[str]


def first_model(
    options: TrainOptions, music: MusicFormat, start: Start | None = None
) -> FirstModel:
    """Build the model with the weights that it is trained from.

    Raises:
        UserError: its configuration, its package, its class, its size or the weights won't do; says
            what to change.
    """
    described = options.describe_model(music, crop_s=options.crop_s)
    try:
        if options.objective == "mixit":
            described["sources"] = list(output_names(len(music.sources)))
        if not options.is_imported:
            _require_size(described)
        model = build_model(
            described,
            seed=options.seed,
            allow_import=options.allowed,
        )
        # a registered one takes any length
        crop_s = options.crop_s if options.is_imported else min(options.crop_s, GLIMPSE_S)
        check_contract(model, max(1, round(crop_s * music.sample_rate)))
    except ValueError as error:
        raise UserError(f"architecture: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"architecture: {TOO_LARGE}") from error
    began: dict[str, Any] = {}
    notes: list[str] = []
    if start is not None:
        began["init_from"], notes = _begin(model, start)
    try:
        frozen = freeze(model, options.freeze)
    except ValueError as error:
        raise UserError(f"freeze: {error}") from error
    if frozen:
        began["frozen"] = list(frozen)
    return FirstModel(model, began, notes)


def _require_size(described: Mapping[str, Any]) -> None:
    """Refuse a model whose checkpoints this machine could not hold, before memory is taken for it.

    A checkpoint holds the weights, the best ones and two moments.

    Raises:
        ValueError: says how large it is; or as :func:`build_model`.
    """
    try:
        with torch.device("meta"):  # where tensors have a shape, and nothing in them
            model = build_model(described, seed=0)
    except (RuntimeError, TypeError, OverflowError) as error:  # sizes beyond all numbers
        raise ValueError(f"{TOO_LARGE} ({str(error).splitlines()[0]})") from error
    num_weights = sum(weight.numel() for weight in model.parameters())
    needed, room = 4 * num_weights * torch.float32.itemsize, memory_limit()
    if needed > room:
        raise ValueError(
            f"{TOO_LARGE}: {num_weights / 1e6:,.0f} million weights, the best ones "
            f"so far and two moments of each are {needed / GIB:,.0f} GiB, and this machine has "
            f"{room / GIB:,.0f}"
        )


def _begin(model: SeparationModel, start: Start) -> tuple[dict[str, Any], list[str]]:
    """Take the weights; returns what is described of that, and what is told."""
    weights = networks.to_float(start.weights())
    try:
        transfer = take_weights(model, weights, start.sources)
    except ValueError as error:
        raise UserError(f"init_from: {start.place}: {error}") from error
    notes = [f"begins with {start.place}: {transfer}"]
    if start.sources is None:
        here = ", ".join(model.config.sources)
        notes.append(f"nothing says which sources {start.place} is for; taken as {here}")
    described = {
        "from": start.place,
        "model": start.model,
        "sha256": start.digest,
        "sources": None if start.sources is None else list(start.sources),
        "taken": len(transfer.taken),
        "in_part": list(transfer.in_part),
        "fresh": list(transfer.fresh),
        "left": list(transfer.left),
    }
    return described, notes
