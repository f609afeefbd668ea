"""Which foreign code may run: the classes that models may be made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from demucs_core.separators.class_path import CLASS_PATH
from flows.running.parameters import RUNTIME

AllowImport = Annotated[
    list[Annotated[str, Field(pattern=rf"^{CLASS_PATH.pattern}$")]],
    Field(
        description="Classes, as my_package.my_module:MyModel, that may be imported for models "
        "that are made of them. To import is to run their code: name those that you trust."
    ),
    RUNTIME,
]
"""Classes that whoever runs something allows to be imported."""
