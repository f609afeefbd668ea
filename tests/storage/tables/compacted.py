"""Parts that silentmix 0.1.0 joined into one, which are read still."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from storage.fingerprint import short_hash
from storage.tables.joined import COMPACTED
from storage.tables.manifests import Manifests, Partition
from storage.tables.parts import ITEMS, REPLACES
from storage.tables.schemas import TABLES


def compact(manifests: Manifests, partition: Partition, *, killed: bool = False) -> int:
    """Join a partition's parts as 0.1.0 did; returns how many.

    Args:
        manifests: of the workspace.
        partition: whose parts.
        killed: before the parts that the new one replaces were removed.
    """
    parts = manifests.parts(partition)
    names = [PurePosixPath(part).name for part in parts]
    schema = TABLES[partition.table].schema
    metadata = {
        **schema.metadata,
        REPLACES: json.dumps(names),
        ITEMS: json.dumps(sorted(manifests.items(partition))),
    }
    rows = list(manifests.rows(partition, retired=True))
    table = pa.Table.from_pylist(rows, schema=schema.with_metadata(metadata))
    path = f"{partition.folder}/{COMPACTED}{short_hash(json.dumps(names), 24)}.parquet"
    manifests.workspace.put(path, lambda file: pq.write_table(table, file))
    for part in () if killed else parts:
        manifests.workspace.remove(part)
    return len(parts)
