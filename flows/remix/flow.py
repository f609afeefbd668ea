"""Stage 5: recipes that add labelled stems where segments are silent → ``remixes``."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any
from uuid import uuid4

from prefect import flow

from demucs_core.remixing.matching import Fit, misfit
from demucs_core.remixing.recipes import DrawnRecipe, RemixConfig, SilentSegment, draw_recipes
from flows.inputs.selection import selected_tracks
from flows.inputs.songs import (
    Song,
    learning_corpora,
    load_learning_songs,
    load_songs,
    made_from_libraries,
)
from flows.remix.material import Material, read_once
from flows.remix.options import RemixParameters
from flows.remix.report import report_remixes
from flows.remix.tempos import Listening, find_tempos, require_librosa, tempos_of
from flows.running.chain import Chain
from flows.running.execution import dask_client, results_of
from flows.running.row_groups import GroupBatch, left_out_of, pending_groups, try_groups_again
from flows.running.stage import StageResult, as_told, stage_run
from storage.fingerprint import fingerprint
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

STAGE, VERSION = "remix", 2


@dataclass(frozen=True, kw_only=True)
class RemixBatch(GroupBatch):
    """A row group of segments that one Dask task draws recipes for, less those that have them."""

    stage, column = STAGE, "segment_id"
    material: Material
    segments: Partition
    config: RemixConfig
    remixes_per_segment: int
    seed: int

    @property
    def manifests(self) -> Manifests:
        """Those of its material's workspace."""
        return Manifests(self.material.workspace)


@flow(name="remix", flow_run_name="remix {parameters.corpus}")
@as_told
def remix(parameters: RemixParameters) -> StageResult:
    """Draw recipes for every segment of a corpus."""
    workspace = Workspace(parameters.workspace)
    manifests = Manifests(workspace)
    segments = manifests.latest("segments", parameters.corpus, parameters.segments or None)
    stems = learning_corpora(manifests, parameters.labelled, parameters.libraries)
    songs = load_learning_songs(manifests, stems, "remixing")
    tempos: tuple[Partition, ...] = ()
    if parameters.match != "none":
        require_librosa()
        names = (parameters.corpus, *(partition.corpus for partition in stems))
        tempos = tuple(tempos_of(workspace, name) for name in names)
    content = {
        **parameters.content(),
        "segments": segments.fingerprint,
        "tempos": tempos[0].fingerprint if tempos else None,
        **made_from_libraries(manifests, stems[1:]),
    }
    # the digest knows which songs, the fingerprint their split and what counts as silent in them
    made_from = f"{stems[0].fingerprint}/{manifests.digest(stems[0])}"
    name = fingerprint(STAGE, VERSION, stems=made_from, **content)
    config = RemixConfig(
        **{field.name: getattr(parameters, field.name) for field in fields(RemixConfig)}
    )
    with stage_run(
        STAGE, parameters, corpus=parameters.corpus, fingerprint=name, workspace=workspace
    ) as run:
        target = run.partition("remixes")
        chosen = selected_tracks(manifests, parameters.corpus, **parameters.selection)
        left_out = left_out_of(run, segments, chosen)
        pending = pending_groups(run, segments, target, "segment_id")
        material = Material(workspace, stems, tempos, run=uuid4().hex)
        batches = [
            RemixBatch(
                target=target, material=material, segments=segments, row_group=found.group,
                config=config, remixes_per_segment=parameters.remixes_per_segment,
                seed=parameters.seed, done=found.done,
                left_out=left_out.get(found.group, frozenset()),
            )
            for found in pending.groups
        ]  # fmt: skip
        run.plan("segments", pending.num_pending, pending.total, segments, *stems)
        try_groups_again(run, batches)
        if batches:
            with dask_client(parameters):  # one cluster for both
                if tempos:
                    for corpus, partition in zip(stems, tempos[1:], strict=True):
                        heard = _songs(load_songs(manifests, corpus, "train"))
                        find_tempos(parameters, manifests, partition, heard)
                    find_tempos(parameters, manifests, tempos[0], _tracks(manifests, segments))
                with results_of(
                    remix_batch, batches, parameters, label=STAGE, unit="batches"
                ) as results:
                    for counts in results:
                        run.count(**counts)
            report_remixes(run, target, {song.track_id: song.name for song in songs})
        run.counts["remixes"] = manifests.count(target)
    return run.result()


def in_chain(chain: Chain) -> list[RemixParameters]:
    """The run in the chain: of the segments that were extracted, or of the last ones."""
    return [
        RemixParameters(
            **chain.common,
            **chain.options(STAGE),
            corpus=chain.parameters.corpus,
            labelled=chain.parameters.labelled_corpus,
            libraries=chain.parameters.libraries,
            segments=chain.last_made("extract"),
        )
    ]


def ahead(chain: Chain) -> None:
    """Refuse libraries that are not there, and matching where it can't be."""
    chain.require_libraries()
    if chain.options(STAGE)["match"] != "none":
        require_librosa()


def _songs(songs: list[Song]) -> set[Listening]:
    return {Listening(song.track_id, song.heard_path, song.num_samples) for song in songs}


def _tracks(manifests: Manifests, segments: Partition) -> set[Listening]:
    """The tracks that have segments."""
    columns = ["track_id", "path", "track_num_samples"]
    return {
        Listening(row["track_id"], row["path"], row["track_num_samples"])
        for row in manifests.rows(segments, columns)
    }


def remix_batch(batch: RemixBatch) -> dict[str, float]:
    """Draw recipes for one row group of segments, and write its part of ``remixes``."""
    at_hand = read_once(batch.material)
    manifests = batch.manifests
    rows_of_group = manifests.read_row_group(batch.row_group)
    segments = [row for row in rows_of_group if row["segment_id"] not in batch.done]
    recipes = draw_recipes(
        [
            SilentSegment(
                segment_id=row["segment_id"],
                num_samples=row["stop_sample"] - row["start_sample"],
                silent=tuple(row["silent_sources"]),
                level_db=row["level_db"],
                tempo_key=at_hand.tempo_keys.get(row["track_id"]),
            )
            for row in segments
            if row["track_id"] not in batch.left_out
        ],
        at_hand.pool,
        remixes_per_segment=batch.remixes_per_segment,
        seed=batch.seed,
        config=batch.config,
    )
    by_id = {row["segment_id"]: row for row in segments}
    rows = [
        remix_row(by_id[recipe.segment_id], recipe, at_hand.songs, batch.segments.fingerprint)
        for recipe in recipes
    ]
    manifests.write(batch.target, list(by_id), rows)
    counts: dict[str, float] = {"segments": len(segments)}
    if batch.material.tempos:
        counts |= _how_they_fit(recipes, batch.config)
    return counts


def _how_they_fit(recipes: list[DrawnRecipe], config: RemixConfig) -> dict[str, int]:
    """How many stems fit, are merely the nearest there is, and were not matched at all."""
    fits = [stem.fit for recipe in recipes for stem in recipe.added]
    looked_at = [fit for fit in fits if fit != Fit()]
    fitting = sum(
        not misfit(fit, config.max_tempo_change, config.max_key_steps) for fit in looked_at
    )
    return {
        "fitting_stems": fitting,
        "nearest_stems": len(looked_at) - fitting,
        "unmatched_stems": len(fits) - len(looked_at),
    }


def remix_row(
    segment: dict[str, Any], recipe: DrawnRecipe, songs: dict[str, Song], segments_fingerprint: str
) -> dict[str, Any]:
    """A recipe as its row in ``remixes``."""
    copied = (
        "segment_id", "track_id", "path", "track_num_samples", "start_sample", "stop_sample",
    )  # fmt: skip
    return {
        **{name: segment[name] for name in copied},
        "remix_id": f"{recipe.segment_id}-{recipe.index}",
        "silent_sources": list(recipe.silent),
        "confidence": math.prod(
            probability
            for source, probability in zip(
                segment["silent_sources"], segment["mean_probability"], strict=True
            )
            if source in recipe.silent
        ),
        "segments_fingerprint": segments_fingerprint,
        "model_id": "",
        "added": [
            {
                "source": stem.source,
                "track_id": stem.stem_track_id,
                "path": songs[stem.stem_track_id].paths[stem.source],
                "track_num_samples": songs[stem.stem_track_id].num_samples,
                "start_sample": stem.stem_start_sample,
                "num_samples": stem.stem_num_samples,
                "gain_db": stem.gain_db,
                "tempo_ratio": stem.fit.tempo_ratio,
                "key_steps": stem.fit.key_steps,
            }
            for stem in recipe.added
        ],
    }
