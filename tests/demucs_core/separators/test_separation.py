from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.demucs import Demucs as OfficialDemucs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from demucs_core.separators.demucs import Demucs, from_official_state
from demucs_core.separators.registry import build_model
from demucs_core.separators.separation import separate, separate_stream
from tests.demucs_core.music import MUSIC


class Copies(nn.Module):
    """The mixture, once and doubled; a linear model without memory."""

    def forward(self, mixture: Tensor) -> Tensor:
        return torch.stack([mixture, 2 * mixture], dim=1)


class PadsToTens(Copies):
    """Wants lengths that are multiples of ten, and records what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def valid_length(self, num_samples: int) -> int:
        return -(-num_samples // 10) * 10

    def forward(self, mixture: Tensor) -> Tensor:
        assert mixture.shape[-1] % 10 == 0
        self.seen.extend(mixture)
        return super().forward(mixture)


def noise(num_samples: int, seed: int = 0) -> Tensor:
    return torch.randn(2, num_samples, generator=torch.Generator().manual_seed(seed))


def reader(mixture: Tensor) -> Callable[[int, int], NDArray[np.float32]]:
    def read(start: int, num: int) -> NDArray[np.float32]:
        assert start >= 0
        assert num >= 1
        assert start + num <= mixture.shape[-1]
        return mixture[:, start : start + num].numpy()

    return read


geometry = {
    "num_samples": st.integers(1, 200),
    "segment_samples": st.integers(1, 250),
    "overlap": st.floats(0, 0.95),
    "shifts": st.integers(0, 3),
    "batch_size": st.integers(1, 4),
    "max_shift_samples": st.integers(0, 300),
}


@settings(deadline=None, max_examples=60)
@given(**geometry)
@example(num_samples=1, segment_samples=9, overlap=0.5, shifts=2, batch_size=2, max_shift_samples=9)
def test_a_model_that_copies_gives_the_mixture_back(num_samples: int, **arguments: Any) -> None:
    mixture = noise(num_samples)
    for model in (Copies(), PadsToTens()):
        estimates = separate(model, mixture, **arguments)
        torch.testing.assert_close(estimates, torch.stack([mixture, 2 * mixture]))


@settings(deadline=None, max_examples=60)
@given(**geometry)
def test_blocks_follow_each_other_to_the_end(num_samples: int, **arguments: Any) -> None:
    mixture = noise(num_samples)
    blocks = list(separate_stream(Copies(), reader(mixture), num_samples, **arguments))
    assert all(block.shape[-1] > 0 for block in blocks)
    whole = separate(Copies(), mixture, **arguments)
    assert np.array_equal(np.concatenate(blocks, axis=-1), whole.numpy())


def small_demucs() -> Demucs:
    model = build_model({**MUSIC, "architecture": "demucs", "channels": 4, "depth": 3}, seed=0)
    assert isinstance(model, Demucs)
    return model


def test_one_segment_is_one_forward_pass() -> None:
    model, mixture = small_demucs(), noise(1000)
    with torch.no_grad():
        expected = model(mixture[None])[0]
    estimates = separate(model, mixture, segment_samples=1000, overlap=0, max_shift_samples=0)
    torch.testing.assert_close(estimates, expected)


@pytest.mark.parametrize("num_samples", [1, 900, 2000, 4321])
@pytest.mark.parametrize("shifts", [0, 2])
@pytest.mark.parametrize("overlap", [0.25, 0.6])
def test_equals_the_official_apply_model(
    num_samples: int, shifts: int, overlap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = OfficialDemucs(
        sources=["drums", "bass", "other", "vocals"],
        channels=4,
        depth=3,
        lstm_layers=2,
        dconv_mode=0,
        norm_starts=99,
        normalize=False,
        resample=False,
        gelu=False,
        samplerate=1000,
        segment=1.5,
    )
    ours = small_demucs()
    ours.load_state_dict(from_official_state(theirs.state_dict()))
    mixture = noise(num_samples)
    max_shift = 500
    # The official class counts its random offset from the other end.
    leads = np.random.default_rng(7).integers(0, max_shift + 1, size=shifts)
    offsets: Iterator[int] = iter((max_shift - leads).tolist())
    monkeypatch.setattr(random, "randint", lambda _low, _high: next(offsets))
    expected = apply_model(theirs, mixture[None], shifts=shifts, overlap=overlap)[0]
    estimates = separate(
        ours,
        mixture,
        segment_samples=1500,
        overlap=overlap,
        shifts=shifts,
        seed=7,
        batch_size=2,
        max_shift_samples=max_shift,
    )
    torch.testing.assert_close(estimates, expected, rtol=1e-5, atol=1e-6)


def test_context_is_the_audio_around_a_segment() -> None:
    mixture = torch.arange(1.0, 31).expand(1, -1)
    model = PadsToTens()
    separate(model, mixture, segment_samples=6, overlap=0, max_shift_samples=0)
    assert model.seen[1][0].tolist() == list(range(5, 15))
    assert model.seen[0][0].tolist() == [0, 0, *range(1, 9)]
    assert model.seen[-1][0].tolist() == [*range(23, 31), 0, 0]


def test_seed_decides_the_shifts() -> None:
    model, mixture = small_demucs(), noise(3000)
    runs = [
        separate(model, mixture, segment_samples=1000, shifts=2, seed=seed, max_shift_samples=400)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_memory_is_bounded_by_the_segment() -> None:
    largest = 0

    def read(_start: int, num: int) -> NDArray[np.float32]:
        nonlocal largest
        largest = max(largest, num)
        return np.zeros((2, num), dtype=np.float32)

    blocks = separate_stream(
        Copies(), read, 50_000, segment_samples=500, batch_size=2, shifts=2, max_shift_samples=100
    )
    sizes = [block.shape[-1] for block in blocks]
    assert sum(sizes) == 50_000
    assert max(sizes) <= 500
    assert largest <= 500


def test_mode_of_the_model_is_kept_and_no_context_leaks() -> None:
    model = small_demucs().train()
    blocks = separate_stream(
        model, reader(noise(3000)), 3000, segment_samples=1000, max_shift_samples=0
    )
    next(blocks)
    assert not model.training
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    list(blocks)
    assert model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"segment_samples": 0}, "segment_samples must be at least 1, not 0"),
        ({"segment_samples": 9, "overlap": 1.0}, "overlap must be at least 0 and below 1"),
        ({"segment_samples": 9, "batch_size": 0}, "batch_size must be at least 1"),
        ({"segment_samples": 9, "shifts": -1}, "shifts and max_shift_samples"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_read(
    arguments: dict[str, Any], message: str
) -> None:
    def read(_start: int, _num: int) -> NDArray[np.float32]:
        raise AssertionError

    with pytest.raises(ValueError, match=message):
        separate_stream(Copies(), read, 10, **{"max_shift_samples": 0, **arguments})


def test_an_empty_mixture_is_refused() -> None:
    with pytest.raises(ValueError, match="the mixture is empty"):
        separate(Copies(), torch.zeros(2, 0), segment_samples=10, max_shift_samples=0)


def test_a_short_read_is_refused() -> None:
    blocks = separate_stream(
        Copies(),
        lambda _start, _num: np.zeros((2, 3), np.float32),
        20,
        segment_samples=10,
        max_shift_samples=0,
    )
    with pytest.raises(ValueError, match=r"reading 10 samples from 0 gave .* \(2, 3\)"):
        next(blocks)
