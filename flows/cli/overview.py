"""What a workspace holds, for the terminal: status and manifests."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import datetime
from itertools import chain, islice
from typing import Any

from rich.console import Console

from flows.catalogue import CATALOGUE
from flows.inputs import registry
from flows.inputs.given_names import names_of
from flows.inputs.paper_table import sdr_of_models
from flows.reports.silent_minutes import silent_minutes
from flows.reports.terminal_table import print_table
from flows.running.under_way import runs_under_way
from storage.damage import DamagedError
from storage.tables.manifests import Manifests
from storage.tables.schemas import REJECTS, TABLES
from storage.workspace import Workspace


def print_status(location: str, console: Console) -> None:
    """Corpora by stages, minutes found a source, detectors, and models with their scores."""
    workspace = Workspace(location)
    manifests = Manifests(workspace)
    console.print(f"[bold]{workspace.location}[/bold]")
    console.print(str(workspace.music), markup=False, highlight=False, soft_wrap=True)
    listed = {REJECTS.name, *(name for entry in CATALOGUE for name in entry.listed)}
    shown = [name for name in TABLES if name in listed]
    counts: dict[str, dict[str, int]] = {}
    for name in shown:
        for partition in manifests.partitions(name):
            row = counts.setdefault(partition.corpus, dict.fromkeys(shown, 0))
            row[name] += manifests.count(partition)
    if not counts:
        console.print("nothing yet; begin with `silentmix run` or `silentmix ingest`")
        _print_under_way(workspace, console)
        return
    print_table(
        console, ["corpus", *shown], ([name, *row.values()] for name, row in counts.items())
    )
    for partition in manifests.partitions("segments"):
        minutes = silent_minutes(manifests, partition)
        found = ", ".join(f"{source} {value:.1f}" for source, value in minutes.items())
        console.print(f"{partition.corpus}, segments {partition.fingerprint}: minutes {found}")
    for name in registry.names(workspace, "detectors"):
        console.print(f"detector {name}{_forgotten(workspace, 'detectors', name)}")
    scores = sdr_of_models(manifests)
    trainings: dict[str, dict[str, Any]] = {}
    for name in registry.names(workspace, "models"):
        try:
            described = registry.described_with(workspace, name, "training")
            trainings[name] = registry.training_of(described)
        except DamagedError as error:
            console.print(f"model {name}: {error}", markup=False, highlight=False, soft_wrap=True)
    for name, heard in registry.trained_on_apart(trainings).items():
        sdr = "; ".join(
            f"{_listed(figures)} ({songs})" for songs, figures in scores.get(name, {}).items()
        )
        note = _forgotten(workspace, "models", name)
        called = " ".join([name, *names_of(workspace, "models", name)])
        console.print(f"model {called} ({heard}): SDR {sdr or 'not evaluated'}{note}")
    for name, progress in registry.unfinished(workspace):
        console.print(f"training {name}: {_how_far(progress)}", soft_wrap=True)
    _print_under_way(workspace, console)


def _print_under_way(workspace: Workspace, console: Console) -> None:
    """What runs now, and how far it is."""
    for run in runs_under_way(workspace):
        where = "" if run.host == socket.gethostname() else f", on {run.host}"
        since, told = (
            datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")
            for at in (run.started_at, run.told_at)
        )
        how_far = f"{run.progress} at {told}" if run.progress else "not counted yet"
        made = f"({run.fingerprint})" if run.fingerprint else ""
        what = " ".join(filter(None, (run.stage, run.table, run.corpus, made)))
        console.print(
            f"now: {what} since {since}{where}: {how_far}",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{source} {value:.2f}" for source, value in figures.items())


def _how_far(progress: dict[str, Any]) -> str:
    """Where a training is that is not over."""
    steps, best = progress["description"]["parameters"]["steps"], progress["best"]
    training = progress["description"]["training"]
    said = f"{registry.trained_on(training)}, step {progress['step']} of {steps}"
    if "saved_at" in progress:
        said += f" saved at {progress['saved_at']}"
    if best is None:
        return f"{said}, no validation yet"
    return f"{said}, best at step {best['step']} with a loss of {best['loss']:.4f}"


def _forgotten(workspace: Workspace, kind: str, name: str) -> str:
    count = len(registry.forgotten(workspace, kind, name))
    return f", heard {count} forgotten since: retrain" if count else ""


def print_manifests(location: str, console: Console) -> None:
    """Every partition of every manifest."""
    manifests = Manifests(Workspace(location))
    rows = [
        [name, partition.corpus, partition.fingerprint, manifests.count(partition),
         len(manifests.parts(partition))]
        for name in TABLES
        for partition in manifests.partitions(name)
    ]  # fmt: skip
    print_table(console, ["manifest", "corpus", "fingerprint", "rows", "parts"], rows)


def print_rows(location: str, table: str, corpus: str, num_rows: int, console: Console) -> None:
    """A manifest's fields with their descriptions, and its first rows."""
    manifests = Manifests(Workspace(location))
    partitions = manifests.partitions(table, corpus or None)
    fields = [[name, str(kind), text] for name, kind, text in TABLES[table].fields]
    print_table(console, ["field", "type", "meaning"], fields)
    names = TABLES[table].schema.names
    rows = islice(chain.from_iterable(map(manifests.rows, partitions)), num_rows)
    print_table(console, names, ([row[name] for name in names] for row in rows))
