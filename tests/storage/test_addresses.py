"""No address with a password in it is opened, or told."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from storage.addresses import MOST_CHARACTERS, NO_SECRET, holds_secret, without_secrets
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
        ("/music/what?token=1", False),
        ("ftp://user@example.org:geheim@host/m", True),
        ("s3://me@x:geheim@bucket/x", True),
        ("webdavs://ghp_1@host", True),
        ("https://host/x?auth=geheim", True),
        ("https://host/x?pwd=geheim&v=1", True),
        ("https://host/x;token=geheim", True),
        ("https://host/x#access_token=geheim", True),
        ("https://host/?keyword=jazz&design=1&signal=2", False),
        ("https://host/?key=Am&bpm=120", False),
        ("s3://bucket/song?token=C.wav", False),
        ("s3://bucket/x/http://a@b", False),
        ("s3://arn:aws:s3:us-west-2:1:accesspoint/mine/a@b.wav", False),
        ("github://org:repo@main/path", False),
        ("memory://a:b/c@d", False),
        ("https://host?mail=a@b", False),
    ],
)
def test_the_form_and_the_command_line_refuse_alike(address: str, holds: bool) -> None:
    assert holds_secret(address) is holds
    assert (re.search(NO_SECRET, address) is None) is holds
    starred = without_secrets(f"'{address}': not found")
    assert (starred != f"'{address}': not found") is holds
    assert not re.search("geheim|ghp_1|se/cret", starred)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://me%3Ageheim@host/x",
        "https:/me:geheim@host/x",
        "https://host/x?to%6ben=geheim",
        "https://host/x?key=geheim-geheim-geheim",
        "ftp://me:ge#heim@host/x",
    ],
)
def test_what_a_form_does_not_know_is_refused_all_the_same(address: str) -> None:
    assert holds_secret(address)
    assert "heim" not in without_secrets(f"{address}: not found")


@pytest.mark.parametrize("unit", ["?token", "://?token", "a::", ":/", "x@:", "?key="])
def test_long_texts_take_no_longer_than_they_are_long(unit: str) -> None:
    """Some of these took a time that grew with the cube of the length."""
    text = "nosuch://x/" + unit * (200_000 // len(unit))
    holds_secret(text)
    without_secrets(text)
    re.search(NO_SECRET, text[:MOST_CHARACTERS])
