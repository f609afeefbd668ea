"""Labelled songs and remixes → folders of stems that other trainers read, with their lineage."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from flows.export.options import ExportDataParameters, Layout
from flows.export.pieces import Piece, Wanted
from flows.inputs.recipes import load_recipes
from flows.inputs.songs import Song, learning_corpora, load_songs, songs_once
from flows.reports.csv_text import cells
from flows.running.whole_folder import require_new, whole_folder
from storage.encode import writing
from storage.errors import UserError
from storage.music_format import MIXTURE
from storage.reading import CropReader
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

BLOCK_S = 20
BITS = 32
"""Floating point, so that no remix is clipped."""
LINEAGE, ORIGIN = "lineage.csv", "silentmix.json"
COLUMNS = ("file", "kind", "id", "audio", "start_sample", "num_samples", "gain_db")


def export_data(parameters: ExportDataParameters, tell: Callable[[str], None]) -> Path:
    """Write the folder, and return it.

    It holds ``train/``; ``valid/`` with mixtures, where the set holds songs out; and the lineage:
    of each file, what it was made of.

    Args:
        parameters: what to write.
        tell: told in a line what was written.

    Raises:
        UserError: the folder exists, there is no such source, target and rest are called alike, or
            nothing is known as wanted.
    """
    output = Path(parameters.output).expanduser()
    require_new(output)
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    sources = workspace.music.sources
    if parameters.target and parameters.target not in sources:
        raise UserError(
            f"target: there is no {parameters.target!r}; there are {', '.join(sources)}"
        )
    if parameters.target == parameters.rest:
        raise UserError(
            f"rest: {parameters.rest!r} is the target; call the rest no_{parameters.rest}, say"
        )
    stems = learning_corpora(manifests, parameters.labelled, parameters.libraries)
    remixes = [manifests.latest("remixes", corpus) for corpus in parameters.corpora]
    wanted = Wanted(
        sources=sources,
        target=parameters.target,
        rest=parameters.rest,
        whole=parameters.layout == "songs" or bool(parameters.target),
    )
    songs = songs_once(manifests, stems)
    held_out = load_songs(manifests, stems[0], "valid")
    train = [piece for song in songs if (piece := wanted.of_song(song, _name(song)))]
    recipes = chain.from_iterable(load_recipes(manifests, partition) for partition in remixes)
    train += wanted.of_recipes(recipes, parameters.max_remixes)
    if not train:
        raise UserError(
            f"corpora {', '.join([parameters.labelled, *parameters.corpora])}: nothing is known as "
            "wanted; name a target, or another layout"
        )
    whole = Wanted(sources=sources, target=parameters.target, rest=parameters.rest, whole=True)
    valid = [(song, piece) for song in held_out if (piece := whole.of_song(song, _name(song)))]
    with whole_folder(output) as folder, (folder / LINEAGE).open("w", newline="") as file:
        lineage = csv.writer(file)
        lineage.writerow(COLUMNS)
        writer = _Writer(workspace, folder, parameters.layout)
        for piece in train:
            lineage.writerows(map(cells, writer.write(piece)))
        for song, piece in valid:
            lineage.writerows(map(cells, writer.write_song(song, piece)))
        writer.close(output)
        origin = _origin(parameters, manifests, [*stems, *remixes])
        (folder / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", "utf-8")
    num_remixes = sum(piece.kind == "remix" for piece in train)
    tell(f"{len(train) - num_remixes} songs, {num_remixes} remixes, {len(valid)} to validate on")
    return output


def _name(song: Song) -> str:
    return f"{re.sub(r'[^0-9A-Za-z]+', '_', song.name).strip('_')}-{song.track_id[:8]}"


def _origin(
    parameters: ExportDataParameters, manifests: Manifests, partitions: Sequence[Partition]
) -> dict[str, object]:
    return {
        "parameters": parameters.model_dump(mode="json"),
        "music": manifests.workspace.music.to_json(),
        "made_from": {
            f"{each.table}/{each.corpus}/{each.fingerprint}": manifests.digest(each)
            for each in partitions
        },
    }


class _Writer:
    """Writes pieces in one of the layouts, and says of each file what it is made of."""

    def __init__(self, workspace: Workspace, folder: Path, layout: Layout) -> None:
        self._reader = CropReader(workspace.location)
        self._music = workspace.music
        self._folder, self._layout = folder, layout
        self._files: list[tuple[str, Path]] = []

    def write(self, piece: Piece) -> Iterator[list[object]]:
        """Write a piece to learn from; yields its lineage."""
        if self._layout == "songs":
            places = {stem: Path("train") / piece.name / stem for stem in piece.stems}
        else:
            places = {stem: Path("train") / stem / piece.name for stem in piece.stems}
        self._files += places.items()
        return self._write(piece, places)

    def write_song(self, song: Song, piece: Piece) -> Iterator[list[object]]:
        """Write a song to validate on, with its mixture; yields its lineage."""
        together = tuple(clip for clips in piece.stems.values() for clip in clips)
        whole = Piece(
            name=piece.name, kind="song", id=song.track_id, num_samples=piece.num_samples,
            stems={**piece.stems, MIXTURE: together},
        )  # fmt: skip
        places = {stem: Path("valid") / piece.name / stem for stem in whole.stems}
        return self._write(whole, places)

    def close(self, output: Path) -> None:
        """Write the list of files, where the layout has one."""
        if self._layout == "csv":
            with (self._folder / "train.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(("type", "path"))
                rows.writerows(
                    (stem, (output / place).resolve().with_name(f"{place.name}.wav"))
                    for stem, place in self._files
                )

    def _write(self, piece: Piece, places: dict[str, Path]) -> Iterator[list[object]]:
        for stem, place in places.items():
            with writing(
                self._folder / place.parent,
                [place.name],
                file_format="wav",
                bits=BITS,
                sample_rate=self._music.sample_rate,
                num_channels=self._music.num_channels,
                num_samples=piece.num_samples,
            ) as writer:
                for block in self._blocks(piece, stem):
                    writer.write(block[None])
            for clip in piece.stems[stem] or (None,):
                made_of = ["", "", ""] if clip is None else [
                    clip.path, clip.start_sample, clip.gain_db
                ]  # fmt: skip
                path, start, gain_db = made_of
                name = f"{place.as_posix()}.wav"
                yield [name, piece.kind, piece.id, path, start, piece.num_samples, gain_db]

    def _blocks(self, piece: Piece, stem: str) -> Iterator[np.ndarray]:
        length = BLOCK_S * self._music.sample_rate
        for first in range(0, piece.num_samples, length):
            num = min(length, piece.num_samples - first)
            yield piece.render(stem, self._reader, first, num, self._music.num_channels)
