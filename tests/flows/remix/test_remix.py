"""Recipes put stems that sound into silences, and another seed draws others beside them."""

from __future__ import annotations

from flows.remix.flow import remix
from flows.remix.options import RemixParameters
from storage.tables.manifests import Partition
from tests.flows.conftest import Finished


def test_a_recipe_adds_to_a_silence_what_is_silent_there(finished: Finished) -> None:
    segments = {row["segment_id"]: row for row in finished.rows("segments")}
    recipes = finished.rows("remixes")
    assert recipes
    for recipe in recipes:
        segment = segments[recipe["segment_id"]]
        assert recipe["track_id"] == segment["track_id"]
        assert set(recipe["silent_sources"]) <= set(segment["silent_sources"])
        for stem in recipe["added"]:
            assert stem["source"] in recipe["silent_sources"]


def test_another_seed_draws_other_recipes_beside_the_old_ones(finished: Finished) -> None:
    old = finished.only("remixes", "music")
    before = list(finished.manifests.rows(old))
    options = finished.parameters.remix.model_dump() | {"seed": 1}
    result = remix(
        RemixParameters(**options, workspace=finished.workspace.location, workers=1, corpus="music")
    )
    assert result.fingerprint != old.fingerprint
    assert list(finished.manifests.rows(old)) == before
    new = list(finished.manifests.rows(Partition("remixes", "music", result.fingerprint)))
    assert {row["segment_id"] for row in new} == {row["segment_id"] for row in before}
    assert [row["added"] for row in new] != [row["added"] for row in before]
