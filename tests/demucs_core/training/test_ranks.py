"""Two processes learn what one does, and decide together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import distributed as dist

from demucs_core.training.ranks import ALONE, Ranks
from tests.demucs_core.training import together


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """This process, the first, and another that does as it is told."""
    meeting = str(tmp_path_factory.mktemp("two") / "meeting")
    with (
        pytest.MonkeyPatch.context() as patch,
        subprocess.Popen([sys.executable, "-m", together.__name__, meeting]) as other,
    ):
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        try:
            ranks = together.join(meeting, 0)
            yield ranks
            ranks.told("")
            assert other.wait() == 0
        finally:
            other.kill()
            dist.destroy_process_group()


@pytest.mark.parametrize("case", together.CASES)
def test_two_processes_learn_what_one_does(two: Ranks, case: str) -> None:
    two.told(case)
    close = 1e-3 if case == "half" else 1e-5
    both, one = together.CASES[case](two), together.CASES[case](ALONE)
    assert both.step == one.step
    assert [entry.best for entry in both.history] == [entry.best for entry in one.history]
    for mine, alone in zip(both.history, one.history, strict=True):
        assert mine.weights == alone.weights
        assert mine.train_loss == pytest.approx(alone.train_loss, rel=close)
        assert mine.loss == pytest.approx(alone.loss, rel=10 * close)
    (tensors, meta), (expected, expected_meta) = both.state(), one.state()
    assert meta.keys() == expected_meta.keys()
    assert meta["optimization"] == expected_meta["optimization"]
    assert tensors.keys() == expected.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=close, msg=name)


def test_each_process_has_its_share_of_the_weak_and_of_the_labelled() -> None:
    ranks = [Ranks(rank=rank, size=3) for rank in range(3)]
    assert [list(range(6)[each.own]) for each in ranks] == [[0, 3], [1, 4], [2, 5]]
    assert [each.num_own(4) for each in ranks] == [2, 1, 1]
    stream = together.shared(ALONE).examples
    whole = [mixture for batch in stream.batches(3, 5) for mixture in batch.mixture]
    for rank in range(2):
        batches = stream.batches(3, 5, rank=rank, num_ranks=2)
        own = [mixture for batch in batches for mixture in batch.mixture]
        assert all(torch.equal(*pair) for pair in zip(own, whole[rank::2], strict=True))
