"""What the schemas say of their own columns."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from storage.tables.schemas import HEARD, TABLES


def names_music(name: str, kind: Any, text: str) -> bool:
    """Whether a column has ids of tracks or songs, by its name, its type or what is said of it."""
    is_list = pa.types.is_list(kind) and pa.types.is_struct(kind.value_type)
    inner = [field.name for field in kind.value_type] if is_list else []
    return "track_id" in (name, *inner) or "as in tracks" in text or "as in stems" in text


def test_columns_that_name_music_are_known() -> None:
    for table in TABLES.values():
        found = tuple(field[0] for field in table.fields if names_music(*field))
        assert table.music == (() if table is HEARD else found), table.name
