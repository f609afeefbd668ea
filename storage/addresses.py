"""Addresses of what lies on any fsspec filesystem: paths, and URLs without a password in them."""

from __future__ import annotations

from typing import Any

from fsspec.core import url_to_fs

from storage.errors import UserError

NO_PASSWORD = r"^(?!.*://[^/@]*:[^/]*@)"  # noqa: S105  a pattern
"""What an address must match: a password in it would be told by messages, logs and runs."""

REFUSED = (
    "an address with a password in it, which would be kept with the run and told in messages; "
    "leave both name and password out, and set FSSPEC_FTP_USERNAME and FSSPEC_FTP_PASSWORD, or "
    "what your filesystem is called in place of FTP"
)


def holds_password(address: str) -> bool:
    """Whether a URL has a password before its host.

    >>> holds_password("ftp://me:secret@host/music"), holds_password("s3://bucket/a:b@c")
    (True, False)
    """
    # as NO_PASSWORD says it, in a time that does not grow with the square of the length
    hosts = (rest.partition("/")[0] for rest in address.split("://")[1:])
    return any("@" in host and ":" in host.partition("@")[0] for host in hosts)


def filesystem_of(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path inside it.

    Raises:
        UserError: there is a password in it; does not say which.
        ValueError: there is no such filesystem.
        ImportError: nothing that is installed reaches such a filesystem.
    """
    if holds_password(address):
        raise UserError(REFUSED)
    filesystem, path = url_to_fs(address)
    return filesystem, path
