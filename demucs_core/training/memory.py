"""What to say where a training does not fit into memory: how much of it would."""

from __future__ import annotations

from collections.abc import Callable

import torch

CPU_SAYS = ("can't allocate memory", "not enough memory")
"""What torch says of the CPU's memory, in an error that has no class of its own."""

NO_ROOM_FOR_MOMENTS = (
    "the optimiser's two moments of each weight don't fit into memory, however small the batch: "
    "take a smaller model (channels, depth), or freeze some of its weights"
)


class OutOfMemoryError(MemoryError):
    """A batch does not fit into memory; the message says what would."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory is at its end."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in CPU_SAYS)


def largest_that_fits(fits: Callable[[int], bool], num_examples: int) -> int:
    """Find how many examples fit at once, by halving, trying each.

    Args:
        fits: tries so many of them, there and back.
        num_examples: that did not fit.

    Returns:
        A number that does; 0 where not even one does.

    >>> largest_that_fits(lambda num_examples: num_examples <= 2, 16)
    2
    """
    while num_examples > 1:
        num_examples //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if fits(num_examples):
            return num_examples
    return 0


def way_out(
    batch_size: int, accumulation: int, fitting: int, crop_samples: int, num_processes: int = 1
) -> str:
    """Say which parameter to lower, and to what.

    Args:
        batch_size: examples a step that are the process's own.
        accumulation: parts that they went through the model in.
        fitting: how many fit at once.
        crop_samples: length of each.
        num_processes: that train together.

    >>> way_out(16, 1, 4, 441_000).partition(": ")[2]
    'set accumulation to 4, which changes nothing else, or batch_size to 4'
    """
    at_once = -(-batch_size // accumulation)
    said = f"{at_once} examples of {crop_samples} samples at once don't fit into memory"
    if not fitting:
        return (
            f"{said}, and one does not either: lower crop_s, set recompute, or take a smaller "
            "model (channels, depth)"
        )
    return (
        f"{said}, {fitting} do: set accumulation to {-(-batch_size // fitting)}, which changes "
        f"nothing else, or batch_size to {fitting * num_processes}"
    )
