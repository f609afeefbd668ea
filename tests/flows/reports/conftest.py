from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows.conftest import reports


@pytest.fixture(scope="module", autouse=True)
def drawn() -> Iterator[None]:
    """What these tests are about."""
    with reports(drawn=True):
        yield
