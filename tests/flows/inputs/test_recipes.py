"""Recipes are drawn from files: the same ones whatever parts they lie in, and however many."""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demucs_core.training.recipes import Recipe, RecipeList
from flows.inputs.recipe_music import RecipeMusic, music_of
from flows.inputs.recipes import RecipeTable, load_recipes
from storage.errors import UserError
from storage.local_cache import LocalCache
from storage.tables.compaction import join, outlived, remove_outlived, to_join
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

SOURCES = ("drums", "bass", "other", "vocals")
KINDS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("bass",), ("bass",)),
    (("drums", "bass"), ("bass",)),
    (("bass", "drums"), ("drums", "bass")),
    (("drums", "bass", "other"), ()),
    (("vocals", "bass"), ()),
)
"""Silent sources, and those of them that are filled."""
REMIXES, MORE = Partition("remixes", "music", "f1"), Partition("remixes", "more", "f2")


def row(number: int, prefix: str = "r") -> dict[str, Any]:
    silent, filled = KINDS[number % len(KINDS)]
    stem = {
        "path": "audio/s.wav", "track_num_samples": 900, "start_sample": number % 100,
        "num_samples": 50, "gain_db": 0.5, "tempo_ratio": None, "key_steps": None,
    }  # fmt: skip
    return {
        "remix_id": f"{prefix}{number // 4:020x}-{number % 4}",
        "segment_id": "s",
        "segments_fingerprint": "f0",
        "model_id": "",
        "track_id": f"t{number % 3}",
        "path": f"audio/{number}.wav",
        "track_num_samples": 1000 + number,
        "start_sample": 100,
        "stop_sample": 150,
        "silent_sources": list(silent),
        "confidence": 0.5,
        "added": [{"source": name, "track_id": f"song{number % 2}", **stem} for name in filled],
    }


def write(workspace: Workspace, partition: Partition, *parts: Sequence[dict[str, Any]]) -> None:
    for rows in parts:
        Manifests(workspace).write(partition, [row["remix_id"] for row in rows], rows)


def table(workspace: Workspace, cache: Path, *partitions: Partition, **options: Any) -> RecipeTable:
    manifests = Manifests(workspace)
    digests = {partition: manifests.digest(partition) for partition in partitions or (REMIXES,)}
    return RecipeTable(workspace, digests, LocalCache(cache, 2**30), **options)


def everything(pools: RecipeTable | RecipeList) -> list[list[list[Recipe]]]:
    return [
        [[pools.recipe(source, groups, number) for number in range(count)]
         for groups, count in enumerate(counts)]
        for source, counts in enumerate(pools.sizes)
    ]  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), create=True)


def test_pools_hold_what_lists_hold(workspace: Workspace, tmp_path: Path) -> None:
    rows = [row(number) for number in range(57)]
    write(workspace, REMIXES, rows[:20], rows[20:])
    found = table(workspace, tmp_path / "cache", confidence_weighting=2.0)
    recipes = list(load_recipes(Manifests(workspace), REMIXES, 2.0))
    assert len(found) == len(recipes) == 57
    held = RecipeList(recipes, len(SOURCES))
    assert found.sizes == held.sizes
    for by_groups, expected in zip(everything(found), everything(held), strict=True):
        for pool, same in zip(by_groups, expected, strict=True):
            assert Counter(pool) == Counter(same)
            assert {recipe.weight for recipe in pool} == {0.25}


def test_the_order_is_that_of_the_names_whatever_the_parts(tmp_path: Path) -> None:
    rows = [row(number) for number in range(60)]
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(60)]
    found = []
    for name, parts in (("a", [rows]), ("b", [shuffled[:7], shuffled[7:40], shuffled[40:]])):
        workspace = Workspace(str(tmp_path / name), create=True)
        write(workspace, REMIXES, *parts)
        found.append(everything(table(workspace, tmp_path / "cache")))
    assert found[0] == found[1]


def test_what_is_drawn_is_the_same_once_parts_were_joined(
    workspace: Workspace, tmp_path: Path
) -> None:
    """With an index in the cache that names the parts of before."""
    rows = [row(number) for number in range(60)]
    write(workspace, REMIXES, *(rows[start : start + 3] for start in range(0, 60, 3)))
    sizes = table(workspace, tmp_path / "cache").sizes
    before = everything(table(workspace, tmp_path / "other"))
    manifests = Manifests(workspace)
    [pack] = to_join(manifests, REMIXES)
    join(manifests, REMIXES, pack)
    [found] = outlived(manifests, REMIXES)
    assert len(remove_outlived(manifests, found)) == len(pack) == 20
    after = table(workspace, tmp_path / "cache")
    assert after.sizes == sizes
    assert everything(after) == before


def test_it_is_small_to_send_and_outlives_its_cache(workspace: Workspace, tmp_path: Path) -> None:
    write(workspace, REMIXES, [row(number) for number in range(600)])
    found = table(workspace, tmp_path / "cache")
    expected = everything(found)
    sent = pickle.dumps(found)
    assert len(sent) < 2000
    shutil.rmtree(tmp_path / "cache")
    assert everything(pickle.loads(sent)) == expected
    assert everything(found) == expected


def test_several_corpora_are_one_pool_in_an_order_of_their_own(
    workspace: Workspace, tmp_path: Path
) -> None:
    write(workspace, REMIXES, [row(number) for number in range(10)])
    write(workspace, MORE, [row(number, "q") for number in range(12)])
    both, other_way = (
        everything(table(workspace, tmp_path / "cache", *partitions))
        for partitions in ((REMIXES, MORE), (MORE, REMIXES))
    )
    assert both == other_way
    bass_alone = {recipe.remix_id for recipe in both[1][1]}
    assert {remix_id[0] for remix_id in bass_alone} == {"q", "r"}
    with pytest.raises(IndexError):
        table(workspace, tmp_path / "cache").recipe(0, 0, 10**6)


def test_what_is_retired_is_not_drawn(workspace: Workspace, tmp_path: Path) -> None:
    write(workspace, REMIXES, [row(number) for number in range(30)])
    assert len(table(workspace, tmp_path / "cache")) == 30
    Manifests(workspace).write(
        Partition("retired", "music", "f9"),
        ["x"],
        [{
            "manifest": "tracks", "track_id": "t1", "split": "", "name": "",
            "reason": "labelled_test", "superseded_by": "s", "decided_at": datetime.now(UTC),
        }],
    )  # fmt: skip
    found = table(workspace, tmp_path / "cache")
    assert len(found) == 20
    left = {recipe for by_groups in everything(found) for pool in by_groups for recipe in pool}
    assert left == set(load_recipes(Manifests(workspace), REMIXES))
    assert len(left) == 20


def test_a_source_that_the_workspace_has_not_is_named(workspace: Workspace, tmp_path: Path) -> None:
    write(workspace, REMIXES, [row(0) | {"silent_sources": ["bass", "kazoo"]}])
    with pytest.raises(UserError, match="the source kazoo, and the workspace has drums, bass"):
        table(workspace, tmp_path / "cache")


def test_no_recipes_are_no_pools(workspace: Workspace, tmp_path: Path) -> None:
    write(workspace, REMIXES, [])
    found = table(workspace, tmp_path / "cache")
    assert len(found) == 0
    assert found.sizes == []


def test_the_music_of_recipes_is_their_tracks_and_what_is_added_to_them(
    workspace: Workspace,
) -> None:
    rows = [row(number) for number in range(40)]
    estimated = [
        {**each, "model_id": "m", "added": [{**stem, "track_id": "t9"} for stem in each["added"]]}
        for each in (row(number, "e") for number in range(5))
    ]
    write(workspace, REMIXES, rows[:11], rows[11:])
    write(workspace, MORE, estimated)
    manifests = Manifests(workspace)
    assert music_of(manifests, []) == RecipeMusic()
    music = music_of(manifests, [REMIXES])
    assert music.tracks == dict.fromkeys(("t0", "t1", "t2"), "music")
    assert (music.songs, music.estimated) == ({"song0", "song1"}, set())
    both = music_of(manifests, [REMIXES, MORE])
    assert both.estimated == {"t9"}
    assert both.songs == music.songs
