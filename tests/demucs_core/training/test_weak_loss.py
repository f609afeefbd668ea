from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from demucs_core.training.weak_loss import check_partition, grouped_l1

S, C, T = 4, 2, 16


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def partition(places: list[int]) -> Tensor:
    """Source s is in group places[s]."""
    return F.one_hot(torch.tensor(places), S).T.float()


places = st.lists(st.integers(0, S - 1), min_size=S, max_size=S)
cases = {"places": st.lists(places, min_size=1, max_size=3), "seed": st.integers(0, 2**31)}


def batch(places: list[list[int]], seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num = len(places)
    membership = torch.stack([partition(p) for p in places])
    mask = rand(num, S, T, seed=seed + 2) > 0
    return rand(num, S, C, T, seed=seed), rand(num, S, C, T, seed=seed + 1), membership, mask


@settings(deadline=None, max_examples=30)
@given(**cases)
def test_equals_its_definition(places: list[list[int]], seed: int) -> None:
    estimates, targets, membership, mask = batch(places, seed)
    weight = rand(len(places), seed=seed).abs()
    losses, weights = [], []
    for b, groups in enumerate(places):
        errors = [
            (sum(estimates[b, s, :, t] for s in range(S) if groups[s] == g) - targets[b, g, :, t])
            .abs()
            .mean()
            for g in set(groups)
            for t in range(T)
            if mask[b, g, t]
        ]
        if errors:
            num_known = sum(int(mask[b, group].sum()) for group in groups)
            losses.append(torch.stack(errors).sum() / num_known)
            weights.append(weight[b])
    expected = torch.tensor(0.0)
    if losses:
        expected = (torch.stack(losses) * torch.stack(weights)).sum() / sum(weights)
    loss = grouped_l1(estimates, targets, membership, mask, weight)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("mask", [torch.ones(3, S, T), torch.ones(3, 1, T, dtype=torch.bool)])
def test_supervised_is_plain_l1_with_its_gradients(mask: Tensor) -> None:
    estimates, targets = rand(3, S, C, T).requires_grad_(), rand(3, S, C, T, seed=1)
    loss = grouped_l1(estimates, targets, torch.eye(S).expand(3, S, S), mask)
    [gradient] = torch.autograd.grad(loss, estimates)
    expected = F.l1_loss(estimates, targets)
    [expected_gradient] = torch.autograd.grad(expected, estimates)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=30)
@given(**cases)
def test_gradients_are_zero_exactly_where_masked(places: list[list[int]], seed: int) -> None:
    estimates, targets, membership, mask = batch(places, seed)
    estimates.requires_grad_()
    grouped_l1(estimates, targets, membership, mask).backward()
    assert estimates.grad is not None
    for b, groups in enumerate(places):
        for s, g in enumerate(groups):
            zero = estimates.grad[b, s] == 0
            assert torch.equal(zero, ~mask[b, g].expand(C, T))


@settings(deadline=None, max_examples=30)
@given(**cases)
def test_every_known_source_learns_alike_in_whatever_groups(
    places: list[list[int]], seed: int
) -> None:
    estimates, targets, membership, mask = batch(places, seed)
    mask[..., 0] = True  # so that something is known of each
    estimates.requires_grad_()
    grouped_l1(estimates, targets, membership, mask).backward()
    assert estimates.grad is not None
    for b, groups in enumerate(places):
        gradients = estimates.grad[b].abs()
        torch.testing.assert_close(gradients.sum(), torch.tensor(1 / len(places)))
        sizes = {round(float(size), 7) for size in gradients.unique() if size}
        num_known = sum(int(mask[b, group].sum()) for group in groups) * C
        assert sizes == {round(1 / len(places) / num_known, 7)}


@settings(deadline=None, max_examples=30)
@given(order=st.permutations(range(S)), **cases)
def test_order_of_groups_does_not_matter(
    order: list[int], places: list[list[int]], seed: int
) -> None:
    estimates, targets, membership, mask = batch(places, seed)
    loss = grouped_l1(estimates, targets, membership, mask)
    permuted = grouped_l1(estimates, targets[:, order], membership[:, order], mask[:, order])
    torch.testing.assert_close(loss, permuted)


def test_targets_and_masks_of_empty_groups_do_not_matter() -> None:
    estimates, targets, membership, mask = batch([[0, 2, 2, 2]], 0)
    loss = grouped_l1(estimates, targets, membership, mask)
    targets[:, [1, 3]] += 10
    mask[:, [1, 3]] ^= True
    assert torch.equal(grouped_l1(estimates, targets, membership, mask), loss)


def test_a_known_silence_is_a_target_of_zeros() -> None:
    estimates = rand(1, S, C, T)
    membership = partition([0, 1, 1, 1])[None]
    targets = torch.stack([torch.zeros(C, T), estimates[0, 1:].sum(0)])[None]
    loss = grouped_l1(estimates, targets, membership[:, :2], torch.ones(1, 1, T))
    torch.testing.assert_close(loss, estimates[0, 0].abs().mean() / S)


def test_nothing_known_is_no_loss() -> None:
    estimates, targets, membership, _ = batch([[0, 1, 2, 3]] * 2, 0)
    estimates.requires_grad_()
    nothing = torch.zeros(2, S, T, dtype=torch.bool)
    loss = grouped_l1(estimates, targets, membership, nothing)
    loss.backward()
    assert loss == 0
    assert estimates.grad is not None
    assert not estimates.grad.any()
    # Neither is all weight zero, and an example without knowledge does not dilute the other.
    known = torch.ones(2, S, T)
    assert grouped_l1(estimates, targets, membership, known, torch.zeros(2)) == 0
    half = torch.stack([nothing[0], known[1].bool()])
    torch.testing.assert_close(
        grouped_l1(estimates, targets, membership, half),
        F.l1_loss(estimates[1], targets[1]),
    )


def test_low_precision_estimates_are_summed_in_float32() -> None:
    estimates = torch.full((1, S, C, T), 1 / 256, dtype=torch.bfloat16)
    estimates[:, 0] = 1
    membership = partition([0, 0, 0, 0])[None]
    targets = torch.full((1, S, C, T), 1 + 3 / 256)
    with torch.autocast("cpu", torch.bfloat16):
        loss = grouped_l1(estimates, targets, membership, torch.ones(1, 1, T))
    assert loss.dtype == torch.float32
    assert loss == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("targets", {"targets": torch.zeros(1, S, C, T + 1)}),
        ("membership", {"membership": torch.zeros(1, S, S + 1)}),
        ("mask", {"mask": torch.zeros(1, 2, T)}),
        ("mask", {"mask": torch.zeros(1, T)}),
        ("weight", {"weight": torch.zeros(2)}),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name: str, change: dict[str, Tensor]) -> None:
    estimates, targets, membership, mask = batch([[0, 1, 2, 3]], 0)
    arguments = {"targets": targets, "membership": membership, "mask": mask, **change}
    with pytest.raises(ValueError, match=name):
        grouped_l1(estimates, **arguments)


@settings(deadline=None)
@given(st.lists(places, min_size=1, max_size=3))
def test_partitions_pass(places: list[list[int]]) -> None:
    check_partition(torch.stack([partition(p) for p in places]))


@pytest.mark.parametrize(
    ("membership", "message"),
    [
        (torch.zeros(1, 2, S), "source 0 of example 0 is in 0 groups"),
        (
            torch.stack([torch.eye(S), torch.eye(S) + torch.eye(S).roll(1, 0)]).clamp(max=1),
            "of example 1 is in 2",
        ),
        (torch.eye(S) / 2, "zeros and ones"),
    ],
)
def test_what_is_no_partition_is_refused(membership: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_partition(membership)
