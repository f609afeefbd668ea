"""What the Prefect server has to show."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.settings import PREFECT_API_URL


def artifacts(**filters: Any) -> list[dict[str, Any]]:
    """The artifacts that the server has, newest first; ``key`` and ``flow_run_id`` choose."""
    wanted = {name: {"any_": [value]} for name, value in filters.items()}
    answer = httpx.post(
        f"{PREFECT_API_URL.value()}/artifacts/filter",
        json={"artifacts": wanted, "sort": "CREATED_DESC"},
    )
    found: list[dict[str, Any]] = answer.raise_for_status().json()
    return found
