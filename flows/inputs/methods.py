"""The methods that a comparison compares: models of the workspace, and published results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from demucs_core.metrics.medians import median_sdr
from flows.inputs import networks, registry
from flows.inputs.given_names import given_names
from flows.inputs.songs import Song
from storage.errors import UserError
from storage.finding.listing import DiscoveryError, reaching
from storage.museval_folder import SUBSET, MusevalFolderError, read_results, run_folders
from storage.museval_json import METRICS
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

BSS_COLUMNS = {name: f"{name.lower()}_db" for name in METRICS}
SONG_SDR = "song_sdr_db"
COLUMNS = (*BSS_COLUMNS.values(), SONG_SDR)

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True, kw_only=True)
class Method:
    """What separated the test songs, and how well.

    Attributes:
        name: unique among the methods compared.
        label: what a person calls it.
        sources: of the workspace, in order.
        scores: a song's ``track_id``, a source and a column of ``evaluations`` to dB; of several
            runs, their mean.
        evaluations: where the scores lie, or None for published results.
        runs: the scores of each run, where there are several (seeds); else empty.
    """

    name: str
    label: str
    sources: tuple[str, ...]
    scores: Scores
    evaluations: Partition | None = None
    runs: tuple[Scores, ...] = ()

    def matrix(self, songs: Sequence[Song], column: str = "sdr_db") -> NDArray[np.float64]:
        """A column of the scores, ``(N, S)`` in dB; NaN where there is none."""
        return self._matrix(self.scores, songs, column)

    def medians(self, songs: Sequence[Song]) -> NDArray[np.float64]:
        """The row a paper prints, ``(S + 1,)`` in dB; of several runs, the mean of theirs."""
        runs = self.runs or (self.scores,)
        rows = [median_sdr(self._matrix(run, songs, "sdr_db")) for run in runs]
        return np.asarray(np.mean(rows, axis=0), dtype=np.float64)

    def _matrix(self, scores: Scores, songs: Sequence[Song], column: str) -> NDArray[np.float64]:
        nothing: Mapping[str, float] = {}
        rows = [
            [
                scores.get(song.track_id, {}).get(source, nothing).get(column, np.nan)
                for source in self.sources
            ]
            for song in songs
        ]
        return np.array(rows, dtype=np.float64).reshape(len(songs), len(self.sources))


def choose_models(
    workspace: Workspace, wanted: Sequence[str], allow_import: Sequence[str] = ()
) -> list[str]:
    """The models to evaluate: those named, each once, or else all that are finished.

    Raises:
        UserError: one of them is unknown, made for other music or of a class that may not be
            imported, or there is none at all.
    """
    asked = (registry.resolve(workspace, "models", model) for model in wanted)
    models = list(dict.fromkeys(asked)) or [
        model
        for model in registry.names(workspace, "models")
        if not registry.learns_from_mixtures(_training(workspace, model))
    ]
    if not models:
        train = workspace.command("train")
        raise UserError(f"{workspace.location}: no model yet; run {train} first")
    for model in models:
        networks.require_own_model(workspace, model, allow_import)
    return models


def is_labelled_only(workspace: Workspace, model: str) -> bool:
    """Whether a model was trained on labelled songs alone."""
    training = _training(workspace, model)
    return training.get("weak_share") == 0 and not registry.learns_from_mixtures(training)


def model_labels(workspace: Workspace, models: Sequence[str]) -> dict[str, str]:
    """What people call models that stand beside each other.

    That is the name that one was given, or else its id, and what it was trained on.
    """
    trainings = {
        model: registry.training_of(registry.describe(workspace, "models", model))
        for model in models
    }
    heard = registry.trained_on_apart(trainings)
    given = {known: name for name, known in given_names(workspace, "models").items()}
    return {
        model: given.get(model, model) + (f" ({heard[model]})" if "weak_share" in training else "")
        for model, training in trainings.items()
    }


def id_label(workspace: Workspace, model: str) -> str:
    """A model's id with what it was trained on."""
    training = _training(workspace, model)
    return f"{model} ({registry.trained_on(training)})" if "weak_share" in training else model


def _training(workspace: Workspace, model: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = registry.describe(workspace, "models", model).get("training", {})
    return found


def evaluated_model(
    manifests: Manifests, evaluations: Partition, model: str, label: str = ""
) -> Method:
    """A model with the scores it has in ``evaluations``; without a label, called by its id."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in manifests.rows(evaluations, ["track_id", "source", *COLUMNS]):
        song = scores.setdefault(row["track_id"], {})
        song[row["source"]] = {column: row[column] for column in COLUMNS}
    return Method(
        name=model,
        label=label or id_label(manifests.workspace, model),
        sources=manifests.workspace.music.sources,
        scores=scores,
        evaluations=evaluations,
    )


def published_methods(
    folders: Sequence[str], songs: Sequence[Song], taken: Iterable[str]
) -> list[Method]:
    """Published results, each with those of the songs that it has.

    Args:
        folders: of museval JSON, or their URLs. A pattern (``results/demucs-seed*``) names the runs
            of one method, which has those of the songs that all of its runs have.
        songs: the test songs; matched by their names.
        taken: names of the models they will stand beside.

    Raises:
        UserError: a folder is missing or no museval results, or a method has none of the songs.
    """
    names = {song.name: song.track_id for song in songs}
    used = set(taken)
    methods = []
    for folder in dict.fromkeys(folders):
        try:
            with reaching(folder):
                runs = [_read_run(run, names) for run in run_folders(folder)]
        except (MusevalFolderError, DiscoveryError) as error:
            raise UserError(f"published: {error}") from error
        if not set.intersection(*map(set, runs)):
            raise UserError(
                f"published {folder!r}: has none of the {len(songs)} test songs (such as "
                f"{songs[0].name!r}){' in every run' if len(runs) > 1 else ''}; results are "
                "matched by file name, <song>.json"
            )
        name = _base_name(folder)
        if name in used:
            name = folder
        used.add(name)
        several = len(runs) > 1
        methods.append(
            Method(
                name=name,
                label=f"{name} (published, mean of {len(runs)} runs)"
                if several
                else f"{name} (published)",
                sources=songs[0].sources,
                scores=_mean(runs),
                runs=tuple(runs) if several else (),
            )
        )
    return methods


def _read_run(folder: str, names: Mapping[str, str]) -> Scores:
    """One run's scores, by ``track_id``, of songs that are given by name."""
    return {
        names[song]: {
            source: {BSS_COLUMNS[metric]: value for metric, value in metrics.items()}
            for source, metrics in by_source.items()
        }
        for song, by_source in read_results(folder, names).items()
    }


def _mean(runs: Sequence[Scores]) -> Scores:
    """The mean of several runs, for each song and source that all of them have."""
    if len(runs) == 1:
        return runs[0]
    first, others = runs[0], runs[1:]
    return {
        song: {
            source: {
                column: float(np.mean([run[song][source][column] for run in runs]))
                for column in first[song][source]
            }
            for source in first[song]
            if all(source in run[song] for run in others)
        }
        for song in first
        if all(song in run for run in others)
    }


def choose_reference(
    workspace: Workspace, models: Sequence[str], published: Sequence[str], wanted: str
) -> str:
    """The method that the others are compared to, by name.

    That is the one wanted; else the model trained on labelled songs alone, if there is one such;
    else the first model.

    Raises:
        UserError: the one wanted is neither among the models nor the published results.
    """
    if wanted:
        wanted = given_names(workspace, "models").get(wanted, wanted)
        if wanted not in (*models, *published):
            raise UserError(
                f"compare_to {wanted!r}: is not among the methods compared, which are "
                f"{', '.join((*models, *published))}"
            )
        return wanted
    plain = [model for model in models if is_labelled_only(workspace, model)]
    return plain[0] if len(plain) == 1 else models[0]


def songs_in_common(methods: Sequence[Method], songs: Sequence[Song]) -> list[Song]:
    """The songs that every method has scores for."""
    return [song for song in songs if all(song.track_id in method.scores for method in methods)]


def _base_name(folder: str) -> str:
    """What to call a folder of results, where ``test`` and ``*`` say nothing."""
    path = unquote(urlsplit(folder).path) if "://" in folder else folder
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", ".", "..")]
    while len(parts) > 1 and (parts[-1] == SUBSET or not parts[-1].strip("*?")):
        parts.pop()
    return parts[-1] if parts else folder
