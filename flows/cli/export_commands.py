"""The commands that take a model, or the data that one is trained on, elsewhere."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from flows.cli.lines import say
from flows.export.options import ExportDataParameters, ExportModelParameters

export_app = cyclopts.App(name="export", help="Take a model, or training data, elsewhere.")


@export_app.command(name="model")
def export_model_command(
    *,
    parameters: Annotated[ExportModelParameters, Parameter(name="*")] = ExportModelParameters(),  # noqa: B008
) -> None:
    """Write a model for others: safetensors with a model card, ONNX, or for the official demucs.

    ``separate --model`` and ``train --init-from`` take the folder. ONNX networks and files for
    ``demucs --repo`` are compared with the model on a song of the workspace.
    """
    from flows.export.model import export_model

    say(str(export_model(parameters, say)))


@export_app.command(name="data")
def export_data_command(
    *,
    parameters: Annotated[ExportDataParameters, Parameter(name="*")] = ExportDataParameters(),  # noqa: B008
) -> None:
    """Write labelled songs and remixes as folders of stems, as other trainers read them.

    The layouts are the dataset types of Music-Source-Separation-Training. With ``--target vocals``
    every remix with added vocals is a pair of them and the rest. ``lineage.csv`` says of each file
    what it was made of. From Python, ``flows.export.dataset.training_examples`` gives the examples
    that ``silentmix train`` hears, half-known ones among them.
    """
    from flows.export.data import export_data

    say(str(export_data(parameters, say)))
