"""A detector of other music, or of another version, is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.inputs import networks, registry
from flows.policy.calibration import calibrated
from storage.errors import UserError
from storage.workspace import Workspace
from tests.flows.conftest import Finished


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"sample_rate": 22_050},
            "22050 Hz in stereo in frames of 4096 samples; this workspace",
        ),
        ({"sources": ["piano", "rest"]}, "hears piano, rest at 44100 Hz"),
        ({"hop_samples": 2048, "features": {"hop_samples": 512}}, "frames of 2048 samples"),
        ({"num_layers": 3}, "schema that this silentmix does not know .*num_layers"),
        ({"recurrent_layers": 92_176}, "does not know .*recurrent_layers must be at most 256"),
        ({"architecture": "oracle"}, "schema that this silentmix does not know .*'oracle'"),
        ({"hidden_channels": 8}, "does not hold the weights"),
        ({"features": {"fft_samples": 87_231}}, "does not know .*not 87231"),
        (None, "schema that this silentmix does not know .*detector"),
    ],
)
def test_a_foreign_detector_is_refused(
    finished: Finished, tmp_path: Path, changes: dict[str, Any] | None, expected: str
) -> None:
    workspace = Workspace(str(tmp_path / "w"), create=True)
    [name] = registry.names(finished.workspace, "detectors")
    description = registry.describe(finished.workspace, "detectors", name)
    if changes is None:
        del description["detector"]
    else:
        features = description["detector"]["features"] | changes.get("features", {})
        description["detector"].update(changes | {"features": features})
    workspace.put_json(f"detectors/{name}/{registry.DESCRIPTION}", description)
    weights = f"detectors/{name}/{registry.WEIGHTS}"
    workspace.put_bytes(weights, finished.workspace.read(weights))
    with pytest.raises(UserError, match=f"detector '{name}'.*{expected}"):
        networks.load_detector(workspace, name, "cpu")
    if changes is None or changes.keys() & {
        "sample_rate",
        "sources",
        "hop_samples",
        "architecture",
    }:
        with pytest.raises(UserError, match=expected):
            calibrated(workspace, name, finished.parameters.extract)
