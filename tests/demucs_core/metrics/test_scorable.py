from __future__ import annotations

import pytest
import torch

from demucs_core.metrics.bsseval import bss_eval
from demucs_core.metrics.scorable import why_not_scorable

NAMES = ("bass", "vocals")


def noise(seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, 2, 4000, generator=torch.Generator().manual_seed(seed))


def spoiled(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    references, estimates = noise(0), noise(1)
    target = references if kind.endswith("reference") else estimates
    if kind.startswith("nan"):
        target[1, 0, 7] = float("nan")
    elif kind.startswith("inf"):
        target[1, 1, 7] = float("inf")
    elif kind.startswith("silent"):
        target[1] = 0
    elif kind.startswith("opposite"):
        target[1, 1] = -target[1, 0]
    return references, estimates


@pytest.mark.parametrize("side", ["reference", "estimate"])
@pytest.mark.parametrize(
    ("problem", "reason"),
    [("nan", "nan"), ("inf", "nan"), ("silent", "silent"), ("opposite", "silent")],
)
def test_it_names_the_source_where_bss_eval_refuses(side: str, problem: str, reason: str) -> None:
    references, estimates = spoiled(f"{problem}_{side}")
    found = why_not_scorable(references, estimates, NAMES)
    assert found is not None
    assert found[0] == f"{reason}_{side}"
    assert found[1].startswith("vocals: ")
    with pytest.raises(ValueError, match="1"):
        bss_eval(references, estimates, window_samples=100, filter_samples=16)


def test_nothing_is_wrong_with_a_song_that_is_silent_in_places() -> None:
    references, estimates = noise(0), noise(1)
    references[0, :, :2000] = 0
    estimates[1, :, 1000:] = 0
    assert why_not_scorable(references, estimates, NAMES) is None
    bss_eval(references, estimates, window_samples=100, filter_samples=16)
