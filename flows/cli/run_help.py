"""The help of ``silentmix run``: the options of the chain itself, not the hundred of its stages."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.running.chain_parameters import ChainParameters, Stage


def run(
    *,
    parameters: Annotated[ChainParameters, Parameter(name="*")] = ChainParameters(),  # noqa: B008
    only: Annotated[Stage | None, Parameter(help="Run this stage alone.")] = None,
) -> None:
    """Run the pipeline on your labelled set and your unlabelled music.

    Each stage has options besides: ``silentmix STAGE --help`` lists them, and here they have the
    stage's name before them, as in ``--train.steps``.
    """
