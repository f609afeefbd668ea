"""``silentmix demo``: make a corpus with known silences, run the chain on it, say how it did."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from demo_corpus.corpus import write_labelled, write_unlabelled
from flows.evaluate.flow import evaluate
from flows.evaluate.options import EvaluateParameters
from flows.evaluate.summary import ComparisonSummary, print_comparison
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.studies.demo_options import DemoParameters
from flows.studies.truth import SourceQuality, extraction_quality
from storage.errors import UserError
from storage.manifests import Manifests
from storage.workspace import Workspace

LABELLED, MUSIC = "demo-labelled", "demo-music"


DEMO_STAGES: dict[str, dict[str, Any]] = {
    "fit_detector": {"steps": 600, "batch_size": 8, "crop_s": 6.0},
    "extract": {"target_precision": 0.9, "allow_insufficient_evidence": True},
    "train": {"preset": "demo"},
}
"""What the demo sets, so that it is done in minutes; a real run would leave the defaults."""


def run_demo(parameters: DemoParameters, console: Console) -> None:
    """Generate the corpus, run the chain, print the summary.

    Raises:
        UserError: the workspace is not a local folder.
    """
    if "://" in parameters.workspace:
        raise UserError(f"--workspace {parameters.workspace}: the demo wants a local folder")
    started = time.monotonic()
    root = Path(parameters.workspace).resolve()
    corpus = root.with_name(f"{root.name}-corpus")
    truth = _generate(parameters, corpus)
    generated = time.monotonic()
    results = pipeline(
        PipelineParameters.model_validate(
            {
                "workspace": str(root),
                "workers": parameters.workers,
                "labelled": str(corpus / "labelled"),
                "unlabelled": str(corpus / "unlabelled"),
                "labelled_corpus": LABELLED,
                "corpus": MUSIC,
                **DEMO_STAGES,
            }
        )
    )
    # The models are scored already: this finds their scores, and says what they show.
    evaluation = evaluate(
        EvaluateParameters(
            workspace=str(root),
            workers=parameters.workers,
            labelled=LABELLED,
            models=[result.fingerprint for result in results if result.stage == "train"],
        )
    )
    _print_summary(Workspace(str(root)), corpus, truth, evaluation.comparison, console)
    console.print(
        f"corpus {generated - started:.0f} s, pipeline {time.monotonic() - generated:.0f} s\n"
        f"look at every run: silentmix up --workspace {parameters.workspace}   (or make ui)\n"
        f"what is where:     silentmix status --workspace {parameters.workspace}"
    )


def _generate(parameters: DemoParameters, corpus: Path) -> list[dict[str, Any]]:
    """Write the corpus, and return the truth about its silences: a row a file and source."""
    context = get_context("spawn")
    with ProcessPoolExecutor(parameters.workers or None, mp_context=context) as processes:
        songs = write_labelled(
            corpus / "labelled",
            seed=parameters.seed,
            num_train=parameters.train_songs,
            num_valid=parameters.valid_songs,
            num_test=parameters.test_songs,
            duration_s=parameters.song_s,
            map=processes.map,
        )
        files = write_unlabelled(
            corpus / "unlabelled",
            seed=parameters.seed,
            num_songs=parameters.unlabelled_songs,
            duration_s=parameters.song_s,
            leaked=songs[-1] / "mixture.wav",
            map=processes.map,
        )
    copies = {file.same_as: file.path for file in files if file.kind == "duplicate"}
    truth = pq.read_table(corpus / "truth" / "unlabelled" / "truth.parquet").to_pylist()
    # of two equal files, ingest keeps the one whose path comes first
    return truth + [{**row, "path": copies[row["path"]]} for row in truth if row["path"] in copies]


def _print_summary(
    workspace: Workspace,
    corpus: Path,
    truth: list[dict[str, Any]],
    comparison: ComparisonSummary | None,
    console: Console,
) -> None:
    manifests = Manifests(workspace)
    segments = manifests.latest("segments", MUSIC)
    tracks = manifests.count(manifests.latest("tracks", MUSIC))
    rejects = list(manifests.rows(manifests.latest("rejects", MUSIC)))
    console.rule("silentmix demo")
    console.print(f"[bold]{tracks}[/bold] tracks in, [bold]{len(rejects)}[/bold] rejected:")
    for row in rejects:
        console.print(f"  {row['reason']:<16} {Path(row['item']).name}", highlight=False)
    _print_extraction(extraction_quality(manifests, segments, truth), console)
    if comparison is not None:
        print_comparison(comparison, workspace.location, console)
    console.print(f"workspace {workspace.location}\ncorpus    {corpus}", highlight=False)


def _print_extraction(quality: dict[str, SourceQuality], console: Console) -> None:
    table = Table(title="extracted from the unlabelled music", title_justify="left", box=None)
    for heading in ("silent source", "minutes", "true precision", "true recall"):
        table.add_column(heading, justify="right")
    for source, found in quality.items():
        table.add_row(
            source, f"{found.extracted_s / 60:.1f}", f"{found.precision:.3f}", f"{found.recall:.3f}"
        )
    console.print(table)
