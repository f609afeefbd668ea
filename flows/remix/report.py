"""What a person hears of remixes: the first ones, as training will."""

from __future__ import annotations

import itertools

import numpy as np

from demucs_core.training.crops import Augmentation
from demucs_core.training.rendering import render
from flows.inputs.recipes import load_recipes
from flows.reports.artifacts import PLAYER_S
from flows.reports.file_names import file_names
from flows.reports.markdown import plain
from flows.running.stage import StageRun
from storage.reading import CropReader
from storage.tables.manifests import Partition

PLAYERS = 6
PLAIN = Augmentation(gain_min=1.0, gain_max=1.0, swap_channels=False, flip_sign=False)


def report_remixes(run: StageRun, remixes: Partition, songs: dict[str, str]) -> None:
    """Put players of the first remixes into a run's report.

    Args:
        run: of the stage.
        remixes: what it made.
        songs: names of the labelled songs, by ``track_id``.
    """
    music = run.workspace.music
    reader = CropReader(run.workspace.location)
    rows = list(itertools.islice(run.manifests.rows(remixes), PLAYERS))
    recipes = itertools.islice(load_recipes(run.manifests, remixes), PLAYERS)
    tracks = file_names(run.manifests, run.corpus, {row["track_id"] for row in rows})
    for number, (row, recipe) in enumerate(zip(rows, recipes, strict=True)):
        rendered = render(
            np.random.default_rng(number),
            recipe,
            reader,
            num_sources=len(music.sources),
            crop_samples=round(PLAYER_S * music.sample_rate),
            augmentation=PLAIN,
        )
        added = " and ".join(
            f"**{stem['source']}** of {plain(songs[stem['track_id']])}" for stem in row["added"]
        )
        run.report.player(
            recipe.remix_id,
            rendered.mixture(),
            music.sample_rate,
            f"{plain(tracks[row['track_id']])} at {row['start_sample'] / music.sample_rate:.1f} s, "
            f"silent: {', '.join(row['silent_sources'])}; added: {added or 'nothing'}",
        )
