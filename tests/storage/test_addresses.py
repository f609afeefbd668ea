"""No address with a password in it is opened, or told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage.errors import UserError
from storage.finding.listing import open_location
from storage.museval_folder import read_results, run_folders
from storage.workspace import Workspace


def results(address: str) -> object:
    return read_results(address, set())


@pytest.mark.parametrize(
    "opened", [Workspace, Workspace.check, open_location, run_folders, results]
)
@pytest.mark.parametrize(
    "address", ["s3://me:geheim@bucket/x", "simplecache::ftp://me:geheim@host:21/x"]
)
def test_a_password_is_refused_and_not_told(opened: Callable[[str], object], address: str) -> None:
    with pytest.raises(UserError, match="an address with a password in it") as caught:
        opened(address)
    assert "geheim" not in str(caught.value)
