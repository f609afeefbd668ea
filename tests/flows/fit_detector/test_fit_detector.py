"""What a detector can promise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demucs_core.extraction.precision_bound import ANY_SONGS
from flows.fit_detector import flow as module
from flows.fit_detector.flow import fit_detector
from flows.fit_detector.options import FitDetectorParameters
from flows.inputs import registry
from flows.policy.calibration import calibrated, calibration_path, require_evidence
from flows.policy.options import PolicyOptions
from flows.running.parameters import recorded
from storage.errors import UserError
from tests.flows.conftest import Finished


def test_too_little_evidence_is_refused_by_what_is_missing(finished: Finished) -> None:
    detector = registry.names(finished.workspace, "detectors")[0]
    strict = finished.parameters.extract.model_copy(
        update={"allow_insufficient_evidence": False, "target_precision": 0.98}
    )
    with pytest.raises(UserError, match=r"drums: .* more are needed"):
        calibrated(finished.workspace, detector, strict)
    with pytest.raises(
        UserError, match=r"3 songs are held out .* at least 36 .*: add 33 to valid/"
    ):
        require_evidence(3, "labelled", strict)
    require_evidence(36, "labelled", strict)
    any_song = strict.model_copy(update={**ANY_SONGS, "target_precision": 0.95})
    refusal = r"14 songs .* at least 116 \(they promise 0\.67\d at best\): add 102 to valid/"
    with pytest.raises(UserError, match=refusal):
        require_evidence(14, "labelled", any_song)


def test_a_dry_run_knows_what_a_fit_that_was_stopped_has_done(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished.workspace.root, tmp_path / "w")
    told: dict[str, Any] = {**finished.parameters.extract.model_dump(), "workers": 1}
    how = {"steps": 5, "batch_size": 2, "crop_s": 2.0, "seed": 7}
    wish = FitDetectorParameters(**told, **how, workspace=str(tmp_path / "w"))

    def stopped(steps: Callable[[Callable[[], bool]], None]) -> None:
        before = iter([False, False, True])
        steps(lambda: next(before))
        raise RuntimeError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(module, "interruptible", stopped)
        with pytest.raises(RuntimeError, match="stopped"):
            fit_detector(wish)
    plan = fit_detector(wish.model_copy(update={"dry_run": True})).plan
    assert plan is not None
    assert (plan.pending, plan.total) == (3, 5)
    assert fit_detector(wish).counts["steps"] == 5
    assert fit_detector(wish).already_done


def test_thresholds_of_before_are_found() -> None:
    """Those of 0.1.0's defaults: it knew no worst song, and kept all that it found."""
    told = {
        name: value for name, value in PolicyOptions() if name not in (*ANY_SONGS, "surest_share")
    }
    then = PolicyOptions.model_validate(recorded(PolicyOptions, told))
    assert then == PolicyOptions(surest_share=1.0)
    assert calibration_path("d", then) == "detectors/d/calibrations/f004f2a2c10e8.json"
    for other in (PolicyOptions(), PolicyOptions(surest_share=1.0, **ANY_SONGS)):
        assert calibration_path("d", other) != calibration_path("d", then)
