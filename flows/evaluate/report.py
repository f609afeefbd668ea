"""How methods compare on the test songs: a table, plots, verdicts, and sounds to judge by.

A comparison is named by the scores in it, ``reports/comparison-<hash>/``: made once, it is not made
again while they stay the same.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from math import isfinite

import numpy as np

from demucs_core.metrics.comparison import Difference, compare_songs
from flows.evaluate.excerpts import play_songs
from flows.evaluate.files import write_csv
from flows.evaluate.plots import sdr_boxes, sdr_differences
from flows.evaluate.summary import (
    ComparisonSummary,
    Figures,
    Verdict,
    labels,
    over_songs,
    table_rows,
    verdict_lines,
)
from flows.inputs.methods import COLUMNS, SONG_SDR, Method, id_label, songs_in_common
from flows.inputs.songs import Song
from flows.reports.artifacts import Report
from flows.running.workspace_overview import COMPARISON, publish_overview
from storage.errors import UserError
from storage.fingerprint import short_hash
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

SUMMARY = "comparison.json"
MAX_SONGS_NAMED = 5
HOW_TO_READ = (
    "Differences are medians over songs of the SDR less that of the reference on the same song; "
    "intervals by the bootstrap over songs; p-values of Wilcoxon's signed-rank test, those of the "
    "sources corrected for how many they are (Holm), none for the number of methods."
)


def compare(
    workspace: Workspace,
    methods: Sequence[Method],
    songs: Sequence[Song],
    *,
    reference: str,
    corpus: str,
    device: str,
    allow_import: tuple[str, ...] = (),
) -> ComparisonSummary:
    """Compare methods on the songs that all of them have, and report it where that is new.

    Args:
        workspace: where the report goes.
        methods: what to compare; the first are the workspace's models.
        songs: the test songs.
        reference: name of the method that the others are compared to.
        corpus: of the test songs.
        device: where to separate what is played.
        allow_import: classes that may be imported for the model that is played.

    Raises:
        UserError: no song has scores of all methods.
    """
    manifests = Manifests(workspace)
    scored = [method for method in methods if songs_in_common([method], songs)]
    common = songs_in_common(scored, songs) if scored else []
    if not common:
        raise UserError(_nothing_to_compare(manifests, methods, songs))
    notes = _notes(methods, songs, common)
    if reference not in [method.name for method in scored]:
        reference = scored[0].name
    scored.sort(key=lambda method: method.name != reference)
    sdr = {method.name: method.matrix(common) for method in scored}
    comparisons = {
        method.name: compare_songs(sdr[method.name], sdr[reference])
        for method in scored
        if method.name != reference
    }
    content = [
        corpus, reference, notes, [song.track_id for song in common],
        *([method.name, *(method.matrix(common, name).tolist() for name in COLUMNS)]
          for method in scored),
        *(method.medians(common).tolist() for method in scored if method.runs),
        *(method.label for method in scored
          if method.evaluations is not None and method.label != id_label(workspace, method.name)),
    ]  # fmt: skip
    run_id = f"{COMPARISON}{short_hash(repr(content))}"
    summary = ComparisonSummary(
        corpus=corpus,
        num_songs=len(common),
        methods=[_figures(method, common) for method in scored],
        reference=reference,
        verdicts=[
            _verdict(name, source, difference)
            for name, comparison in comparisons.items()
            for source, difference in zip(
                ("mean", *workspace.music.sources),
                (comparison.mean, *comparison.sources),
                strict=True,
            )
        ],
        notes=notes,
        folder=f"reports/{run_id}",
    )
    if not workspace.exists(f"{summary.folder}/{SUMMARY}"):
        write_csv(workspace, summary.folder, scored, common, comparisons, reference)
        label = labels(summary)
        report = Report(workspace, "comparison", run_id)
        _write_tables(report, summary)
        report.text(_markdown(summary))
        sdr_boxes(report, {label[name]: values for name, values in sdr.items()})
        if comparisons:
            by_label = {label[name]: comparison for name, comparison in comparisons.items()}
            sdr_differences(report, by_label, label[reference])
        report.publish(f"Evaluation on {corpus}")
        best = _best_model(scored, summary)
        play_songs(workspace, best, common, run_id, device, allow_import)
        workspace.put_json(f"{summary.folder}/{SUMMARY}", summary.model_dump(mode="json"))
        publish_overview(manifests, in_ui=False)  # whose page leads to it
    return summary


def _nothing_to_compare(
    manifests: Manifests, methods: Sequence[Method], songs: Sequence[Song]
) -> str:
    for method in methods:
        if method.evaluations is not None and not songs_in_common([method], songs):
            corpus, name = method.evaluations.corpus, method.evaluations.fingerprint
            refused = next(manifests.rows(Partition("rejects", corpus, name), ["detail"]), None)
            why = f": {refused['detail']}" if refused else ""
            return f"model {method.name!r}: none of the {len(songs)} test songs has scores{why}"
    names = ", ".join(method.name for method in methods)
    return f"no test song has scores of all of {names}; compare fewer of them"


def _notes(methods: Sequence[Method], songs: Sequence[Song], common: Sequence[Song]) -> list[str]:
    """What a reader must know of the songs compared."""
    notes = []
    for method in methods:
        found = songs_in_common([method], songs)
        if method.evaluations is None:
            notes.append(f"{method.label}: has {len(found)} of the {len(songs)} test songs")
        elif not found:
            notes.append(f"{method.label}: left out, none of its songs has scores (see rejects)")
        elif len(found) < len(songs):
            notes.append(
                f"{method.label}: {len(songs) - len(found)} of {len(songs)} songs without scores "
                "(see rejects)"
            )
    left_out = [song.name for song in songs if song not in common]
    if left_out:
        named = ", ".join(left_out[:MAX_SONGS_NAMED])
        more = len(left_out) - MAX_SONGS_NAMED
        notes.append(
            f"compared on the {len(common)} songs that all have; left out: {named}"
            + (f" and {more} more" if more > 0 else "")
        )
    return notes


def _figures(method: Method, songs: Sequence[Song]) -> Figures:
    figures = (*method.sources, "mean")
    matrix, sdr = method.matrix(songs), method.medians(songs)
    by_source = method.matrix(songs, SONG_SDR).mean(axis=0)
    whole = [*by_source.tolist(), float(by_source.mean())]
    return Figures(
        name=method.name,
        label=method.label,
        sdr_db=dict(zip(figures, map(_number, sdr.tolist()), strict=True)),
        song_sdr_db=dict(zip(figures, map(_number, whole), strict=True)),
        num_songs=dict(zip(method.sources, np.isfinite(matrix).sum(axis=0).tolist(), strict=True)),
    )


def _verdict(method: str, source: str, difference: Difference) -> Verdict:
    return Verdict(
        method=method,
        source=source,
        num_songs=difference.num_songs,
        median_db=_number(difference.median_db),
        low_db=_number(difference.low_db),
        high_db=_number(difference.high_db),
        p_value=_number(difference.p_value),
        shown=difference.shown,
        sentence=difference.verdict,
    )


def _best_model(methods: Sequence[Method], summary: ComparisonSummary) -> Method | None:
    """The model of the workspace with the highest mean, or else the first one."""
    means = {each.name: each.sdr_db["mean"] for each in summary.methods}

    def height(method: Method) -> float:
        mean = means[method.name]
        return float("-inf") if mean is None else mean

    models = [method for method in methods if method.evaluations is not None]
    return max(models, key=height, default=None)


def _write_tables(report: Report, summary: ComparisonSummary) -> None:
    report.table(
        "sdr",
        table_rows(summary),
        f"SDR in dB: median over {over_songs(summary)} of the median over frames. Whole song: the "
        "Music Demixing Challenge's, mean over songs and sources.",
    )
    label = labels(summary)
    if summary.verdicts:
        report.table(
            "differences",
            [
                {
                    "method": label[verdict.method],
                    "source": verdict.source,
                    f"against {label[summary.reference]}": verdict.sentence,
                }
                for verdict in summary.verdicts
            ],
            HOW_TO_READ,
        )


def _markdown(summary: ComparisonSummary) -> str:
    lines = [f"- {html.escape(line)}" for line in (*verdict_lines(summary), *summary.notes)]
    return "\n".join([*lines, "", HOW_TO_READ] if summary.verdicts else lines)


def _number(value: float) -> float | None:
    return value if isfinite(value) else None
