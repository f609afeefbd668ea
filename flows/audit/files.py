"""The listening audit with files: a folder of WAVs and a table to fill in."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import soundfile
from rich.console import Console

from flows.audit.flow import audit_run
from flows.audit.options import AuditParameters
from flows.audit.result import summarise
from flows.audit.sample import Answer, draw_clips, segments_of, take_back, write_answers
from flows.reports.terminal_table import print_table
from storage.errors import UserError
from storage.reading import CropReader
from storage.tables.schemas import AUDITS

ANSWERS, PARAMETERS = "answers.csv", "audit.json"
HEADINGS = ("clip", "source", "silent", "segment_id")
MEANINGS: dict[str, Answer] = {
    "yes": "silent", "y": "silent", "silent": "silent",
    "no": "heard", "n": "heard", "heard": "heard",
    "?": "can't tell", "can't tell": "can't tell",
}  # fmt: skip


def export_audit(parameters: AuditParameters, folder: Path) -> int:
    """Write the clips that have no answer yet, and the table; returns how many there are.

    Raises:
        UserError: the folder holds an audit already.
    """
    table = folder / ANSWERS
    if table.exists():
        raise UserError(f"{table}: is there already, perhaps with answers; choose a new folder")
    with audit_run(parameters) as run:
        clips = draw_clips(run.manifests, parameters)
        done = run.manifests.items(run.partition(AUDITS.name))
        left = [clip for clip in clips if clip.name not in done]
        segments = segments_of(run.manifests, parameters)
        run.plan("clips", len(left), len(clips), segments)
        folder.mkdir(parents=True, exist_ok=True)
        reader = CropReader(run.workspace.location)
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(HEADINGS)
        for number, clip in enumerate(left, 1):
            name = f"{number:04}.wav"
            soundfile.write(folder / name, clip.audio(reader).T, run.workspace.music.sample_rate)
            writer.writerow([name, clip.row["source"], "", clip.row["segment_id"]])
        # these segments, whatever is extracted later
        pinned = parameters.model_copy(update={"segments": segments.fingerprint})
        (folder / PARAMETERS).write_text(pinned.model_dump_json(indent=1), encoding="utf-8")
        table.write_text(text.getvalue(), encoding="utf-8", newline="")
        run.count(clips=len(left))
    return len(left)


def import_answers(table: Path, workspace: str) -> tuple[str, list[dict[str, Any]]]:
    """Keep the answers in a table that was filled in; empty ones can be filled in later.

    Returns:
        The audit's id, and what the answers say, a row a source.

    Raises:
        UserError: the table is not one that was exported, or an answer means nothing.
    """
    beside = table.with_name(PARAMETERS)
    try:
        saved = AuditParameters.model_validate_json(beside.read_text(encoding="utf-8"))
        rows = list(csv.DictReader(table.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{table}: no audit that `silentmix audit --export` wrote ({error}); the table and "
            f"{PARAMETERS} beside it are wanted"
        ) from error
    parameters = saved.model_copy(update={"workspace": workspace})
    answers = _answers(table, rows)
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


def _answers(table: Path, rows: list[dict[str, str]]) -> dict[str, Answer]:
    answers = {}
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


def print_audit(name: str, said: list[dict[str, Any]], console: Console) -> None:
    """What the answers say, for the terminal."""
    console.print(f"audit {name}; use it: `silentmix extract --audit {name}`", highlight=False)
    if said:
        print_table(console, list(said[0]), [list(row.values()) for row in said])
    else:
        console.print("no source has an answer in each class of score yet; answer more")
