"""What a detector can promise."""

from __future__ import annotations

import pytest

from flows.inputs import registry
from flows.policy.calibration import calibrated, require_evidence
from storage.errors import UserError
from tests.flows.conftest import Finished


def test_too_little_evidence_is_refused_by_what_is_missing(finished: Finished) -> None:
    detector = registry.names(finished.workspace, "detectors")[0]
    strict = finished.parameters.extract.model_copy(
        update={"allow_insufficient_evidence": False, "target_precision": 0.98}
    )
    with pytest.raises(UserError, match=r"drums: .* more are needed"):
        calibrated(finished.workspace, detector, strict)
    with pytest.raises(UserError, match=r"3 songs are held out .* at least 36: add 33 to valid/"):
        require_evidence(3, "labelled", strict)
    require_evidence(36, "labelled", strict)
