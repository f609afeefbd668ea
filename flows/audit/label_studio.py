"""An audit answered in Label Studio: tasks and a labelling interface for it, and what it exports.

Sounds are files of the folder, which Label Studio serves as local files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from flows.audit.sample import Answer, Clip
from storage.errors import UserError

TASKS, INTERFACE = "tasks.json", "interface.xml"
CHOICE = "silent"
"""What the interface calls the answer."""

KEYS = {"silent": "y", "heard": "n", "can't tell": "u"}
ANSWERS: tuple[Answer, ...] = get_args(Answer)


def write_tasks(folder: Path, clips: Mapping[str, Clip]) -> None:
    """Write what Label Studio imports.

    Args:
        folder: with the sounds; Label Studio is to serve the folder that it is in.
        clips: by the names of the sounds' files.
    """
    tasks = [
        {
            "data": {
                "audio": f"/data/local-files/?d={folder.resolve().name}/{file}",
                "question": f"Is {clip.row['source']} silent?",
                "segment_id": clip.row["segment_id"],
                "source": clip.row["source"],
            }
        }
        for file, clip in clips.items()
    ]
    choices = "\n".join(
        f'    <Choice value="{answer}" hotkey="{KEYS[answer]}"/>' for answer in ANSWERS
    )
    interface = (
        '<View>\n  <Header value="$question"/>\n  <Audio name="audio" value="$audio"/>\n'
        f'  <Choices name="{CHOICE}" toName="audio" choice="single" required="true">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    )
    (folder / TASKS).write_text(json.dumps(tasks, indent=1), encoding="utf-8")
    (folder / INTERFACE).write_text(interface, encoding="utf-8")


def exported_answers(file: Path) -> dict[str, Answer]:
    """What was answered, by the names of the clips; what has no answer yet is left out.

    Args:
        file: exported as JSON or as JSON-MIN. Of several annotations of a task, the last counts.

    Raises:
        UserError: the file is another one.
    """
    try:
        tasks = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: can't be read as what Label Studio exports ({error})") from error
    if not isinstance(tasks, list):
        raise UserError(f"{file}: no list of tasks, which Label Studio exports as JSON or JSON-MIN")
    answers: dict[str, Answer] = {}
    for number, task in enumerate(tasks, 1):
        where = f"{file}: task {number}"
        data = task.get("data", task) if isinstance(task, dict) else None
        if not isinstance(data, dict) or not {"segment_id", "source"} <= data.keys():
            raise UserError(f"{where} is none of an audit: it has no segment_id and source")
        given = task.get(CHOICE) if data is task else _annotated(task.get("annotations"))
        if given is None:
            continue
        if given not in ANSWERS:
            raise UserError(f"{where}: says {given!r}, and not {', '.join(ANSWERS)}")
        answers[f"{data['segment_id']}/{data['source']}"] = given
    return answers


def _annotated(annotations: Any) -> Any:
    """The choice of the last annotation that was not cancelled; None where there is none."""
    made = [each for each in annotations or () if isinstance(each, dict)]
    for annotation in sorted(made, key=lambda each: str(each.get("updated_at", "")), reverse=True):
        if annotation.get("was_cancelled"):
            continue
        for part in annotation.get("result") or ():
            if part.get("from_name") == CHOICE:
                return (part.get("value", {}).get("choices") or [None])[0]
    return None
