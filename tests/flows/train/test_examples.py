"""What can't be trained on is refused before the first step, with what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from flows.train.flow import train
from flows.train.options import TrainParameters
from storage.errors import UserError
from tests.flows.conftest import Finished


def refused(finished: Finished, message: str, **fields: Any) -> None:
    told = {"workspace": finished.workspace.location, "channels": 4, "depth": 2, **fields}
    with pytest.raises(UserError, match=message), disable_run_logger():
        train.fn(TrainParameters.model_validate(told))


def test_a_crop_longer_than_every_song(finished: Finished) -> None:
    refused(finished, r"crop_s is 900 s, and no training song is as long: .* lower", crop_s=900.0)


def test_a_weak_share_without_recipes(finished: Finished) -> None:
    refused(
        finished, r"corpora \(none\): no remixes to train on; extract more", corpora=[], crop_s=1.0
    )
    refused(
        finished,
        "no remixes of corpus 'nine'; .* `silentmix remix --corpus nine --workspace .*` .*, or set "
        "weak_share to 0",
        corpora=["nine"],
    )


def test_mixtures_of_nothing_or_shorter_than_the_crop(finished: Finished) -> None:
    for message, corpora, crop_s in (
        (r"corpora \(none\): there is no unlabelled track", [], 1.0),
        ("crop_s is 900 s, and no track of these corpora is as long: ", ["music"], 900.0),
    ):
        refused(finished, message, objective="mixit", corpora=corpora, crop_s=crop_s)


def test_a_source_without_one_stem_that_sounds(finished: Finished) -> None:
    """In whichever way it was found to sound before: here the bass is just never active."""
    for table in ("stems", "activity"):
        partition = finished.only(table, "labelled")
        rows = list(finished.manifests.rows(partition))
        for row in rows:
            if table == "activity" and row["source"] == "bass":
                row["active"] = [False] * len(row["active"])
        finished.manifests.write(replace(partition, corpus="quiet"), ["all"], rows)
    refused(
        finished,
        "corpora quiet: no training song has a stem of bass that sounds; ingest songs that have",
        labelled="quiet",
        crop_s=1.0,
        weak_share=0.0,
    )
