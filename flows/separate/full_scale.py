"""Stems beyond full scale, where the file's format ends: made quieter, or cut off there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Clip = Literal["clamp", "rescale"]
Blocks = Iterator[NDArray[np.float32]]

LARGEST = 1 - 2.0**-15
"""What 16 bits hold."""


def within_full_scale(
    blocks: Blocks, names: Sequence[str], clip: Clip, say: Callable[[str], None]
) -> Blocks:
    """Blocks of stems ``(S, C, n)`` as they will be heard, and a word where they clip.

    All stems of a file are made quieter alike, so that they still add up. Their level is known once
    all of them are: till then they lie in a scratch file.

    Args:
        blocks: of the stems.
        names: of the stems.
        clip: what to do with those beyond full scale; the writer cuts them off.
        say: told in a line what was done.
    """
    peaks = np.zeros(len(names))

    def measured() -> Blocks:
        nonlocal peaks
        for block in blocks:
            if block.size:
                peaks = np.maximum(peaks, np.abs(block).max(axis=(1, 2)))
            yield block

    if clip == "clamp":
        yield from measured()
    else:
        yield from _rescaled(measured(), lambda: float(peaks.max()))
    loud = {name: peak for name, peak in zip(names, peaks, strict=True) if peak > 1}
    if not loud:
        return
    reached = ", ".join(f"{name} {peak:.2f}" for name, peak in loud.items())
    if clip == "rescale":
        less_db = 20 * np.log10(max(loud.values()) / LARGEST)
        say(f"all stems are {less_db:.1f} dB quieter, since some would clip ({reached})")
    else:
        say(
            f"stems beyond full scale are cut off there ({reached}); --clip rescale makes all "
            "stems quieter instead, and WAV with --bits 32 holds them"
        )


def _rescaled(blocks: Blocks, peak: Callable[[], float]) -> Blocks:
    with tempfile.TemporaryFile(prefix="silentmix-") as scratch:
        shapes = []
        for block in blocks:
            shapes.append(block.shape)
            scratch.write(np.ascontiguousarray(block, dtype=np.float32).tobytes())
        factor = np.float32(min(1.0, LARGEST / peak()) if peak() > 1 else 1.0)
        scratch.seek(0)
        for shape in shapes:
            content = scratch.read(4 * int(np.prod(shape)))
            yield np.frombuffer(content, dtype=np.float32).reshape(shape) * factor
