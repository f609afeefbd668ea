"""Runs: the maximal stretches of true frames in a mask, as start and stop frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def find_runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and (exclusive) stop frames of every maximal true run of a ``(F,)`` mask.

    >>> starts, stops = find_runs(np.array([1, 1, 0, 1], dtype=bool))
    >>> list(zip(starts.tolist(), stops.tolist()))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return edges[0::2].astype(np.int64), edges[1::2].astype(np.int64)


def fill_runs(
    starts: NDArray[np.int64], stops: NDArray[np.int64], num_frames: int
) -> NDArray[np.bool_]:
    """The ``(F,)`` mask that is true inside the given disjoint runs: inverse of ``find_runs``."""
    steps = np.zeros(num_frames + 1, dtype=np.int32)
    np.add.at(steps, starts, 1)
    np.add.at(steps, stops, -1)
    return np.cumsum(steps[:-1]) > 0


def drop_short_runs(mask: NDArray[np.bool_], min_frames: int) -> NDArray[np.bool_]:
    """The ``(F,)`` mask without its true runs shorter than ``min_frames``."""
    starts, stops = find_runs(mask)
    keep = stops - starts >= min_frames
    return fill_runs(starts[keep], stops[keep], len(mask))


def close_short_gaps(mask: NDArray[np.bool_], min_frames: int) -> NDArray[np.bool_]:
    """The ``(F,)`` mask with false gaps shorter than ``min_frames`` between true runs filled.

    What lies before the first and after the last true frame is no gap and stays false.
    """
    starts, stops = find_runs(mask)
    if len(starts) < 2:
        return mask.copy()
    wide = starts[1:] - stops[:-1] >= min_frames
    first = np.concatenate([[True], wide])
    last = np.concatenate([wide, [True]])
    return fill_runs(starts[first], stops[last], len(mask))


def counts_before(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """``(F+1,)`` running counts of true frames: ``c[b] - c[a]`` are true in ``[a, b)``."""
    return np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
