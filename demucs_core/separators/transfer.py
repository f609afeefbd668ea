"""Weights that exist as a beginning: what fits is taken, source by source, the rest is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import torch
from torch import Tensor, nn

from demucs_core.separators.separator import SeparationModel

WRAPPERS: Final = ("module.", "model.", "_orig_mod.")
"""What trainers put before the names of weights."""
NUM_TOLD: Final = 3
"""Names in a message."""
NUM_LAYERS_TOLD: Final = 20
"""Layers in what is told of a transfer, of each kind."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What became of weights that a model was given.

    Attributes:
        taken: the model's weights that have new values, all of them.
        in_part: those of which only some sources' parts have.
        fresh: those that stay as they were.
        left: what was given and has no place.
    """

    taken: tuple[str, ...]
    in_part: tuple[str, ...]
    fresh: tuple[str, ...]
    left: tuple[str, ...]

    def __str__(self) -> str:
        """What became of them, by layer where it is not all."""
        parts = [f"{len(self.taken)} weights taken"]
        for names, what in (
            (self.in_part, "in part, by source"),
            (self.fresh, "begin afresh"),
            (self.left, "of the file have no place"),
        ):
            if names:
                layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
                parts.append(f"{len(names)} {what} ({told(layers, NUM_LAYERS_TOLD)})")
        return "; ".join(parts)


def told(names: Sequence[str], most: int = NUM_TOLD) -> str:
    """The first of some names, for a message.

    >>> told(["a", "b", "c", "d"])
    'a, b, c, …'
    """
    return ", ".join([*names[:most], *(["…"] if len(names) > most else [])])


@torch.no_grad()
def take_weights(
    model: SeparationModel, weights: Mapping[str, Tensor], sources: Sequence[str] | None
) -> Transfer:
    """Copy the weights that fit into a model, those of each source to the source of its name.

    Args:
        model: changed in place.
        weights: by name: as a model of ours has them, as its authors' code does, or with what a
            trainer put before them.
        sources: that the weights are for, in order; None if that is unknown, when whatever has the
            same shape is taken.

    Raises:
        ValueError: none of them fits.
    """
    given = _as_here(model, weights)
    if sources is not None:
        given = _by_prefix(model, given, sources)
    own, axes = model.state_dict(), model.source_axes()
    taken: list[str] = []
    in_part: list[str] = []
    fresh: list[str] = []
    for name, value in own.items():
        new = given.pop(name, None)
        if new is None:
            fresh.append(name)
        elif name in axes and sources is not None:
            share = _take_sources(value, new, axes[name], model.estimated_sources(), sources)
            (taken if share == 1 else in_part if share else fresh).append(name)
            if not share:
                given[name] = new
        elif new.shape == value.shape:
            value.copy_(new)
            taken.append(name)
        else:
            fresh.append(name)
            given[name] = new
    if not taken and not in_part:
        raise ValueError(
            f"no weight fits: there are {told(list(weights)) or 'none'}, the model has "
            f"{told(list(own))}; is it another architecture, or another size?"
        )
    return Transfer(
        taken=tuple(taken), in_part=tuple(in_part), fresh=tuple(fresh), left=tuple(given)
    )


def freeze(model: nn.Module, patterns: Collection[str]) -> tuple[str, ...]:
    """Keep the weights whose names match a pattern (``encoder.*``) as they are in training.

    Batch normalisation whose weights are frozen keeps its statistics, too.

    Returns:
        The names of the frozen ones.

    Raises:
        ValueError: a pattern matches no weight, or nothing is left to train.
    """
    parameters = dict(model.named_parameters())
    frozen: dict[str, None] = {}
    for pattern in patterns:
        found = [name for name in parameters if fnmatchcase(name, pattern)]
        if not found:
            raise ValueError(
                f"pattern {pattern!r} matches no weight of the model; it has "
                f"{told(list(parameters))}"
            )
        frozen |= dict.fromkeys(found)
    if frozen and len(frozen) == len(parameters):
        raise ValueError(f"patterns {', '.join(patterns)} leave no weight to train")
    for name in frozen:
        parameters[name].requires_grad_(False)
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and not any(
            parameter.requires_grad for parameter in layer.parameters()
        ):
            layer.momentum = 0.0
    return tuple(frozen)


def _as_here(model: SeparationModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the names that they have here."""
    own = model.state_dict().keys()
    named = dict(weights)
    for wrapper in WRAPPERS:
        if named and all(name.startswith(wrapper) for name in named):
            named = {name.removeprefix(wrapper): value for name, value in named.items()}
    return {name if name in own else model.own_name(name): named[name] for name in named}


def _by_prefix(
    model: SeparationModel, weights: Mapping[str, Tensor], sources: Sequence[str]
) -> dict[str, Tensor]:
    """Where the layers of each source are counted: those of a source under its number here."""
    here = model.estimated_sources()
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        for index, source in enumerate(sources):
            prefix = model.source_prefix(index)
            if prefix is not None and name.startswith(prefix):
                new = model.source_prefix(here.index(source)) if source in here else f"{source}: "
                renamed[f"{new}{name.removeprefix(prefix)}"] = value
                break
        else:
            renamed[name] = value
    return renamed


def _take_sources(
    value: Tensor, new: Tensor, axis: int, here: Sequence[str], there: Sequence[str]
) -> float:
    """Copy the parts of the sources that both have; returns the share of ``here`` that they are."""
    if value.dim() != new.dim():
        return 0
    size = value.shape[axis] // len(here)
    # a source that is the difference of the others has no part
    names = list(there)[: new.shape[axis] // size] if size else []
    mine, theirs = value.movedim(axis, 0), new.movedim(axis, 0)
    if len(there) - len(names) > 1 or size * len(names) != len(theirs):
        return 0
    if mine.shape[1:] != theirs.shape[1:]:
        return 0
    shared = [source for source in here if source in names]
    for source in shared:
        first, other = here.index(source) * size, names.index(source) * size
        mine[first : first + size].copy_(theirs[other : other + size])
    return len(shared) / len(here)
