"""Which detectors and models a workspace holds, and what is written of them.

Each is a folder: safetensors weights beside a JSON description. The description is written last, so
a folder without one is unfinished and is not used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.inputs.given_names import DEFAULT, given_names
from storage.damage import damaged
from storage.errors import UserError
from storage.tables.manifests import Manifests, Partition
from storage.tables.runs import maker
from storage.tables.schemas import HEARD, REMIXES, RUNS
from storage.weights import save_tensors
from storage.workspace import Workspace

MADE_BY = {"models": "train", "detectors": "fit-detector"}
"""The stage that makes each kind."""

WEIGHTS = "weights.safetensors"
DESCRIPTION = "config.json"
WEIGHTS_SHA256 = "weights_sha256"
"""What a description calls the hash of the weights' file; 0.1.0 noted none."""

CHECKPOINT = "checkpoint.safetensors"
FORGOTTEN = "forgotten.json"
STANDS_ON = "stands_on.json"
"""How a detector scores the songs that its thresholds stand on."""
MOST_CORPORA = 2
"""Named of those that a model heard remixes of."""

UNFINISHED = "unfinished.json"
"""What a training says of itself, from before its first step until its model is there."""


def finished(workspace: Workspace, kind: str, name: str) -> bool:
    """Whether ``detectors/<name>`` or ``models/<name>`` is complete."""
    is_name = "/" not in name and name not in ("", ".", "..")
    return is_name and workspace.exists(f"{kind}/{name}/{DESCRIPTION}")


def names(workspace: Workspace, kind: str) -> list[str]:
    """Every complete detector (``kind="detectors"``) or model (``kind="models"``), sorted."""
    return [name for name in workspace.folders(kind) if finished(workspace, kind, name)]


def is_heard_known(manifests: Manifests, kind: str, name: str) -> bool:
    """Whether what a detector or model heard is on record, if it was trained in this workspace."""
    trained = str(describe(manifests.workspace, kind, name).get("of", name))
    if trained not in {run.fingerprint for run in manifests.partitions(RUNS.name)}:
        return True
    records = manifests.partitions(HEARD.name)
    return any(record.fingerprint == name and manifests.parts(record) for record in records)


def describe(workspace: Workspace, kind: str, name: str) -> dict[str, Any]:
    """The description of a detector or model.

    Raises:
        UserError: there is none of that name; the message lists those there are.
        DamagedError: it can't be read.
    """
    if not finished(workspace, kind, name):
        known = ", ".join(names(workspace, kind)) or "none yet"
        publish = ""
        if workspace.exists(f"{kind}/{name}/{UNFINISHED}"):
            command = workspace.command(f"publish {name}")
            publish = f"; {command} makes one of its best weights so far"
        raise UserError(
            f"{workspace.location}: no finished {kind[:-1]} {name!r}; there are {known}{publish}"
        )
    described = _mapping(workspace, f"{kind}/{name}/{DESCRIPTION}")
    for key, of in {"training": dict, "made_from": dict, "of": str}.items():
        if not isinstance(described.get(key, of()), of):
            url = workspace.url(f"{kind}/{name}/{DESCRIPTION}")
            raise damaged(url, f"its {key} is none")
    return described


def described_with(workspace: Workspace, model: str, key: str) -> dict[str, Any]:
    """A model's description, with a part that each has.

    Raises:
        DamagedError: this one has none.
    """
    described = describe(workspace, "models", model)
    if key not in described:
        raise damaged(workspace.url(f"models/{model}/{DESCRIPTION}"), f"it has no {key}")
    return described


def _mapping(workspace: Workspace, path: str) -> dict[str, Any]:
    content: object = workspace.read_json(path)
    if not isinstance(content, dict):
        raise damaged(workspace.url(path), "no object of JSON")
    return content


def store_weights(
    workspace: Workspace,
    kind: str,
    name: str,
    weights: Mapping[str, np.ndarray],
    description: Mapping[str, Any],
) -> None:
    """Write the weights, then the description that makes them count, with their hash."""
    sha256 = save_tensors(workspace, f"{kind}/{name}/{WEIGHTS}", weights)
    told = {**description, WEIGHTS_SHA256: sha256}
    workspace.put_json(f"{kind}/{name}/{DESCRIPTION}", told)


def began_with(workspace: Workspace, model: str) -> list[str]:
    """The models of the workspace that a model began with, the last one first, as far as known."""
    found: list[str] = []
    while finished(workspace, "models", model):
        model = describe(workspace, "models", model).get("init_from", {}).get("model", "")
        if not model or model in found:
            break
        if finished(workspace, "models", model):
            found.append(model)
    return found


def unfinished(workspace: Workspace) -> Iterator[tuple[str, dict[str, Any]]]:
    """The trainings of models that are not over, and how far each is."""
    for name in workspace.folders("models"):
        progress = progress_of(workspace, name)
        if progress is not None:
            yield name, progress


def progress_of(workspace: Workspace, model: str) -> dict[str, Any] | None:
    """How far the training of a model is; None where none is under way."""
    try:
        return _mapping(workspace, f"models/{model}/{UNFINISHED}")
    except FileNotFoundError:  # there was none, or another run has just finished it
        return None


def forgotten(workspace: Workspace, kind: str, name: str) -> list[str]:
    """The tracks and songs that a detector or model heard, and that were forgotten since."""
    path = f"{kind}/{name}/{FORGOTTEN}"
    found: list[str] = workspace.read_json(path)["track_ids"] if workspace.exists(path) else []
    return found


def trainer_state(metadata: dict[str, object]) -> dict[str, Any]:
    """A trainer's own state, from the metadata of its checkpoint."""
    state = metadata["trainer"]
    assert isinstance(state, dict)
    return state


def is_folder(name: str) -> bool:
    """Whether a model's name means a folder, not a model of the workspace."""
    described = Path(name).expanduser() / DESCRIPTION
    there = os.path.isfile(described)  # noqa: PTH113  Path.is_file fails where a name is too long
    return bool(name) and ("/" in name or os.sep in name or there)


def resolve(workspace: Workspace, kind: str, name: str) -> str:
    """The detector or model meant by ``name``: an id, or a name that somebody gave it.

    Empty means the only one there is, or the one that was named ``default``; of several detectors
    without such a one, the newest.

    Raises:
        UserError: none of that name, or several models to choose from.
    """
    given = given_names(workspace, kind)
    if name:
        found = given.get(name, name)
        describe(workspace, kind, found)
        return found
    known = names(workspace, kind)
    if len(known) == 1:
        return known[0]
    what = kind[:-1]
    if not known:
        raise UserError(
            f"{workspace.location}: no {what} yet; run {workspace.command(MADE_BY[kind])} first"
        )
    if given.get(DEFAULT) in known:
        return given[DEFAULT]
    if kind == "detectors":
        return _newest(workspace, known)
    raise UserError(
        f"{workspace.location}: several {kind}; name one with --{what}: "
        f"{', '.join([*given, *known])} (or once for all: "
        f"{workspace.command(f'{kind} name ID {DEFAULT}')})"
    )


def _newest(workspace: Workspace, known: Sequence[str]) -> str:
    """The one that was made last, as far as the runs tell; else the last of the list."""
    manifests = Manifests(workspace)
    made = {name: found.started_at for name in known if (found := maker(manifests, name))}
    return max(made, key=lambda name: made[name], default=known[-1])


def trained_on(training: Mapping[str, Any]) -> str:
    """What a model was trained on, in words; ``training`` is its description's, or its parameters.

    >>> trained_on({"weak_share": 0.25}), trained_on({"weak_share": 0.0})
    ('25% remixes', 'labelled songs alone')
    >>> trained_on({})
    'nobody knows what'
    """
    if learns_from_mixtures(training):
        return "mixtures alone"
    share = training.get("weak_share")
    if not isinstance(share, int | float):
        return "nobody knows what"
    return f"{share:.0%} remixes" if share else "labelled songs alone"


def trained_on_apart(trainings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What each of several models was trained on, in words.

    Where those would be the same of models that heard remixes of different corpora, they name them.

    Args:
        trainings: as for :func:`trained_on`, with the ``corpora`` of the remixes.

    >>> half = {"weak_share": 0.5}
    >>> trained_on_apart({"a": {**half, "corpora": ["x"]}, "b": {**half, "corpora": ["y", "z"]}})
    {'a': '50% remixes of x', 'b': '50% remixes of y, z'}
    >>> trained_on_apart({"a": {**half, "corpora": ["x"]}, "b": {"weak_share": 0.0}})
    {'a': '50% remixes', 'b': 'labelled songs alone'}
    """
    said = {name: trained_on(training) for name, training in trainings.items()}
    heard: dict[str, set[tuple[str, ...]]] = {}
    for name, words in said.items():
        heard.setdefault(words, set()).add(tuple(trainings[name].get("corpora", ())))
    return {
        name: f"{words} of {_first(corpora)}"
        if len(heard[words]) > 1 and (corpora := trainings[name].get("corpora", ()))
        else words
        for name, words in said.items()
    }


def _first(corpora: Sequence[str]) -> str:
    more = len(corpora) - MOST_CORPORA
    return ", ".join(corpora[:MOST_CORPORA]) + (f" and {more} more" if more > 0 else "")


def training_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """A model's training as its description tells it, with the ``corpora`` of its remixes."""
    made_from = (Partition(*name.split("/")) for name in description.get("made_from", {}))
    corpora = sorted({found.corpus for found in made_from if found.table == REMIXES.name})
    return {**description.get("training", {}), "corpora": corpora}


def learns_from_mixtures(training: Mapping[str, Any]) -> bool:
    """Whether a training's model takes mixtures apart, and knows none of our sources."""
    return bool(training.get("objective") == "mixit")
