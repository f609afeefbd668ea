"""A corpus whose scores are unlike those of the songs a detector stands on is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.inputs import registry
from flows.policy.likeness import keep_spreads, what_is_unlike
from storage.damage import DamagedError
from storage.tables.manifests import Manifests, Partition
from storage.workspace import Workspace

STANDS_ON, ALIKE, UNLIKE = (
    Partition("scores", "labelled", "a"), Partition("scores", "alike", "b"),
    Partition("scores", "unlike", "b"),
)  # fmt: skip


def rows(num: int, seed: int, vocals: float) -> list[dict[str, Any]]:
    """Scores of tracks, and how likely their vocals are silent, about."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(num):
        probability = rng.uniform(0, 1, (4, 50)).astype(np.float32)
        probability[3] = np.clip(vocals + rng.uniform(-0.1, 0.1, 50), 0, 1)
        found.append(
            {
                "track_id": f"{seed}-{number}",
                "detector_id": "d",
                "path": "",
                "num_samples": 50 * 4096,
                "sources": ["drums", "bass", "other", "vocals"],
                "hop_samples": 4096,
                "num_frames": 50,
                "silence_probability": list(probability),
                "level_db": np.zeros(50, dtype=np.float32),
            }
        )
    return found


@pytest.fixture
def manifests(tmp_path: Path) -> Manifests:
    workspace = Workspace(str(tmp_path / "workspace"), create=True)
    held_out = {"corpus": STANDS_ON.corpus, "scores": STANDS_ON.fingerprint}
    workspace.put_json("detectors/d/config.json", {"held_out": held_out})
    found = Manifests(workspace)
    for partition, num, vocals in ((STANDS_ON, 8, 0.2), (ALIKE, 20, 0.2), (UNLIKE, 20, 0.8)):
        each = rows(num, num + int(vocals * 10), vocals)
        found.write(partition, [row["track_id"] for row in each], each)
    return found


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "a detector of before"])
def test_what_is_unlike_is_told_with_the_way_out(manifests: Manifests, kept: bool) -> None:
    if kept:
        keep_spreads(manifests, "d")
        for path in manifests.parts(STANDS_ON):
            manifests.workspace.remove(path)  # it is with the detector
    assert what_is_unlike(manifests, "d", ALIKE) == []
    [note] = what_is_unlike(manifests, "d", UNLIKE)
    assert note.startswith("corpus unlike is unlike the 8 songs that detector d stands on")
    assert "scores for vocals" in note
    assert "`silentmix audit --listen --corpus unlike --workspace " in note


def test_a_damaged_file_is_named(manifests: Manifests) -> None:
    path = f"detectors/d/{registry.STANDS_ON}"
    manifests.workspace.put_json(path, {"spreads": [[1, 2]]})
    with pytest.raises(DamagedError, match=r"stands_on\.json: damaged"):
        what_is_unlike(manifests, "d", ALIKE)
