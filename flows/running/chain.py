"""What a stage knows of the chain of all stages when it says what it runs there.

Each stage of the chain has a function ``in_chain(chain)`` beside its flow, which gives the
parameters of its runs: of one, or of several. It may have ``ahead(chain)``, which refuses what the
stage would refuse after hours of other stages' work, as far as it can be known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flows.catalogue import BY_NAME, load
from flows.inputs import registry
from flows.running.chain_parameters import ChainParameters
from flows.running.parameters import StageParameters
from flows.running.stage_result import StageResult
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.workspace import Workspace


@dataclass
class Chain:
    """The stages in turn: what each made is what the next one takes.

    Attributes:
        parameters: of the chain, with a field a stage for that stage's options.
        results: of the stages that have run, in their order.
    """

    parameters: ChainParameters
    results: list[StageResult] = field(default_factory=list)

    @property
    def common(self) -> dict[str, Any]:
        """The fields that every stage's parameters share."""
        return {name: getattr(self.parameters, name) for name in StageParameters.model_fields}

    def options(self, stage: str) -> dict[str, Any]:
        """What was asked of how a stage works: the fields of its options."""
        entry = BY_NAME[stage]
        options = getattr(self.parameters, entry.field)
        return {name: getattr(options, name) for name in load(entry.options).model_fields}

    @property
    def imported(self) -> tuple[str, ...]:
        """The class that is trained, if it is one that is imported."""
        trained: tuple[str, ...] = getattr(self.parameters, BY_NAME["train"].field).allowed
        return trained

    @property
    def allow_import(self) -> list[str]:
        """The classes that may be imported: those that were named for it, and what is trained."""
        named = self.options("evaluate")["allow_import"]
        return [*dict.fromkeys([*named, *self.imported])]

    @property
    def is_ingested(self) -> bool:
        """Whether the labelled set is in the workspace as this chain would have it."""
        if "ingest" not in self.parameters.stages:
            return True
        return bool(self.made("ingest")) and not self.parameters.dry_run

    def manifests(self) -> Manifests:
        """What is in the workspace by now, be it made or not.

        Raises:
            UserError: it is none, or holds other music.
        """
        location = self.parameters.workspace
        music = self.parameters.music_in(location)
        return Manifests(Workspace.check(location, create=True, music=music))

    def require_libraries(self) -> None:
        """Refuse libraries that were not ingested.

        Raises:
            UserError: names one, those there are, and what to do.
        """
        manifests = self.manifests()
        known = {stems.corpus for stems in manifests.partitions("stems")}
        for name in self.parameters.libraries:
            if name not in {*known, self.parameters.labelled_corpus}:
                raise UserError(
                    f"libraries: no corpus {name!r} with stems in {manifests.workspace.location} "
                    f"(there are {', '.join(sorted(known)) or 'none'}); ingest it first: "
                    + manifests.workspace.command(
                        f"ingest --labelled --source PLACE --corpus {name}"
                    )
                )

    def made(self, stage: str) -> list[str]:
        """The fingerprints of what a stage of this chain made."""
        return [result.fingerprint for result in self.results if result.stage == stage]

    def last_made(self, stage: str) -> str:
        """The fingerprint of what a stage of this chain made last; empty if it has not run."""
        return (self.made(stage) or [""])[-1]

    def detector(self) -> str:
        """The detector that was fitted last, or that the workspace has.

        Raises:
            UserError: none was fitted, and which to take is not clear.
        """
        if fitted := self.last_made("fit-detector"):
            return fitted
        workspace = Workspace(self.parameters.workspace)
        return registry.resolve(workspace, "detectors", self.parameters.detector)
