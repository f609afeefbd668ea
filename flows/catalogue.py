"""The catalogue of flows: a row a flow, with all that the rest of silentmix knows of it.

The command line, the chain, the overview of a workspace, the reference pages, ``prefect.yaml`` and
the automations are made from these rows. They name modules as text, which is imported when it is
asked for: before that, the catalogue costs nothing, and the command line reads it before Prefect.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from prefect import Flow
    from pydantic import BaseModel

Pool = Literal["cpu", "gpu"]
POOLS: Mapping[Pool, tuple[int, str]] = {
    "cpu": (2, "Stages that need no GPU; a run starts its own Dask workers."),
    "gpu": (1, "Stages that take a GPU where there is one: one job at a time."),
}
"""How many runs at once, and what they are."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the corpora's table in the overview of a workspace.

    Attributes:
        heading: above it.
        counts: which of the stage's counts it shows.
    """

    heading: str
    counts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a deployment runs by itself; off, until somebody switches it on."""

    slug: str
    cron: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One flow.

    Attributes:
        name: of the flow, of its deployment, and of its section in a configuration.
        flow: where it is: ``module.function``.
        parameters: the model of its parameters, which is its run form: ``module.Class``, in a
            module that imports neither torch nor Prefect.
        deployed: what its deployment says of it, and its command's help.
        pool: of workers, that runs it.
        schedule: of its deployment.
        options: model of what the chain passes on to it, ``module.Class``; where there is one, the
            flow is a stage of the chain, and ``in_chain`` beside it says what it runs there;
            ``ahead`` beside it, where there is one, refuses before any stage has run.
        writes: the manifests it writes, less ``rejects``, ``heard`` and ``runs``; what a workspace
            holds is counted in those of them that ``unlisted`` does not name.
        unlisted: those that only other stages read.
        then: the flow that the server starts on the same corpus once this one has completed.
        column: of the overview.
        own_command: its command does more than to run the flow, and is written in ``flows/cli``.
        group: under which the command line lists it.
        creates: whether it may begin a workspace.
        prints: function beside the flow that prints what came of it, to a console; after the line
            that any :class:`~flows.running.stage_result.StageResult` gets.
        others: function beside the flow that all processes but the first run in its place, where a
            launcher (torchrun, srun) started several; without one, a run is one process.
    """

    name: str
    flow: str
    parameters: str
    deployed: str
    pool: Pool = "cpu"
    schedule: Schedule | None = None
    options: str = ""
    writes: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()
    then: str = ""
    column: Column | None = None
    own_command: bool = False
    group: Literal["stages", "results"] = "stages"
    creates: bool = False
    prints: str = ""
    others: str = ""

    @property
    def field(self) -> str:
        """The name as a field of the chain's parameters."""
        return self.name.replace("-", "_")

    @property
    def formerly(self) -> tuple[str, ...]:
        """Entrypoints of deployments by silentmix 0.1.0, where a stage's flow was a file."""
        return (f"flows.{self.field}.{self.field}", f"flows/{self.field}.py:{self.field}")

    @property
    def listed(self) -> list[str]:
        """The manifests in which what a workspace holds is counted."""
        return [table for table in self.writes if table not in self.unlisted]

    def load_flow(self) -> Flow[..., Any]:
        """The flow itself."""
        found: Flow[..., Any] = load(self.flow)
        return found

    def load_parameters(self) -> type[BaseModel]:
        """The model of its parameters."""
        found: type[BaseModel] = load(self.parameters)
        return found

    def beside_flow(self, name: str) -> Any:
        """What the flow's module has of a name."""
        return load(f"{self.flow.rpartition('.')[0]}.{name}")

    def may_have(self, name: str) -> Any:
        """As :meth:`beside_flow`; None where there is nothing of that name."""
        return getattr(importlib.import_module(self.flow.rpartition(".")[0]), name, None)


def load(path: str) -> Any:
    """What ``module.name`` names."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


CATALOGUE: tuple[Entry, ...] = (
    Entry(
        name="ingest",
        flow="flows.ingest.flow.ingest",
        parameters="flows.ingest.options.IngestParameters",
        options="flows.ingest.options.IngestOptions",
        deployed="Read a folder or bucket of music (or a labelled set) into the workspace, as a "
        "corpus. Files that are there already are not read again. To ingest what is new every "
        "night, set `source` on the deployment `ingest` and switch its schedule on.",
        schedule=Schedule(slug="nightly", cron="0 3 * * *"),
        writes=(
            *("tracks", "stems", "activity", "labelled_files", "source_files", "retired"),
            *("prints", "measures", "duplicates"),
        ),
        unlisted=(
            *("activity", "labelled_files", "source_files", "retired"),
            *("prints", "measures", "duplicates"),
        ),
        then="score",
        column=Column(heading="ingested", counts=("tracks", "songs", "hours", "rejected")),
        creates=True,
    ),
    Entry(
        name="fit-detector",
        flow="flows.fit_detector.flow.fit_detector",
        parameters="flows.fit_detector.options.FitDetectorParameters",
        options="flows.fit_detector.options.FitDetectorOptions",
        deployed="Fit and calibrate the detector of silent sources on a labelled corpus.",
        pool="gpu",
        writes=("scores",),
    ),
    Entry(
        name="score",
        flow="flows.score.flow.score",
        parameters="flows.score.options.ScoreParameters",
        options="flows.score.options.ScoreOptions",
        deployed="Say, frame by frame, how likely each source is silent in every track of a "
        "corpus. Runs by itself once a corpus is ingested, as long as its automation is on.",
        pool="gpu",
        writes=("scores",),
        then="extract",
        column=Column(heading="scored", counts=("total",)),
    ),
    Entry(
        name="extract",
        flow="flows.extract.flow.extract",
        parameters="flows.extract.options.ExtractParameters",
        options="flows.policy.options.PolicyOptions",
        deployed="Extract the stretches of a scored corpus in which a source is silent. Runs by "
        "itself once a corpus is scored, as long as its automation is on.",
        writes=("segments",),
        column=Column(heading="segments", counts=("segments",)),
    ),
    Entry(
        name="yields",
        flow="flows.yields.flow.yields",
        parameters="flows.yields.options.YieldsParameters",
        deployed="Look at what other thresholds and shortest segments would extract from a scored "
        "corpus: a table, and nothing is written.",
        group="results",
        prints="print_yields",
    ),
    Entry(
        name="forecast",
        flow="flows.forecast.flow.forecast",
        parameters="flows.forecast.options.ForecastParameters",
        deployed="Score a sample of a corpus's tracks, and forecast the hours that the whole of it "
        "would give and how long scoring the rest would take.",
        pool="gpu",
        writes=("scores",),
        group="results",
        prints="print_forecast",
    ),
    Entry(
        name="audit",
        flow="flows.audit.flow.audit",
        parameters="flows.audit.options.AuditParameters",
        deployed="Listen to a sample of what was extracted, and learn how precise it is.",
        writes=("audits",),
        own_command=True,
        group="results",
    ),
    Entry(
        name="remix",
        flow="flows.remix.flow.remix",
        parameters="flows.remix.options.RemixParameters",
        options="flows.remix.options.RemixOptions",
        deployed="Draw recipes that add labelled stems to extracted segments.",
        writes=("tempos", "remixes"),
        unlisted=("tempos",),
        column=Column(heading="remixes", counts=("remixes",)),
    ),
    Entry(
        name="pseudo-label",
        flow="flows.pseudo_label.flow.pseudo_label",
        parameters="flows.pseudo_label.options.PseudoLabelParameters",
        deployed="Let a model separate a corpus, and make recipes of what it is sure of: examples "
        "for another model, as remixes are.",
        pool="gpu",
        writes=("remixes",),
        column=Column(heading="pseudo-labels", counts=("remixes",)),
    ),
    Entry(
        name="train",
        flow="flows.train.flow.train",
        parameters="flows.train.options.TrainParameters",
        options="flows.train.options.TrainOptions",
        deployed="Train a separation model on labelled songs and remixes.",
        pool="gpu",
        writes=("steps",),
        unlisted=("steps",),
        others="take_part",
    ),
    Entry(
        name="evaluate",
        flow="flows.evaluate.flow.evaluate",
        parameters="flows.evaluate.options.EvaluateParameters",
        options="flows.evaluate.options.EvaluateOptions",
        deployed="Evaluate models on the test songs with BSSEval v4, and compare them.",
        pool="gpu",
        writes=("evaluations",),
        prints="print_evaluation",
    ),
    Entry(
        name="compact",
        flow="flows.compact.flow.compact",
        parameters="flows.compact.options.CompactParameters",
        deployed="Join the many small parts that runs left in the manifests into few large ones, "
        "and remove those that were joined a day ago. Rows stay as they are, and nothing is done "
        "again for it. To do so every night, switch the schedule of the deployment `compact` on.",
        schedule=Schedule(slug="nightly", cron="0 5 * * *"),
        group="results",
        prints="print_compaction",
    ),
    Entry(
        name="pipeline",
        flow="flows.pipeline.flow.pipeline",
        parameters="flows.pipeline.options.PipelineParameters",
        deployed="Every stage in turn, on a labelled set and a folder of unlabelled music. Stages "
        "that are done already are not done again.",
        pool="gpu",
        own_command=True,
    ),
)
"""Every flow that a user runs; those of the chain in its order."""

BY_NAME: Mapping[str, Entry] = {entry.name: entry for entry in CATALOGUE}

CHAIN: tuple[Entry, ...] = tuple(entry for entry in CATALOGUE if entry.options)
"""The stages of the chain, in its order."""

STAGES: tuple[str, ...] = tuple(entry.name for entry in CHAIN)

FOLLOWING: Mapping[str, str] = {entry.name: entry.then for entry in CATALOGUE if entry.then}
"""What the server starts once a flow has completed."""
