"""The folder of a song's stems: whose they are, and that one command at a time writes them.

A hidden note in the folder says which file was separated, by which model and how. So what is done
is skipped, and two commands into one output never write over each other's ``song``.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from storage.decoding.chunk import Unusable
from storage.encode import PARTS
from storage.workspace import remove_if_left

NOTE = ".silentmix.json"


@contextmanager
def claimed(
    folder: Path, targets: Sequence[Path], told: Mapping[str, Any], *, overwrite: bool
) -> Iterator[bool]:
    """Claim a folder while its stems are written.

    Args:
        folder: of the stems; made if it isn't there, and gone again if nothing came of it.
        targets: the stems.
        told: what is separated and how, JSON-able, with the address of the file as ``file``.
        overwrite: replace what is there.

    Yields:
        Whether there is anything to do: the same was separated in the same way already.

    Raises:
        Unusable: another command is writing here, or other stems are here.
        OSError: the folder or its note can't be made.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NOTE
    with path.open("a+", encoding="utf-8") as note:
        try:
            fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Unusable("taken", f"another command is writing to {folder}") from error
        except OSError:
            pass  # a file system without locks
        note.seek(0)
        before = _parsed(note.read())
        there = [target for target in targets if target.exists()]
        try:
            if not overwrite and before == told and len(there) == len(targets):
                yield False
                return
            if there and not overwrite:
                raise Unusable("taken", _refusal(folder, before, told))
            yield True
            note.seek(0)
            note.truncate()
            note.write(json.dumps(told))
        finally:
            note.flush()
            if not path.stat().st_size:
                path.unlink()
                for each in made:  # the innermost first
                    with suppress(OSError):  # something else is in it
                        each.rmdir()


def sweep(output: Path) -> None:
    """Remove what commands that were killed left half written, anywhere below ``output``.

    Only beside a note of ours, whose lock a living command has; where a file system has no locks,
    nobody knows who is alive, and all is left.
    """
    for note in output.rglob(NOTE):
        left = [*note.parent.glob(PARTS)]
        if not left:
            continue
        with suppress(OSError), note.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for part in left:
                remove_if_left(part)


def _parsed(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def _refusal(folder: Path, before: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    whose = "files that silentmix knows nothing of"
    if before:
        changed = before.get("file") == told["file"]
        whose = f"stems of {before.get('file')}"
        whose += ", which changed since, or was separated otherwise" if changed else ""
    return f"{folder} holds {whose}; --overwrite replaces them, or name another --output"
