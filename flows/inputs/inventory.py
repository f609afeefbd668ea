"""What a workspace knows of its models and detectors: names, what they heard, what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.inputs import registry
from flows.inputs.given_names import given_names
from flows.inputs.paper_table import sdr_of_models
from storage.tables.manifests import Manifests
from storage.tables.runs import maker
from storage.tables.schemas import RUNS
from storage.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model or a detector.

    Attributes:
        id: its name in the workspace's folders.
        names: those that people gave it.
        description: as :func:`flows.inputs.registry.describe` gives it.
        hours: of all runs that worked on it; None where no run is known, such as of a copy.
        scores: by the songs that they are of, a model's median SDR a source and their mean, where
            it was evaluated; of a detector, the precision on the songs held out.
        num_forgotten: tracks and songs it heard that were forgotten since.
        stands_on: which songs a detector's thresholds stand on; empty of a model.
    """

    id: str
    names: list[str]
    description: Mapping[str, Any]
    hours: float | None
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    num_forgotten: int = 0
    stands_on: str = ""

    @property
    def counts(self) -> Mapping[str, Any]:
        """What its training counted: songs, remixes, steps."""
        found: Mapping[str, Any] = self.description.get("counts", {})
        return found

    @property
    def architecture(self) -> str:
        """The kind of network."""
        config = self.description.get("model", self.description.get("detector", {}))
        return str(config.get("architecture", ""))


def networks_of(manifests: Manifests, kind: str) -> list[Network]:
    """All finished models or detectors of a workspace."""
    workspace = manifests.workspace
    given = given_names(workspace, kind)
    hours = _hours(manifests, registry.MADE_BY[kind])
    scores = sdr_of_models(manifests) if kind == "models" else {}
    found = []
    for name in registry.names(workspace, kind):
        description = registry.describe(workspace, kind, name)
        stands_on = _stands_on(workspace, name, description) if kind == "detectors" else ""
        if kind == "detectors":
            scores[name] = {stands_on: _precision(manifests, name)}
        found.append(
            Network(
                id=name,
                names=sorted(each for each, known in given.items() if known == name),
                description=description,
                hours=hours.get(description.get("of", name)),
                scores=scores.get(name, {}),
                num_forgotten=len(registry.forgotten(workspace, kind, name)),
                stands_on=stands_on,
            )
        )
    return found


def _stands_on(workspace: Workspace, detector: str, description: Mapping[str, Any]) -> str:
    path = f"detectors/{detector}/{registry.STANDS_ON}"
    corpus = description.get("held_out", {}).get("corpus", "?")
    if not workspace.exists(path):
        return f"songs of {corpus}"
    told = workspace.read_json(path)
    return f"{len(told['spreads'])} songs of {told['corpus']}"


def _hours(manifests: Manifests, stage: str) -> dict[str, float]:
    """Hours of all runs of a stage, by what they worked on: also of those that were cut short."""
    found: dict[str, float] = {}
    for partition in manifests.partitions(RUNS.name):
        for row in manifests.rows(partition, ["stage", "duration_s"]):
            if row["stage"] == stage:
                name = partition.fingerprint
                found[name] = found.get(name, 0.0) + row["duration_s"] / 3600
    return found


def _precision(manifests: Manifests, detector: str) -> dict[str, float]:
    made = maker(manifests, detector)
    counts = made.counts if made is not None else {}
    sources = manifests.workspace.music.sources
    return {
        source: counts[f"{source}_precision"]
        for source in sources
        if f"{source}_precision" in counts
    }
