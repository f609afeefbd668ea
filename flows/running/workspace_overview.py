"""The page of a workspace: what there is of each corpus, detector and model.

The Prefect UI has it, and as ``reports/index.html`` it leads to the reports' pages. It is written
after every stage run, so it costs little: what it says is what the runs counted. Of the manifest
``runs`` it reads the last part of each partition, and no other manifest at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress

from prefect.artifacts import create_markdown_artifact

from flows.catalogue import CATALOGUE
from flows.inputs import registry
from flows.inputs.given_names import given_names
from flows.reports import page
from flows.reports.markdown import number, plain, table
from flows.server.best_effort import best_effort
from flows.server.pages import OVERVIEW, run_path
from storage.errors import UserError
from storage.tables.manifests import Manifests
from storage.tables.runs import PastRun, last_runs
from storage.workspace import Workspace

MAX_ROWS = 100
COMPARISON = "comparison-"
"""How the folders of reports on several models begin; a hash of what they compare follows."""

SEPARATION = "separate-"
"""How the folders of reports of ``separate`` begin, which is no stage; the time of day follows."""

NONE = "-"


def publish_overview(manifests: Manifests, *, in_ui: bool = True) -> None:
    """Show what a workspace holds, as a page, and in the UI where a flow runs."""
    runs = shown_runs(manifests)
    markdown = overview_markdown(manifests, runs)
    title = f"Workspace {manifests.workspace.location}"
    if in_ui:
        with best_effort("of the workspace's overview"):
            create_markdown_artifact(markdown, key=OVERVIEW, description=title)
    folders = sorted(manifests.workspace.folders("reports"), reverse=True)
    links = [
        _reports(runs),
        _pages("Comparisons of models", folders, COMPARISON),
        _pages("Separations", folders, SEPARATION),
    ]
    on_page = page.page(title, [page.words(section) for section in (markdown, *links)])
    manifests.workspace.put_bytes("reports/index.html", on_page)


def shown_runs(manifests: Manifests) -> list[PastRun]:
    """The last run of each stage in each corpus with each fingerprint, oldest first."""
    return last_runs(manifests, [entry.name for entry in CATALOGUE])


def overview_markdown(manifests: Manifests, runs: Sequence[PastRun]) -> str:
    """Corpora by stages, minutes a source, detectors, models with their scores, trainings.

    Args:
        manifests: of the workspace.
        runs: those of :func:`shown_runs`.
    """
    sources = manifests.workspace.music.sources
    last: dict[tuple[str, str], PastRun] = {(run.stage, run.corpus): run for run in runs}
    corpora = sorted({corpus for stage, corpus in last if stage == "ingest"})
    extracted = [run for (stage, _), run in sorted(last.items()) if stage == "extract"]
    sections = [
        ("Corpora", [_corpus_row(corpus, last) for corpus in corpora]),
        (
            "Minutes in which a source is silent",
            [
                {"corpus": _link(run, run.corpus)}
                | {source: _minutes(run, source) for source in sources}
                for run in extracted
            ],
        ),
        ("Detectors: precision / recall on the songs held out", _detector_rows(manifests, runs)),
        ("Models: SDR on the test songs, in dB", _model_rows(manifests, runs)),
        ("Trainings that are not over", _training_rows(manifests)),
    ]
    return "\n\n".join(
        f"### {title}\n\n{table(rows[:MAX_ROWS])}{_more(manifests.workspace, rows)}"
        for title, rows in sections
        if rows
    )


def _reports(runs: Sequence[PastRun]) -> str:
    """The reports of the last runs, newest first, by the names of their folders."""
    rows = [
        {
            "report": f"[{plain(run.stage)} {plain(run.corpus)}]({run.run_id}/index.html)",
            "made": f"`{run.fingerprint}`",
            "began": f"{run.started_at:%Y-%m-%d %H:%M} UTC",
        }
        for run in reversed(runs)
        if run.made_something
    ]
    return f"### Reports\n\n{table(rows[:MAX_ROWS])}" if rows else ""


def _pages(title: str, folders: Iterable[str], kind: str) -> str:
    """The reports that are no stage's, by the names of their folders."""
    rows = [
        {"report": f"[{name.removeprefix(kind)}]({name}/index.html)"}
        for name in folders
        if name.startswith(kind)
    ]
    return f"### {title}\n\n{table(rows[:MAX_ROWS])}" if rows else ""


def _more(workspace: Workspace, rows: Sequence[object]) -> str:
    more = len(rows) - MAX_ROWS
    return f"\n\nand {more} more; see {workspace.command('status')}" if more > 0 else ""


def _corpus_row(corpus: str, last: dict[tuple[str, str], PastRun]) -> dict[str, str]:
    row = {"corpus": plain(corpus)}
    for entry in CATALOGUE:
        if entry.column is not None:
            run = last.get((entry.name, corpus))
            shown = NONE if run is None else _link(run, _counts(run, entry.column.counts))
            row[entry.column.heading] = shown
    return row


def _counts(run: PastRun, names: Iterable[str]) -> str:
    counts = {name: run.counts[name] for name in names if name in run.counts}
    if len(counts) == 1:
        return number(*counts.values())
    return ", ".join(f"{number(value)} {name}" for name, value in counts.items() if value)


def _minutes(run: PastRun, source: str) -> str:
    minutes = run.counts.get(f"{source}_minutes")
    return NONE if minutes is None else f"{minutes:,.1f}"


def _detector_rows(manifests: Manifests, runs: Iterable[PastRun]) -> list[dict[str, str]]:
    fitted = {run.fingerprint: run for run in runs if run.stage == "fit-detector"}
    return [
        {"detector": _link(run, name) + _forgotten(manifests, "detectors", name)}
        | {"songs of": plain(run.corpus)}
        | {
            source: _precision_and_recall(run, source)
            for source in manifests.workspace.music.sources
        }
        for name, run in _finished(manifests, "detectors", fitted)
    ]


def _precision_and_recall(run: PastRun, source: str) -> str:
    if f"{source}_precision" not in run.counts:
        return NONE
    precision, recall = run.counts[f"{source}_precision"], run.counts[f"{source}_recall"]
    return f"{precision:.1%} / {recall:.0%}"


def _model_rows(manifests: Manifests, runs: Sequence[PastRun]) -> list[dict[str, str]]:
    trained = {run.fingerprint: run for run in runs if run.stage == "train"}
    evaluated: dict[str, dict[str, PastRun]] = {}
    for run in runs:
        if run.stage == "evaluate":
            for model in json.loads(run.parameters)["models"]:
                evaluated.setdefault(model, {})[run.corpus] = run
    given: dict[str, str] = {}
    with suppress(UserError):  # damaged names stop no stage
        given = given_names(manifests.workspace, "models")
    there = _finished(manifests, "models", trained)
    heard = registry.trained_on_apart({name: json.loads(run.parameters) for name, run in there})
    rows = []
    for name, run in there:
        called = " ".join([name, *sorted(each for each, known in given.items() if known == name)])
        model = {"model": _link(run, called) + _forgotten(manifests, "models", name)}
        model["trained on"] = plain(heard[name])
        for evaluation in evaluated.get(name, {}).values() or [None]:
            sdr_db = evaluation.counts if evaluation else {}
            row = model | {"songs of": plain(evaluation.corpus) if evaluation else NONE}
            for heading in (*manifests.workspace.music.sources, "mean"):
                value = sdr_db.get(f"sdr_{heading}_db")
                row[heading] = NONE if value is None else f"{value:.2f}"
            if evaluation:
                row["mean"] = _link(evaluation, row["mean"])
            place = (not evaluation, row["songs of"], -sdr_db.get("sdr_mean_db", float("-inf")))
            rows.append((place, row))
    return [row for _, row in sorted(rows, key=lambda found: found[0])]


def _training_rows(manifests: Manifests) -> list[dict[str, str]]:
    return [
        {
            "training": plain(name),
            "trained on": plain(registry.trained_on(progress["description"]["training"])),
            "step": number(progress["step"]),
            "of": number(progress["description"]["parameters"]["steps"]),
            "saved at": plain(progress.get("saved_at", NONE)),
            "best step": number(best["step"]) if (best := progress["best"]) else NONE,
            "best loss": f"{best['loss']:.4f}" if best else NONE,
        }
        for name, progress in registry.unfinished(manifests.workspace)
    ]


def _finished(
    manifests: Manifests, kind: str, runs: dict[str, PastRun]
) -> list[tuple[str, PastRun]]:
    """Those detectors or models that are there, with the runs that made them, newest first."""
    there = set(registry.names(manifests.workspace, kind))
    return [(name, run) for name, run in reversed(runs.items()) if name in there]


def _forgotten(manifests: Manifests, kind: str, name: str) -> str:
    count = len(registry.forgotten(manifests.workspace, kind, name))
    return f", heard {count} forgotten since: retrain" if count else ""


def _link(run: PastRun, text: str) -> str:
    return f"[{plain(text)}]({run_path(run.flow_run_id)})" if run.flow_run_id else plain(text)
