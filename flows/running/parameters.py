"""What every stage's parameters share: one typed model for the CLI, the UI form and the docs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import ComputedFieldInfo, FieldInfo
from pydantic_core import PydanticCustomError, PydanticUndefined

from storage.addresses import MOST_CHARACTERS, NO_SECRET, REFUSED, holds_secret, is_url

Config = TypeVar("Config")


class NotInFingerprint:
    """Marks a field that does not change what a stage writes, only where, when or how fast."""


RUNTIME = NotInFingerprint()


@dataclass(frozen=True)
class InFingerprintUnlessAsBefore:
    """Marks a field that came later: where nothing is otherwise than before, nor is the name.

    Attributes:
        before: its value that stands for how things were; the default, where none is told.
    """

    before: object = PydanticUndefined


ADDED = InFingerprintUnlessAsBefore()


class OfPlaces:
    """Marks a list of paths or URLs: a comma may be part of one, so that each is told by itself."""


PLACES = OfPlaces()


def _without_secret(place: str) -> str:
    if holds_secret(place):
        raise PydanticCustomError("password", REFUSED)
    return place


Place = Annotated[
    str,
    AfterValidator(_without_secret),
    Field(json_schema_extra={"pattern": NO_SECRET, "maxLength": MOST_CHARACTERS}),
]
"""A path, a URL that holds no secret, or a name."""


def _located(location: str) -> str:
    if not location.strip() or is_url(location):
        return location
    return str(Path(location).expanduser().absolute())


Location = Annotated[Place, AfterValidator(_located), RUNTIME]
"""A path, or a URL that holds no secret; where it is changes nothing of what is written.

A run keeps the whole path, so that what is told of it, and what goes on from it, holds anywhere.
"""

UNITS = {"s": "s", "db": "dB"}


def _title(name: str, _: FieldInfo | ComputedFieldInfo) -> str:
    """A field's name in the run form, with its unit."""
    words = name.split("_")
    unit = f" [{UNITS[words.pop()]}]" if len(words) > 1 and words[-1] in UNITS else ""
    return " ".join(words).capitalize() + unit


def _lead_with_what_matters(schema: dict[str, Any], model: type[Options]) -> None:
    """Order the run form: what to work on, what one sets, all else, and on how many processes."""
    fields = schema.get("properties", {})
    # a model that only joins others is about what its last base is about
    annotated = model.__annotations__ or model.__bases__[-1].__annotations__
    own = [name for name in fields if name in annotated]
    last = [name for name in fields if name in StageParameters.model_fields and name not in own]
    works_on = own if issubclass(model, WorkParameters) else []
    others = [name for name in fields if name not in last]
    order = dict.fromkeys([*works_on, *model.matters, *own, *others, *last])
    schema["properties"] = {name: fields[name] for name in order}


class Options(BaseModel):
    """How a stage works: what the chain of all stages passes on as it is.

    Attributes:
        matters: the few fields that one sets most often, which lead in the run form.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        field_title_generator=_title,
        json_schema_extra=_lead_with_what_matters,
    )
    matters: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _name_in_unicode(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            _require_unicode(list(given))
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _tell_in_unicode(cls, given: object) -> object:
        _require_unicode(given)
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _take_commas(cls, given: object, info: ValidationInfo) -> object:
        """Values of a list may have commas between them, wherever they are told."""
        field = cls.model_fields[info.field_name or ""]
        if get_origin(field.annotation) not in (list, tuple) or _has(field, OfPlaces):
            return given
        values = [given] if isinstance(given, str) else given
        if not isinstance(values, list | tuple):
            return given
        split = [
            part.strip() if isinstance(part, str) else part
            for value in values
            for part in (value.split(",") if isinstance(value, str) else (value,))
        ]
        if "" in split:
            told = ",".join(map(str, values))
            raise PydanticCustomError(
                "empty_value", "there is nothing between two commas, or at an end, of {told}",
                {"told": repr(told)},
            )  # fmt: skip
        return split

    def content(self) -> dict[str, Any]:
        """The fields that change the content of what the stage writes, JSON-able."""
        kept = {
            name
            for name, field in type(self).model_fields.items()
            if not _has(field, NotInFingerprint) and getattr(self, name) not in _before(field)
        }
        return self.model_dump(mode="json", include=kept)

    def configure(self, kind: type[Config], **given: object) -> Config:
        """A configuration of the core from the options of the same names, but for those given.

        A field that is neither keeps its default.
        """
        names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
        options = names & type(self).model_fields.keys()
        return kind(**{name: getattr(self, name) for name in options} | given)


def _require_unicode(given: object) -> None:
    """Refuse what no run could be kept with, such as the name of a file in another encoding."""
    left = [given]
    while left:
        value = left.pop()
        if isinstance(value, Mapping):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise PydanticCustomError(
                    "not_unicode", "{told} is not Unicode; rename what is called so",
                    {"told": ascii(value)},
                ) from None  # fmt: skip


def recorded(model: type[BaseModel], told: Mapping[str, Any]) -> dict[str, Any]:
    """A model's fields as the record of a run tells them; those that came later as things were."""
    fields = model.model_fields
    before = {name: value for name, field in fields.items() for value in _before(field)}
    return before | {name: told[name] for name in fields.keys() & told.keys()}


def _before(field: FieldInfo) -> list[Any]:
    """The value of a field that came later which stands for how things were; else none."""
    return [
        field.get_default(call_default_factory=True)
        if mark.before is PydanticUndefined
        else mark.before
        for mark in field.metadata
        if isinstance(mark, InFingerprintUnlessAsBefore)
    ]


def _has(field: FieldInfo, mark: type) -> bool:
    return any(isinstance(each, mark) for each in field.metadata)


class PlaceParameters(Options):
    """Where something works."""

    workspace: Location = Field(
        "workspace", description="Folder or URL (s3://…, gs://…) that holds all results."
    )


class WorkParameters(PlaceParameters):
    """Where something works, and on how many processes."""

    workers: Annotated[int, RUNTIME] = Field(
        0, ge=0, le=1024, description="Local Dask worker processes; 0 takes one a CPU core."
    )
    dask_address: Annotated[str, RUNTIME] = Field(
        "", description="Address of a running Dask scheduler to use instead of local processes."
    )

    @property
    def num_workers(self) -> int:
        """Local worker processes to start."""
        return self.workers or os.cpu_count() or 1


class StageParameters(WorkParameters):
    """Where a stage works, and whether it only plans, or does again what is done."""

    dry_run: Annotated[bool, RUNTIME] = Field(
        False, description="Only say what would run, on how much and from what; write nothing."
    )
    force: Annotated[bool, RUNTIME] = Field(
        False, description="Do again what is done already. What was made from it stays as it is."
    )


CORPUS_PATTERN = r"^[A-Za-z][A-Za-z0-9._-]*$"
CorpusName = Annotated[str, Field(pattern=CORPUS_PATTERN, max_length=100), RUNTIME]
"""Name of a corpus: it is part of the partition's path, so not of its fingerprint."""

Libraries = Annotated[
    list[Annotated[str, Field(pattern=CORPUS_PATTERN, max_length=100)]],
    Field(
        description="Corpora of further labelled songs and single stems to take from, too; of what "
        "they hold out for validation or test, nothing is."
    ),
    RUNTIME,
]
"""Names of corpora; what is read from them is in a fingerprint, under ``libraries``."""

BatchSize = Annotated[int, Field(ge=1, le=4096), RUNTIME]
Device = Annotated[
    Literal[
        "auto", "cpu", "cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6",
        "cuda:7",
    ],
    RUNTIME,
]  # fmt: skip


def option_words(name: str, value: object) -> list[str]:
    """The words of a command line that give a field a value.

    >>> option_words("masked", False), option_words("arms", ["3", "5"])
    (['--no-masked'], ['--arms', '3', '--arms', '5'])
    """
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    values = value if isinstance(value, list | tuple) else [value]
    return [word for each in values for word in (f"--{option}", str(each))]
