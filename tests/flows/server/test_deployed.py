"""What a run was not told is as its deployment says."""

from __future__ import annotations

from typing import Any

import pytest

from flows.extract.options import ExtractParameters
from flows.server import deployed


def test_what_a_run_was_not_told_is_as_its_deployment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = ExtractParameters(workspace="w", corpus="live")
    assert deployed.as_deployed(told) is told, "without a deployment"
    of_deployment: dict[str, Any] = {
        "workspace": "other", "target_precision": 0.9, "gone_since": 1, "detector": "d",
    }  # fmt: skip
    monkeypatch.setattr(deployed, "_of_deployment", lambda: of_deployment)
    found = deployed.as_deployed(told)
    assert found == ExtractParameters(
        workspace="w", corpus="live", target_precision=0.9, detector="d"
    )
    # told its default: that is told
    explicit = ExtractParameters(workspace="w", target_precision=0.95)
    assert deployed.as_deployed(explicit).target_precision == 0.95
