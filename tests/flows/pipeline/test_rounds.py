"""A chain of several rounds: what a model hears makes the remixes of the next one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demucs_core.detector.registry import SEPARATOR
from demucs_core.detector.separator_detector import SeparatorDetector
from flows.catalogue import STAGES
from flows.fit_detector import flow as fit_detector_flow
from flows.fit_detector.separators import made_of
from flows.inputs import registry
from flows.pipeline import expected
from flows.pipeline.flow import pipeline
from flows.pipeline.options import PipelineParameters
from flows.running.chain import Chain
from storage.errors import UserError
from storage.tables.manifests import Partition
from storage.workspace import Workspace
from tests.flows.conftest import Finished

ROUND = STAGES[1:6]


def test_a_round_is_every_stage_from_the_detector_to_the_model() -> None:
    assert PipelineParameters().stages_in_rounds == STAGES
    assert PipelineParameters(rounds=3).stages_in_rounds == (*STAGES[:6], *ROUND, *ROUND, STAGES[6])
    within = PipelineParameters(rounds=2, from_stage=ROUND[0], until_stage=ROUND[-1])
    assert within.stages_in_rounds == ROUND * 2
    with pytest.raises(UserError, match="runs no fit-detector, score; begin with --from fit-det"):
        _ = PipelineParameters(rounds=2, from_stage="extract").stages_in_rounds
    with pytest.raises(
        UserError, match=r"runs no remix, train; .* end with --until train or later"
    ):
        _ = PipelineParameters(rounds=2, until_stage="extract").stages_in_rounds


def test_models_that_no_detector_can_be_made_of_are_refused_before_anything(
    finished: Finished,
) -> None:
    told = finished.parameters.model_dump()
    told["train"] = {"architecture": "tests.somewhere:Model"}
    with pytest.raises(UserError, match="rounds 2: the models of this chain would be made of a"):
        pipeline(PipelineParameters.model_validate({**told, "rounds": 2}))


def easily_silent(workspace: Workspace, model: str) -> SeparatorDetector:
    """A detector to which all is silent but what a model makes as loud as the mixture."""
    detector = made_of(workspace, model)
    detector.config = replace(detector.config, even_db=0.0)
    return detector


def test_the_second_detector_is_the_first_model(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_detector_flow, "made_of", easily_silent)
    asked = finished.parameters.model_copy(update={"rounds": 2})
    results = pipeline(asked)
    stages = [result.stage for result in results]
    assert stages == ["ingest", *STAGES[:5], "train", "train", *ROUND, *3 * ["evaluate"]]
    first, second = results[:8], results[8:13]
    assert [result.fingerprint for result in first] == [r.fingerprint for r in finished.results[:8]]
    assert all(result.already_done for result in first)
    assert not any(result.already_done for result in second)
    made = {result.stage: result.fingerprint for result in second}
    workspace, manifests = finished.workspace, finished.manifests
    detector = registry.describe(workspace, "detectors", made["fit-detector"])
    assert detector["detector"]["architecture"] == SEPARATOR
    assert detector["training"] == {"model": first[-1].fingerprint}
    segments = manifests.rows(Partition("segments", "music", made["extract"]))
    assert {row["detector_id"] for row in segments} == {made["fit-detector"]}
    model = registry.describe(workspace, "models", made["train"])
    assert made["remix"] in str(model["made_from"])
    trained = [result.fingerprint for result in results if result.stage == "train"]
    evaluated = finished.rows("evaluations")
    assert {row["model_id"] for row in evaluated} == {*trained}
    assert len({*trained}) == 3

    again = pipeline(asked)
    assert all(result.already_done for result in again)
    assert [result.fingerprint for result in again] == [r.fingerprint for r in results]

    monkeypatch.setattr(expected, "step_seconds", lambda *_: 2.0)
    rows = expected.expect(Chain(asked))
    assert tuple(row.stage for row in rows) == asked.stages_in_rounds
    by_model = [row for row in rows if row.stage in ("fit-detector", "train")]
    works = [row.work.partition(",")[0] for row in by_model]
    assert works[1:] == ["models: 2", "made of the model before", "models: 1"]
    assert rows[-1].work.endswith("models: 3")
