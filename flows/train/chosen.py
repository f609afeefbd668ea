"""What somebody chose of a training who filled in its run form."""

from __future__ import annotations

from typing import TypeVar

from flows.server.deployed import deployment_of_run
from flows.train.options import TrainOptions

Options = TypeVar("Options", bound=TrainOptions)


def as_chosen(options: Options) -> Options:
    """Options with the values of the preset that was chosen in a run form.

    A form tells every field, whether somebody chose its value or not. So where all are told beside
    a preset, those at their defaults are as the preset says. What runs without a deployment, or in
    the chain, is left as it is.
    """
    told_all = options.model_fields_set == type(options).model_fields.keys()
    if not (options.preset and told_all) or deployment_of_run() is None:
        return options
    return type(options).model_validate(options.model_dump(exclude_defaults=True))
