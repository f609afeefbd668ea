"""The listening audit with files: a folder of WAVs and a table to fill in."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import soundfile
from rich.console import Console

from flows.audit.flow import audit_run
from flows.audit.label_studio import exported_answers, write_tasks
from flows.audit.options import AuditParameters
from flows.audit.result import summarise
from flows.audit.sample import Answer, Clip, draw_clips, segments_of, take_back, write_answers
from flows.reports.terminal_table import print_table
from storage.errors import UserError
from storage.reading import CropReader
from storage.tables.manifests import Manifests
from storage.tables.schemas import AUDITS
from storage.workspace import Workspace

Form = Literal["csv", "label-studio"]
ANSWERS, PARAMETERS = "answers.csv", "audit.json"
HEADINGS = ("clip", "source", "silent", "segment_id")
MEANINGS: dict[str, Answer] = {
    "yes": "silent", "y": "silent", "silent": "silent",
    "no": "heard", "n": "heard", "heard": "heard",
    "?": "can't tell", "can't tell": "can't tell",
}  # fmt: skip


def export_audit(parameters: AuditParameters, folder: Path, form: Form = "csv") -> int:
    """Write the clips that have no answer yet, and what is to be filled in; returns how many.

    Args:
        parameters: whose segments.
        folder: a new one.
        form: a table, or what Label Studio imports.

    Raises:
        UserError: the folder holds an audit already.
    """
    if (folder / PARAMETERS).exists():
        raise UserError(
            f"{folder}: an audit is there already, perhaps with answers; choose a new folder"
        )
    with audit_run(parameters) as run:
        clips = draw_clips(run.manifests, parameters)
        done = run.manifests.items(run.partition(AUDITS.name))
        left = {
            f"{number:04}.wav": clip
            for number, clip in enumerate((clip for clip in clips if clip.name not in done), 1)
        }
        segments = segments_of(run.manifests, parameters)
        run.plan("clips", len(left), len(clips), segments)
        folder.mkdir(parents=True, exist_ok=True)
        reader = CropReader(run.workspace.location)
        for name, clip in left.items():
            soundfile.write(folder / name, clip.audio(reader).T, run.workspace.music.sample_rate)
        # these segments, whatever is extracted later
        pinned = parameters.model_copy(update={"segments": segments.fingerprint})
        if form == "csv":
            _write_table(folder / ANSWERS, left)
        else:
            write_tasks(folder, left)
        (folder / PARAMETERS).write_text(pinned.model_dump_json(indent=1), encoding="utf-8")
        run.count(clips=len(left))
    return len(left)


def _write_table(table: Path, clips: Mapping[str, Clip]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(HEADINGS)
    for name, clip in clips.items():
        writer.writerow([name, clip.row["source"], "", clip.row["segment_id"]])
    table.write_text(text.getvalue(), encoding="utf-8", newline="")


def import_answers(table: Path, workspace: str) -> tuple[str, list[dict[str, Any]]]:
    """Keep the answers in a table that was filled in, or in what Label Studio exported.

    What has no answer yet can be answered later.

    Returns:
        The audit's id, and what the answers say, a row a source.

    Raises:
        UserError: the table is not one that was exported, or an answer means nothing.
    """
    beside = table.with_name(PARAMETERS)
    try:
        saved = AuditParameters.model_validate_json(beside.read_text(encoding="utf-8"))
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{table}: no audit that `silentmix audit --export` wrote ({error}); the table, or "
            f"what Label Studio exported, and {PARAMETERS} beside it are wanted"
        ) from error
    parameters = saved.model_copy(update={"workspace": workspace})
    answers = exported_answers(table) if table.suffix == ".json" else _answers(table, text)
    with audit_run(parameters) as run:
        clips = draw_clips(run.manifests, parameters)
        unknown = answers.keys() - {clip.name for clip in clips}
        if unknown:
            raise UserError(
                f"{table}: {sorted(unknown)[0]} is not in the sample; the segments have changed "
                "since it was exported: export anew"
            )
        audit = run.partition(AUDITS.name)
        if corrected := take_back(run.manifests, audit, answers):
            run.count(corrected_answers=len(corrected))
        done = run.manifests.items(audit)
        new = [clip for clip in clips if clip.name in answers and clip.name not in done]
        run.plan("clips", len(new), len(clips), segments_of(run.manifests, parameters))
        given = {clip.name: answers[clip.name] for clip in new}
        run.count(new_answers=write_answers(run.manifests, audit, given, new))
        said = summarise(run, parameters.target_precision, parameters.confidence)
    return run.fingerprint, said


def _answers(table: Path, text: str) -> dict[str, Answer]:
    answers = {}
    try:
        rows = list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise UserError(
            f"{table}: no table that `silentmix audit --export` wrote ({error})"
        ) from error
    for line, row in enumerate(rows, 2):
        missing = [name for name in HEADINGS if row.get(name) is None]
        if missing:
            raise UserError(f"{table}: line {line} has no {missing[0]!r}")
        given = row["silent"].strip().lower()
        if not given:
            continue
        if given not in MEANINGS:
            raise UserError(f"{table}: line {line}: silent is {given!r}; say yes, no, ? or nothing")
        answers[f"{row['segment_id']}/{row['source']}"] = MEANINGS[given]
    return answers


def print_audit(
    workspace: Workspace, name: str, said: list[dict[str, Any]], console: Console
) -> None:
    """What the answers say, for the terminal."""
    audits = Manifests(workspace).partitions(AUDITS.name)
    corpus = [f" --corpus {each.corpus}" for each in audits if each.fingerprint == name]
    use = workspace.command(f"extract{''.join(corpus[:1])} --audit {name}")
    console.print(f"audit {name}; use it: {use}", highlight=False, markup=False, soft_wrap=True)
    if said:
        print_table(console, list(said[0]), [list(row.values()) for row in said])
    else:
        console.print("no source has an answer in each class of score yet; answer more")
