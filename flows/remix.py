"""Stage 5: recipes that add labelled stems where segments are silent → ``remixes``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from prefect import flow
from pydantic import Field

from demucs_core import SAMPLE_RATE, SOURCES
from demucs_core.examples import AddedStem, Augmentation, Remix, weak_example
from demucs_core.remixing import (
    LabelledSong,
    Recipe,
    RemixConfig,
    SilentSegment,
    StemPool,
    draw_recipes,
)
from flows.artifacts import PLAYER_S
from flows.execution import dask_client, run_batches
from flows.labelled import Song, load_activity, load_songs, require_songs
from flows.parameters import CorpusName, Options, StageParameters
from flows.progress import progress
from flows.stage import StageResult, StageRun, stage_run
from storage.fingerprint import fingerprint
from storage.manifests import Manifests, Partition, RowGroup
from storage.reading import CropReader
from storage.workspace import Workspace

STAGE, VERSION = "remix", 1
PLAYERS = 6
PLAIN = Augmentation(gain_min=1.0, gain_max=1.0, swap_channels=False, flip_sign=False)
_defaults = RemixConfig()


class RemixOptions(Options):
    """How recipes are drawn."""

    remixes_per_segment: int = Field(4, ge=1, le=1000, description="Recipes drawn a segment.")
    max_stem_s: float = Field(
        _defaults.max_stem_s, gt=0, description="Longest stem excerpt in seconds."
    )
    min_active_share: float = Field(
        _defaults.min_active_share,
        ge=0,
        le=1,
        description="Least share of an excerpt in which its stem sounds, where there is such.",
    )
    empty_share: float = Field(
        _defaults.empty_share,
        ge=0,
        le=1,
        description="How often a segment with one source left gets no stem: a pure stem.",
    )
    max_gain_db: float = Field(
        _defaults.max_gain_db, gt=0, description="Largest change of a stem's level in dB."
    )
    min_segment_s: float = Field(
        _defaults.min_segment_s,
        ge=0,
        description="Shorter segments are left out; training without masks needs the crop's "
        "length here.",
    )
    one_source: bool = Field(
        _defaults.one_source,
        description="Use one silent source of a segment alone, as the paper does: what else is "
        "silent in it counts as part of the others' sum.",
    )
    seed: int = Field(0, ge=0, description="Decides what is drawn.")


class RemixParameters(RemixOptions, StageParameters):
    """Whose segments to remix, with whose stems."""

    corpus: CorpusName = Field("music", description="Corpus whose segments are remixed.")
    labelled: str = Field("labelled", description="Corpus of labelled songs the stems come from.")
    segments: str = Field(
        "", description="Fingerprint of the segments; empty takes the last that were extracted."
    )


@dataclass(frozen=True)
class RemixBatch:
    """A row group of segments that one Dask task draws recipes for."""

    workspace: Workspace
    target: Partition
    stems: Partition
    row_group: RowGroup
    config: RemixConfig
    remixes_per_segment: int
    seed: int


@flow(name="remix", flow_run_name="remix {parameters.corpus}")
def remix(parameters: RemixParameters) -> StageResult:
    """Draw recipes for every segment of a corpus."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    segments = manifests.latest("segments", parameters.corpus, parameters.segments or None)
    stems = manifests.latest("stems", parameters.labelled)
    require_songs(load_songs(manifests, stems, "train"), stems.corpus, "train", "remixing")
    content = {**parameters.content(), "segments": segments.fingerprint}
    # the digest knows which songs, the fingerprint their split and what counts as silent in them
    made_from = f"{stems.fingerprint}/{manifests.digest(stems)}"
    name = fingerprint(STAGE, VERSION, stems=made_from, **content)
    config = RemixConfig(
        **{field.name: getattr(parameters, field.name) for field in fields(RemixConfig)}
    )
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        target = run.partition("remixes")
        done = manifests.items(target)
        batches = [
            RemixBatch(
                workspace, target, stems, group, config, parameters.remixes_per_segment,
                parameters.seed,
            )
            for group in manifests.row_groups(segments)
            if {row["segment_id"] for row in manifests.read_row_group(group, ["segment_id"])} - done
        ]  # fmt: skip
        run.already_done = not batches
        if batches:
            with dask_client(parameters) as client, progress(STAGE, len(batches)) as bar:
                for counts in run_batches(client, remix_batch, batches, bar):
                    run.count(**counts)
            _report(run, target)
        run.counts["remixes"] = manifests.count(target)
        return run.result()


@lru_cache(maxsize=1)
def _stem_pool(workspace: Workspace, stems: Partition) -> tuple[StemPool, dict[str, Song]]:
    """The stems to draw from; kept, since a worker draws for many batches."""
    manifests = Manifests(workspace)
    songs = load_songs(manifests, stems, "train")
    activity = load_activity(
        manifests, Partition("activity", stems.corpus, stems.fingerprint), "train"
    )
    pool = StemPool(
        [
            LabelledSong(
                track_id=song.track_id,
                num_samples=song.num_samples,
                active=activity[song.track_id].active,
                level_db=activity[song.track_id].level_db,
            )
            for song in songs
        ],
        SOURCES,
    )
    return pool, {song.track_id: song for song in songs}


def remix_batch(batch: RemixBatch) -> dict[str, float]:
    """Draw recipes for one row group of segments, and write its part of ``remixes``."""
    manifests = Manifests(batch.workspace)
    pool, songs = _stem_pool(batch.workspace, batch.stems)
    done = manifests.items(batch.target)
    segments = [
        row for row in manifests.read_row_group(batch.row_group) if row["segment_id"] not in done
    ]
    recipes = draw_recipes(
        [
            SilentSegment(
                segment_id=row["segment_id"],
                num_samples=row["stop_sample"] - row["start_sample"],
                silent=tuple(row["silent_sources"]),
                level_db=row["level_db"],
            )
            for row in segments
        ],
        pool,
        remixes_per_segment=batch.remixes_per_segment,
        seed=batch.seed,
        config=batch.config,
    )
    by_id = {row["segment_id"]: row for row in segments}
    rows = [remix_row(by_id[recipe.segment_id], recipe, songs) for recipe in recipes]
    manifests.write(batch.target, list(by_id), rows)
    return {"segments": len(segments)}


def remix_row(segment: dict[str, Any], recipe: Recipe, songs: dict[str, Song]) -> dict[str, Any]:
    """A recipe as its row in ``remixes``."""
    copied = (
        "segment_id", "track_id", "path", "track_num_samples", "start_sample", "stop_sample",
    )  # fmt: skip
    return {
        **{name: segment[name] for name in copied},
        "remix_id": f"{recipe.segment_id}-{recipe.index}",
        "silent_sources": list(recipe.silent),
        "weight": 1.0,
        "added": [
            {
                "source": stem.source,
                "track_id": stem.stem_track_id,
                "path": songs[stem.stem_track_id].paths[stem.source],
                "track_num_samples": songs[stem.stem_track_id].num_samples,
                "start_sample": stem.stem_start_sample,
                "num_samples": stem.stem_num_samples,
                "gain_db": stem.gain_db,
            }
            for stem in recipe.added
        ],
    }


def _report(run: StageRun, remixes: Partition) -> None:
    """Let a person hear the first remixes, as training will."""
    reader = CropReader(run.workspace.location)
    for number, recipe in enumerate(load_recipes(run.manifests, remixes)):
        if number == PLAYERS:
            break
        example = weak_example(
            np.random.default_rng(number),
            recipe,
            reader,
            num_sources=len(SOURCES),
            crop_samples=round(PLAYER_S * SAMPLE_RATE),
            augmentation=PLAIN,
        )
        added = ", ".join(SOURCES[stem.source] for stem in recipe.added) or "nothing"
        run.report.player(
            recipe.remix_id,
            example.mixture.numpy(),
            SAMPLE_RATE,
            f"{recipe.remix_id}: **{added}** added",
        )
    run.report.publish(f"Remixes of {remixes.corpus}")


def load_recipes(manifests: Manifests, remixes: Partition) -> Iterator[Remix]:
    """The recipes of a partition as training wants them."""
    index = {source: position for position, source in enumerate(SOURCES)}
    for row in manifests.rows(remixes):
        yield Remix(
            remix_id=row["remix_id"],
            track_path=row["path"],
            track_num_samples=row["track_num_samples"],
            segment_start_sample=row["start_sample"],
            segment_stop_sample=row["stop_sample"],
            silent=tuple(index[source] for source in row["silent_sources"]),
            added=tuple(
                AddedStem(
                    source=index[stem["source"]],
                    path=stem["path"],
                    num_samples=stem["track_num_samples"],
                    start_sample=stem["start_sample"],
                    gain_db=stem["gain_db"],
                )
                for stem in row["added"]
            ),
            weight=row["weight"],
        )
