"""What a stage tells the Prefect server when it has completed, so that others can go on."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

TAG = "silentmix"
"""On every run of ours; the automations leave other people's runs on the same server alone."""

PASSED_ON = ("workspace", "corpus", "detector", "dask_address")
"""Fields that the next stage takes over, as far as the one before has them."""


def completed(stage: str) -> str:
    """The event of a stage that has completed."""
    return f"silentmix.{stage}.completed"


def announce(stage: str, corpus: str, fields: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Tell the server that a stage has completed on a corpus.

    Args:
        stage: its name.
        corpus: what it worked on.
        fields: what it was given; those of :data:`PASSED_ON` are told.
        outcome: what else to tell, JSON-able.
    """
    emit_event(
        event=completed(stage),
        resource={
            "prefect.resource.id": f"silentmix.corpus.{corpus}",
            "prefect.resource.name": corpus,
            "silentmix.labelled": str(fields.get("labelled") is True).lower(),
        },
        payload={**outcome, **{name: fields[name] for name in PASSED_ON if name in fields}},
    )
