"""What the demo says at its end: what came in, what was extracted, and what it gave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demucs_core.extraction.segments import ExtractionPolicy
from demucs_core.metrics.comparison import p_in_words
from flows.evaluate.flow import Evaluation
from flows.evaluate.summary import Verdict, print_comparison
from flows.inputs import registry
from flows.studies.truth import SourceQuality, extraction_quality, rows_of
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace


def print_summary(
    workspace: Workspace,
    music: str,
    truth: Path,
    policy: ExtractionPolicy,
    evaluation: Evaluation,
    models: Mapping[str, str],
    console: Console,
) -> None:
    """Print it.

    Args:
        workspace: of the demo.
        music: the unlabelled corpus.
        truth: file of its true levels.
        policy: by which its silences were extracted.
        evaluation: of the models.
        models: what each learnt from, by its name: without music, with it, with its true silences.
        console: where to.
    """
    manifests = Manifests(workspace)
    tracks = manifests.count(manifests.latest("tracks", music))
    rejects = list(manifests.rows(manifests.latest("rejects", music)))
    console.rule("silentmix demo")
    console.print(f"[bold]{tracks}[/bold] tracks in, [bold]{len(rejects)}[/bold] rejected:")
    for row in rejects:
        console.print(f"  {row['reason']:<16} {Path(row['item']).name}", highlight=False)
    segments = manifests.latest("segments", music)
    quality = extraction_quality(manifests, segments, rows_of(truth), policy)
    _print_extraction(quality, console)
    console.print(_promise(manifests, segments), highlight=False, soft_wrap=True)
    comparison = evaluation.comparison
    assert comparison is not None  # it was no dry run
    named = [
        method.model_copy(update={"label": models.get(method.name, method.label)})
        for method in comparison.methods
    ]
    comparison = comparison.model_copy(update={"methods": named})
    print_comparison(comparison, workspace.location, console)
    _, remixes, ceiling = models
    verdicts = {each.method: each for each in comparison.verdicts if each.source == "mean"}
    improving = sum(
        registry.describe(workspace, "models", name)["history"][-1]["best"] for name in models
    )
    for line in conclusion(verdicts[remixes], verdicts[ceiling], improving=improving):
        console.print(line, highlight=False, soft_wrap=True)


def conclusion(remixes: Verdict, ceiling: Verdict, *, improving: int) -> list[str]:
    """What unlabelled music gave against labelled songs alone, and what this does not say.

    Args:
        remixes: of the model that learnt from remixes too, in the mean over sources.
        ceiling: of the one whose silences were true.
        improving: how many models were never better on the validation songs than at the last step.
    """
    if remixes.median_db is None or ceiling.median_db is None or remixes.p_value is None:
        return [f"{remixes.num_songs} test songs show nothing: compare more (--test-songs)."]
    if remixes.shown and remixes.median_db > 0:
        first = f"Unlabelled music gave {remixes.median_db:+.2f} dB of SDR"
    elif remixes.shown:
        first = f"Unlabelled music did harm: {remixes.median_db:+.2f} dB of SDR"
    else:
        first = f"No difference is shown: {remixes.median_db:+.2f} dB of SDR"
    sooner = (
        f"Models that still improved on the validation songs at the last step: {improving} of 3; a "
        "part of the difference may be who learns sooner."
    )
    return [
        f"[bold]{first}[/bold] ({remixes.low_db:+.2f} to {remixes.high_db:+.2f}, "
        f"{p_in_words(remixes.p_value)}, {remixes.num_songs} songs); remixes of true silences gave "
        f"{ceiling.median_db:+.2f} dB.",
        "That holds for these generated songs, a small model, few steps and one seed; the study of "
        "more is `silentmix study paper`.",
        *([sooner] if improving else []),
    ]


def _promise(manifests: Manifests, segments: Partition) -> str:
    """The precision that was asked for, and whether it was promised."""
    for row in manifests.rows(segments, ["policy"]):
        policy = json.loads(row["policy"])
        target = f"A precision of {policy['target_precision']:g} was asked for"
        if policy["overridden"]:
            return f"{target}; the few songs held out can't promise that of every source."
        return f"{target}, and promised of every source."
    return "Nothing was extracted."


def _print_extraction(quality: dict[str, SourceQuality], console: Console) -> None:
    table = Table(title="extracted from the unlabelled music", title_justify="left", box=None)
    for heading in ("silent source", "minutes", "true precision", "true recall"):
        table.add_column(heading, justify="right")
    for source, found in quality.items():
        table.add_row(
            source, f"{found.extracted_s / 60:.1f}", f"{found.precision:.3f}", f"{found.recall:.3f}"
        )
    console.print(table)
