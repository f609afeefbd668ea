"""The commands that bring models in, or make one of a training that is not over."""

from __future__ import annotations

from typing import Annotated

import cyclopts
from cyclopts import Parameter

from flows.cli.lines import say
from flows.convert.command import ConvertParameters, convert_demucs
from storage.workspace import Workspace

convert_app = cyclopts.App(name="convert", help="Make a model of other projects' weights.")


@convert_app.command(name="demucs")
def convert_demucs_command(
    file: str,
    *,
    parameters: Annotated[ConvertParameters, Parameter(name="*")] = ConvertParameters(),  # noqa: B008
) -> None:
    """Make a folder with a model of a package file (.th) of the official demucs.

    Such a file is a pickle, which can run programs. It is read once, in a process of its own, which
    knows the official classes alone and says what it unpickled; a file that names anything else is
    refused without ``--trust``. ``separate --model`` and ``train --init-from`` take the folder.
    """
    say(str(convert_demucs(file, parameters, say)))


def publish(training: str, *, workspace: str = "workspace") -> None:
    """Make a model of the best weights so far of a training that is not over.

    TRAINING is an id that ``status`` lists. The model has an id of its own, and is evaluated, used
    and exported like any other; the training goes on beside it.
    """
    from flows.train.publish import publish as publish_training

    say(publish_training(Workspace(workspace), training))
