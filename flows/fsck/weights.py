"""Detectors and models can be loaded, and so can what their trainings would go on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from flows.fsck.finding import Finding
from flows.fsck.parts import makers
from flows.inputs import registry
from storage.damage import without_advice
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.schemas import HEARD
from storage.weights import load_tensors
from storage.workspace import Workspace


def check_registry(manifests: Manifests) -> Iterator[Finding]:
    """Every file in the folders of detectors and models."""
    workspace = manifests.workspace
    for kind, stage in registry.MADE_BY.items():
        for name in workspace.folders(kind):
            files = workspace.find(f"{kind}/{name}")
            known = {PurePosixPath(path).name for path in files}
            begun = {registry.CHECKPOINT, registry.UNFINISHED} & known
            if registry.DESCRIPTION in known:
                if problem := _not_loaded(workspace, kind, name):
                    yield _finding(f"{kind}/{name}", problem, stage, *files)
                yield from _lost_rows(manifests, kind, name)
                yield from _lost_heard(manifests, kind, name)
            elif files and not begun:
                yield Finding(
                    kind="orphan", what=f"{kind}/{name}", why=f"has no {registry.DESCRIPTION}, so "
                    "that nothing reads it", stages=(stage,), put_away=tuple(files),
                )  # fmt: skip
            for path in files:
                if problem := _unreadable(workspace, path):
                    yield _finding(path, problem, stage, path)


def _finding(what: str, problem: str, stage: str, *put_away: str) -> Finding:
    return Finding(
        kind="damaged_weights",
        what=what,
        why=without_advice(problem),
        made=what.split("/")[1],
        stages=(stage,),
        put_away=put_away,
    )


def _not_loaded(workspace: Workspace, kind: str, name: str) -> str:
    from flows.inputs import networks  # torch

    try:
        if kind == "detectors":
            networks.load_detector.__wrapped__(workspace, name, "cpu")
        else:
            described = registry.describe(workspace, kind, name).get("model", {})
            if ":" in str(described.get("architecture", "")):
                return ""  # a class of somebody's, which is not imported to look at it
            networks.load_model.__wrapped__(workspace, name, "cpu")
    except UserError as error:
        return str(error).replace(f"{workspace.location}/", "")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"its {registry.DESCRIPTION} describes nothing of ours ({error!r})"
    return ""


def _unreadable(workspace: Workspace, path: str) -> str:
    """What is wrong with a file that is not read by loading."""
    name = PurePosixPath(path).name
    try:
        if name.endswith(".safetensors") and name != registry.WEIGHTS:
            load_tensors(workspace, path)
        elif name.endswith(".json") and name != registry.DESCRIPTION:
            workspace.read_json(path)
    except UserError as error:
        return str(error).removeprefix(f"{workspace.url(path)}: ")
    return ""


def _lost_rows(manifests: Manifests, kind: str, name: str) -> Iterator[Finding]:
    """Partitions that a description names and that are gone."""
    try:
        told = registry.describe(manifests.workspace, kind, name).get("made_from", {})
        made_from = [f"stems/{told['stems']}"] if kind == "detectors" else list(told)
        partitions = [Partition(*place.split("/")) for place in made_from]
        gone = [each for each in partitions if each not in manifests.partitions(each.table)]
    except (UserError, KeyError, TypeError):
        return  # as was told of the description
    for each in gone:
        place = f"{each.table} {each.corpus}/{each.fingerprint}"
        yield Finding(
            kind="lost_reference", what=f"{kind}/{name}", corpus=each.corpus,
            why=f"was made from {place}, which is gone", stages=makers(each.table),
        )  # fmt: skip


def _lost_heard(manifests: Manifests, kind: str, name: str) -> Iterator[Finding]:
    """That nobody knows what it was trained on, so that it may be tested with that."""
    try:
        if registry.is_heard_known(manifests, kind, name):
            return
        published = "of" in registry.describe(manifests.workspace, kind, name)
    except UserError:
        return  # as was told of the description
    yield Finding(
        kind="lost_part", what=f"{kind}/{name}", made=name, tables=(HEARD.name,),
        why="what it heard is on no record" + (", so do not use it" if published else ""),
        stages=() if published else (registry.MADE_BY[kind],),
    )  # fmt: skip
