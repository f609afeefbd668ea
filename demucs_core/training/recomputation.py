"""Less memory for more time: activations that are computed again on the way back."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_blocks(model: nn.Module) -> None:
    """Make the blocks of a model, the members of its module lists, forget their activations.

    Their weights keep their names.

    Raises:
        ValueError: the model has no module list.
    """
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(
            f"recompute: {type(model).__name__} has no blocks (nn.ModuleList); set it to false, "
            "and accumulation higher instead"
        )
    inside = {
        id(module)
        for blocks in lists
        for block in blocks
        for module in block.modules()
        if module is not block
    }
    for blocks in lists:
        for block in blocks:
            if id(block) not in inside:  # a block of a block is computed again with it
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
