"""No address with a password in it is opened, or told."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from storage.addresses import NO_SECRET, holds_secret
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
    "address",
    [
        "s3://me:geheim@bucket/x",
        "s3://me:ge/geheim@bucket/x",
        "simplecache::ftp://me:geheim@host:21/x",
        "https://geheim@host/x",
        "abfs://music/x?sv=2024&sig=geheim",
    ],
)
def test_a_password_is_refused_and_not_told(opened: Callable[[str], object], address: str) -> None:
    with pytest.raises(UserError, match="an address with a password or token in it") as caught:
        opened(address)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("s3://AKIA:se/cret@bucket/x", True),
        ("ftp://u:@host", True),
        ("http://host:80/a@b", False),
        ("ftp://[::1]:21/x@y", False),
        ("s3://bucket/a:b@c", False),
        ("file:///C:/a@b", False),
        ("https://ghp_1@host/x", True),
        ("simplecache::HTTP://ghp_1@host/x", True),
        ("sftp://me@host/x", False),
        ("https://host/x@y", False),
        ("https://host/x?X-Amz-Signature=0", True),
        ("https://host/x?v=1&access_Token=0", True),
        ("https://host/x?v=1&page=token", False),
        ("/music/what?key=1", False),
    ],
)
def test_the_form_and_the_command_line_refuse_alike(address: str, holds: bool) -> None:
    assert holds_secret(address) is holds
    assert (re.search(NO_SECRET, address) is None) is holds
