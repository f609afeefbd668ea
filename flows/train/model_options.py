"""What ``train`` is told of the model: which separator, of what size."""

from __future__ import annotations

import json
from typing import Annotated, Any

import yaml
from cyclopts import Parameter
from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from demucs_core.separators import registry as separators
from demucs_core.separators.class_path import CLASS_PATH, EXAMPLE
from flows.running.parameters import ADDED, RUNTIME, Options, Place
from flows.running.yaml_text import parse_yaml, read_yaml
from storage.errors import UserError
from storage.music_format import MusicFormat

OF_THE_MODEL = ("channels", "depth")
"""Options that an architecture has, or has not, as fields of its configuration."""
SEGMENT = "segment_s"
"""Field of an architecture that wants to know the length of its crops."""


def _check_architecture(name: str) -> str:
    if name not in separators.SEPARATORS and not CLASS_PATH.fullmatch(name):
        raise PydanticCustomError(
            "architecture",
            "{text}",
            {"text": f"there is no {name!r}; there are {', '.join(separators.SEPARATORS)}, and any "
             f"class that can be imported, as {EXAMPLE}"},
        )  # fmt: skip
    return name


def _read_fields(told: str) -> str:
    """The content of a YAML file, or YAML itself, as one line of JSON: it stays with the run."""
    try:
        if not told:
            return ""
        loaded = parse_yaml(told) if "{" in told else read_yaml(told)
    except OSError as error:
        raise _wrong_config(f"{told}: no file to read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _wrong_config(f"{told}: not valid YAML: {error}") from error
    if not isinstance(loaded, dict | None):
        raise _wrong_config(f"{told}: fields and their values are wanted, this is something else")
    try:
        return json.dumps(loaded, sort_keys=True) if loaded else ""
    except TypeError as error:  # a date, say, or fields of which some are numbers
        raise _wrong_config(f"{told}: holds what JSON can't: {error}") from error


def _wrong_config(text: str) -> PydanticCustomError:
    return PydanticCustomError("model_config", "{text}", {"text": " ".join(text.split())})


Architecture = Annotated[
    str,
    AfterValidator(_check_architecture),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": list(separators.SEPARATORS), "title": "Registered"},
                {"type": "string", "pattern": f"^{CLASS_PATH.pattern}$", "title": "Class"},
            ]
        }
    ),
]


class ModelOptions(Options):
    """Which separator to train, and of what size."""

    architecture: Architecture = Field(
        "demucs",
        description=f"Model to train: {', '.join(separators.SEPARATORS)}, or any class that can be "
        f"imported, as {EXAMPLE}.",
    )
    channels: int = Field(
        0,
        ge=0,
        description="Channels of the first block of demucs and htdemucs, or that each level of "
        "wave_unet adds; 0 takes the architecture's own (docs/separators.md).",
    )
    depth: int = Field(
        0,
        ge=0,
        le=12,
        description="Encoder blocks, levels, or pairs of transformers; 0 takes the architecture's "
        "own (docs/separators.md).",
    )
    # what it says is in the fingerprint, under the model
    architecture_config: Annotated[
        str,
        AfterValidator(_read_fields),
        Parameter(name=["--model-config", "--architecture-config"]),
        RUNTIME,
    ] = Field(
        "",
        description="YAML file with more fields of the architecture's configuration, or with the "
        "arguments of the class; or that YAML itself, in braces.",
    )
    # which weights those are is in the fingerprint; see flows.train.start
    init_from: Annotated[Place, RUNTIME] = Field(
        "",
        description="Weights to begin with: a model of the workspace, a model's folder, or a "
        "safetensors file. Layers that fit are taken, those of each source by its name.",
    )
    freeze: Annotated[list[str], ADDED] = Field(
        [],
        description="Patterns of names of weights that are not trained, such as 'encoder.*'.",
    )

    @field_validator(*OF_THE_MODEL)
    @classmethod
    def _check_that_the_architecture_has_it(cls, value: int, info: ValidationInfo) -> int:
        """Refuse an option of another architecture, which would change nothing but the name."""
        architecture = info.data.get("architecture")
        if value and architecture is not None:
            known = separators.SEPARATORS[architecture].options
            if info.field_name not in known:
                has = [name for name in OF_THE_MODEL if name in known]
                which = f"; it has {' and '.join(has)}" if has else ""
                raise ValueError(f"{architecture} has no such option{which}")
        return value

    @field_validator("architecture_config")
    @classmethod
    def _check_fields(cls, value: str, info: ValidationInfo) -> str:
        fields = json.loads(value or "{}")
        for name in OF_THE_MODEL:
            if name in fields and info.data.get(name):
                raise _wrong_config(f"{name} is given by itself too; leave one of the two out")
        if not CLASS_PATH.fullmatch(info.data.get("architecture", "")):
            for name in sorted(fields.keys() & MusicFormat.__dataclass_fields__.keys()):
                raise _wrong_config(f"{name} is the workspace's, and can't be told here")
        return value

    @property
    def is_imported(self) -> bool:
        """Whether the model is a class that is imported."""
        return CLASS_PATH.fullmatch(self.architecture) is not None

    @property
    def allowed(self) -> tuple[str, ...]:
        """The classes that may be imported: the one that was asked for."""
        return (self.architecture,) if self.is_imported else ()

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.architecture_config or "{}")
        return fields

    def architecture_options(self) -> dict[str, Any]:
        """The options of the model that were given.

        Raises:
            UserError: a class can't be imported.
        """
        if self.is_imported:
            from demucs_core.separators.imported import version_of

            try:
                version = version_of(self.architecture)
            except ValueError as error:
                raise UserError(f"architecture: {error}") from error
            return {"version": version, "arguments": self._fields()}
        flags = {name: value for name in OF_THE_MODEL if (value := getattr(self, name))}
        return flags | self._fields()

    def describe_model(self, music: MusicFormat, *, crop_s: float) -> dict[str, Any]:
        """What :func:`demucs_core.separators.registry.build_model` makes the model of.

        Args:
            music: of the workspace.
            crop_s: length of what it is trained on, for an architecture that asks for it.
        """
        asked = SEGMENT in separators.SEPARATORS[self.architecture].options
        return {
            "architecture": self.architecture,
            **({SEGMENT: crop_s} if asked else {}),
            **self.architecture_options(),
            **music.to_json(),
        }

    def content(self) -> dict[str, Any]:
        """As :meth:`Options.content`, with the options of the model as the model has them.

        Silentmix 0.1.0 told those of Demucs whatever the architecture; so that what it made keeps
        its name, they stand there still, and what another architecture was given beside them.
        """
        content = super().content()
        given = self.architecture_options()
        own = {}
        if self.architecture == "demucs":
            own = {name: given.pop(name) for name in OF_THE_MODEL if name in given}
        demucs = separators.SEPARATORS["demucs"].config
        content |= {name: own.get(name, getattr(demucs, name)) for name in OF_THE_MODEL}
        if given:
            content["model"] = given
        version = separators.SEPARATORS[self.architecture].version
        if version > 1:
            content["architecture_version"] = version
        return content
