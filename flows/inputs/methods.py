"""The methods that a comparison compares: models of the workspace, and published results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from flows.inputs import networks, registry
from flows.inputs.given_names import given_names
from flows.inputs.songs import Song
from storage.errors import UserError
from storage.manifests import Manifests, Partition
from storage.museval_folder import SUBSET, MusevalFolderError, read_results
from storage.museval_json import METRICS
from storage.workspace import Workspace

BSS_COLUMNS = {name: f"{name.lower()}_db" for name in METRICS}
SONG_SDR = "song_sdr_db"
COLUMNS = (*BSS_COLUMNS.values(), SONG_SDR)


@dataclass(frozen=True, kw_only=True)
class Method:
    """What separated the test songs, and how well.

    Attributes:
        name: unique among the methods compared.
        label: what a person calls it.
        sources: of the workspace, in order.
        scores: a song's ``track_id``, a source and a column of ``evaluations`` to dB.
        evaluations: where the scores lie, or None for published results.
    """

    name: str
    label: str
    sources: tuple[str, ...]
    scores: Mapping[str, Mapping[str, Mapping[str, float]]]
    evaluations: Partition | None = None

    def matrix(self, songs: Sequence[Song], column: str = "sdr_db") -> NDArray[np.float64]:
        """A column of the scores, ``(N, S)`` in dB; NaN where there is none."""
        nothing: Mapping[str, float] = {}
        rows = [
            [
                self.scores.get(song.track_id, {}).get(source, nothing).get(column, np.nan)
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
    models = list(dict.fromkeys(asked)) or registry.names(workspace, "models")
    if not models:
        raise UserError(f"{workspace.location}: no model yet; run `silentmix train` first")
    for model in models:
        networks.require_own_model(workspace, model, allow_import)
    return models


def is_labelled_only(workspace: Workspace, model: str) -> bool:
    """Whether a model was trained on labelled songs alone."""
    training = registry.describe(workspace, "models", model).get("training", {})
    return bool(training.get("weak_share") == 0)


def model_label(workspace: Workspace, model: str) -> str:
    """A model's name with what it was trained on."""
    training = registry.describe(workspace, "models", model).get("training", {})
    share = training.get("weak_share")
    return model if share is None else f"{model} ({registry.trained_on(share)})"


def evaluated_model(manifests: Manifests, evaluations: Partition, model: str) -> Method:
    """A model with the scores it has in ``evaluations``."""
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in manifests.rows(evaluations, ["track_id", "source", *COLUMNS]):
        song = scores.setdefault(row["track_id"], {})
        song[row["source"]] = {column: row[column] for column in COLUMNS}
    label = model_label(manifests.workspace, model)
    return Method(
        name=model,
        label=label,
        sources=manifests.workspace.music.sources,
        scores=scores,
        evaluations=evaluations,
    )


def published_methods(
    folders: Sequence[str], songs: Sequence[Song], taken: Iterable[str]
) -> list[Method]:
    """Published results, each with those of the songs that it has.

    Args:
        folders: of museval JSON, or their URLs.
        songs: the test songs; matched by their names.
        taken: names of the models they will stand beside.

    Raises:
        UserError: a folder is missing or no museval results, or has none of the songs.
    """
    names = {song.name: song.track_id for song in songs}
    used = set(taken)
    methods = []
    for folder in dict.fromkeys(folders):
        try:
            found = read_results(folder, names)
        except MusevalFolderError as error:
            raise UserError(f"published: {error}") from error
        except (ValueError, OSError) as error:
            raise UserError(f"published {folder!r}: {error}") from error
        if not found:
            raise UserError(
                f"published {folder!r}: has none of the {len(songs)} test songs (such as "
                f"{songs[0].name!r}); results are matched by file name, <song>.json"
            )
        name = _base_name(folder)
        if name in used:
            name = folder
        used.add(name)
        scores = {
            names[song]: {
                source: {BSS_COLUMNS[metric]: value for metric, value in metrics.items()}
                for source, metrics in by_source.items()
            }
            for song, by_source in found.items()
        }
        methods.append(
            Method(
                name=name,
                label=f"{name} (published)",
                sources=songs[0].sources,
                scores=scores,
            )
        )
    return methods


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
    """What to call a folder of results, where ``test`` says nothing."""
    path = unquote(urlsplit(folder).path) if "://" in folder else folder
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", ".", "..")]
    if len(parts) > 1 and parts[-1] == SUBSET:
        parts.pop()
    return parts[-1] if parts else folder
