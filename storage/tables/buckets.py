"""Rows that need not fit in memory, shared out to files by a number, and read back file by file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Buckets:
    """Files of rows in a folder that is somebody's for as long as this lives.

    Rows that agree in what they are shared out by are in one bucket, so that whoever wants them
    together holds one bucket at a time.

    Args:
        folder: where to.
        name: of the files.
        dtype: of the rows, with named fields.
        num_buckets: files at most.
        rows_in_memory: written to the files when there are so many.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        dtype: DTypeLike,
        num_buckets: int = 64,
        rows_in_memory: int = 2**19,
    ) -> None:
        self._folder, self._name, self._dtype = folder, name, np.dtype(dtype)
        self._num_buckets, self._limit = num_buckets, rows_in_memory
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.void]]] = []
        self._num_waiting = 0

    def add(self, by: NDArray[np.unsignedinteger], **fields: NDArray[np.generic] | int) -> None:
        """Add rows.

        Args:
            by: what they are shared out by, ``(N,)``; its low bits should be well mixed.
            fields: their columns, ``(N,)`` or a value for all.
        """
        rows = np.empty(len(by), self._dtype)
        for field, values in fields.items():
            rows[field] = values
        self._waiting.append(((by % self._num_buckets).astype(np.int64), rows))
        self._num_waiting += len(by)
        if self._num_waiting >= self._limit:
            self._write()

    def __iter__(self) -> Iterator[NDArray[np.void]]:
        """The rows of each bucket, in no order; what is left in memory is written first."""
        self._write()
        for bucket in range(self._num_buckets):
            path = self._path(bucket)
            if path.exists():
                yield np.fromfile(path, self._dtype)

    def _write(self) -> None:
        if not self._waiting:
            return
        buckets = np.concatenate([found for found, _ in self._waiting])
        rows = np.concatenate([found for _, found in self._waiting])
        self._waiting, self._num_waiting = [], 0
        order = np.argsort(buckets, kind="stable")
        buckets, rows = buckets[order], rows[order]
        edges = np.searchsorted(buckets, np.arange(self._num_buckets + 1))
        for bucket in np.unique(buckets).tolist():
            with self._path(bucket).open("ab") as file:
                rows[edges[bucket] : edges[bucket + 1]].tofile(file)

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{self._name}-{bucket}"
