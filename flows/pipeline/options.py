"""What the chain is told: the music, which stages, and how each of them works."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, create_model

from flows.catalogue import CHAIN, Entry, load
from flows.running.chain_parameters import ChainParameters
from flows.running.parameters import Options


def _stage_field(entry: Entry) -> tuple[type[Options], Any]:
    options = load(entry.options)
    return options, Field(options(), description=inspect.getdoc(options))


if TYPE_CHECKING:

    class StageOptions(Options):
        """The options of each stage of the catalogue, as the field of its name."""

        model_config = ConfigDict(extra="allow")

        def __getattr__(self, name: str) -> Any: ...

else:
    StageOptions = create_model(
        "StageOptions", __base__=Options, **{entry.field: _stage_field(entry) for entry in CHAIN}
    )


class PipelineParameters(StageOptions, ChainParameters):
    """The labelled set, the unlabelled music, and how each stage works on them."""
