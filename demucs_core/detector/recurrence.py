"""A recurrent net over blocks of frames, so that how far it hears is finite.

Shapes: B batch, D channels, F frames.

A bidirectional net hears the whole of what it is given, so a song in chunks would have other
scores than in one piece. Here it runs over blocks of frames with their neighbourhood, each from a
fresh state. A frame's output then depends on its block and ``CONTEXT_FRAMES`` on each side of it,
and chunks that begin where a block begins give exactly the scores of one piece.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK_FRAMES = 128
"""Frames of a block: about as long as the crops of training."""

CONTEXT_FRAMES = 64
"""Frames on each side of a block that the net runs over before and after it: 6 seconds, as far
as the dilated convolutions hear."""


def in_blocks(net: Callable[[Tensor], Tensor], hidden: Tensor) -> Tensor:
    """What ``net`` makes of ``(B, D, F)``, block by block: a tensor with as many frames.

    >>> in_blocks(lambda frames: frames.cumsum(-1), torch.ones(1, 1, 3))
    tensor([[[1., 2., 3.]]])
    """
    parts = []
    for start in range(0, hidden.shape[-1], BLOCK_FRAMES):
        first = max(0, start - CONTEXT_FRAMES)
        around = net(hidden[..., first : start + BLOCK_FRAMES + CONTEXT_FRAMES])
        parts.append(around[..., start - first : start - first + BLOCK_FRAMES])
    return torch.cat(parts, dim=-1)
