"""One loss for labelled songs and for segments with a silent source: L1 between group sums.

Shape legend: B batch, G groups, S sources, C audio channels, T samples.

An example partitions the sources into groups, each with a known sum. A supervised example has one
group a source; a segment without bass that a bass stem was added to has {bass} and {drums, other,
vocals}; a segment silent in three sources has the fourth alone, and silence for the others. The
mask says where in time the sums are known: elsewhere the audio is context, and no term of the loss
sees it. The paper's weak term (arXiv 1909.01174, section 4) is the case of two groups and a mask
of ones.

The gradient of L1 has one size, however large the error, and reaches each member of a group. So
the mean is over the *sources* that are known, not over the groups: a source learns as much from an
example in which it is known in a sum as from a labelled one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def grouped_l1(
    estimates: Tensor,
    targets: Tensor,
    membership: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """Compute the mean absolute error of the group sums over what is known of them.

    For each example, ``|sum of the members' estimates - target|`` at the known points (group,
    sample), added up and divided by the channels and the known points (source, sample): with four
    sources, a group's error counts a quarter, be it one of two groups or of four. Over the batch,
    the weighted mean of examples in which anything is known. A supervised batch (identity
    membership, mask of ones) gives the plain L1 loss.

    So, where nobody's error is zero, the absolute gradients of an example add up to its weight over
    the batch's, however many groups it has and however much of it the mask leaves.

    Args:
        estimates: ``(B, S, C, T)``, what the model made of the mixtures.
        targets: ``(B, G, C, T)``, the sum of each group's sources; ignored for empty groups.
        membership: ``(B, G, S)``, one where a source belongs to a group, else zero.
        mask: ``(B, G, T)``, or ``(B, 1, T)`` for all groups alike: one (or true) where a group's
            sum is known, else zero. Values between weigh the points.
        weight: ``(B,)``, not negative; without it, all examples count alike.

    Returns:
        A scalar; zero, with gradients of zero, where nothing is known at all.

    Raises:
        ValueError: shapes that don't fit each other.
    """
    losses, shares = grouped_losses(estimates, targets, membership, mask, weight)
    total_share = shares.sum()
    mean: Tensor = (losses * shares).sum() / torch.where(total_share > 0, total_share, 1)
    return mean


def grouped_losses(
    estimates: Tensor,
    targets: Tensor,
    membership: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute what :func:`grouped_l1` averages: the loss of each example, and what it counts.

    Returns:
        ``(B,)`` losses, zero where nothing is known; and ``(B,)`` weights, likewise.

    Raises:
        ValueError: shapes that don't fit each other.
    """
    batch, num_sources, channels, num_samples = estimates.shape
    num_groups = targets.shape[1]
    expected = {
        "targets": (targets, (batch, num_groups, channels, num_samples)),
        "membership": (membership, (batch, num_groups, num_sources)),
        "mask": (mask, (batch, mask.shape[1] if mask.dim() == 3 else num_groups, num_samples)),
        "weight": (weight, (batch,)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {shape}")
    if mask.shape[1] not in (1, num_groups):
        raise ValueError(f"mask has {mask.shape[1]} groups, expected 1 or {num_groups}")

    # In float32 whatever autocast says: a sum of bfloat16 products would drown quiet sources.
    dtype = torch.promote_types(estimates.dtype, torch.float32)
    with torch.autocast(estimates.device.type, enabled=False):
        members = membership.to(dtype)
        sums = _group_sums(estimates.to(dtype), members).view(targets.shape)
        error = F.l1_loss(sums, targets.to(dtype), reduction="none").sum(dim=2)
        # A supervised example's sum is over millions of points: add those of a row first.
        totals = ((error * mask).sum(dim=2) * members.any(dim=2)).sum(dim=1)
        num_samples_known = mask.sum(dim=2, dtype=dtype)
        num_known = (num_samples_known * members.sum(dim=2)).sum(dim=1) * channels
        losses = totals / torch.where(num_known > 0, num_known, 1)
        shares = (num_known > 0).to(dtype)  # as known_shares has it, whose mask is long
        return losses, shares if weight is None else shares * weight.to(dtype)


def _group_sums(estimates: Tensor, members: Tensor) -> Tensor:
    """``(B, G, C T)``; where each source is a group, on a CPU, the estimates as they are.

    To ask a GPU would make this wait for it, which takes longer than the product.
    """
    flat = estimates.flatten(2)
    num_groups, num_sources = members.shape[1:]
    if members.device.type == "cpu" and num_groups == num_sources:
        alone = torch.eye(num_sources, dtype=members.dtype)
        if torch.equal(members, alone.expand_as(members)):
            return flat
    return torch.bmm(members, flat)


def known_shares(membership: Tensor, mask: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return what each example counts, ``(B,)``: its weight, or zero where nothing is known."""
    known = membership.any(dim=2) & mask.any(dim=2)
    has_known = known.any(dim=1).to(torch.float32)
    return has_known if weight is None else has_known * weight


def check_partition(membership: Tensor) -> None:
    """Check that every source is in exactly one group of its example.

    Args:
        membership: ``(B, G, S)`` or ``(G, S)``.

    Raises:
        ValueError: the first example and source for which it doesn't hold.

    >>> check_partition(torch.eye(4))
    >>> check_partition(torch.ones(2, 4))
    Traceback (most recent call last):
        ...
    ValueError: source 0 of example 0 is in 2 groups, not in one
    """
    values = membership.unsqueeze(0) if membership.dim() == 2 else membership
    values = values.to(torch.float32)
    if not bool(((values == 0) | (values == 1)).all()):
        raise ValueError("membership must hold zeros and ones only")
    num_groups = values.sum(dim=1)
    wrong = (num_groups != 1).nonzero()
    if len(wrong):
        example, source = (int(index) for index in wrong[0])
        count = int(num_groups[example, source])
        raise ValueError(f"source {source} of example {example} is in {count} groups, not in one")
