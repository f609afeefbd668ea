"""Which tracks of a corpus a stage takes: what a person says of it, and what is not taken twice."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from flows.running.parameters import ADDED, Options


class SelectionOptions(Options):
    """Which tracks of a corpus are taken."""

    where: Annotated[str, ADDED] = Field(
        "",
        description="Only tracks of which this SQL condition is true, over the columns of the "
        'manifests `tracks` and `measures`, such as "bandwidth_hz > 16000 AND artist NOT LIKE '
        "'%Karaoke%'\".",
    )
    duplicates: Annotated[Literal["keep", "drop"], ADDED] = Field(
        "keep",
        description="Tracks of which half or more is the music of one that came earlier, as the "
        "manifest `duplicates` says.",
    )

    @property
    def selection(self) -> dict[str, Any]:
        """What of this changes the content of what is written: nothing, where all is taken."""
        chosen = {name: getattr(self, name) for name in SelectionOptions.model_fields}
        return {
            name: value
            for name, value in chosen.items()
            if value != SelectionOptions.model_fields[name].default
        }
