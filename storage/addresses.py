"""Addresses of what lies on any fsspec filesystem: paths, and URLs without a password in them."""

from __future__ import annotations

import re
from typing import Any

from storage.errors import UserError

NO_PASSWORD = r"^(?!.*://[^/@\[]*:[^/]*@)(?!.*://[^/@\[]*:[^/]*[^/0-9][^/]*/.*@)"  # noqa: S105  a pattern
"""What an address must match: a password in it would be told by messages, logs and runs.

A password may have a slash in it, as every other one of AWS has; what follows a host is a port."""

_PASSWORD = re.compile(r"(:/{1,2})[^\s/@\[:]*:(?:[^\s/@]*@|[^\s/]*[^\s/0-9][^\s/]*/[^\s@]*@)")
"""As :data:`NO_PASSWORD`, in a text, and where an address was taken for a path."""

REFUSED = (
    "an address with a password in it, which would be kept with the run and told in messages; "
    "leave both name and password out, and set FSSPEC_FTP_USERNAME and FSSPEC_FTP_PASSWORD, or "
    "what your filesystem is called in place of FTP"
)


def holds_password(address: str) -> bool:
    """Whether a URL has a password before its host.

    >>> holds_password("ftp://me:secret@host/music"), holds_password("s3://bucket/a:b@c")
    (True, False)
    >>> holds_password("s3://key:se/cret@bucket"), holds_password("http://host:80/a@b")
    (True, False)
    """
    # as NO_PASSWORD says it, in a time that does not grow with the square of the length
    return any(map(_begins_with_password, address.split("://")[1:]))


def _begins_with_password(rest: str) -> bool:
    host, _, path = rest.partition("/")
    name, colon, port = host.partition(":")
    if not colon or "@" in name or "[" in name:
        return False
    return "@" in port or ("@" in path and port.strip("0123456789") != "")


def without_passwords(text: str) -> str:
    """A text for people, in which addresses have stars in place of who opens them.

    >>> without_passwords("s3://key:se/cret@bucket/x: no such folder, http://host:80/a@b")
    's3://***@bucket/x: no such folder, http://host:80/a@b'
    """
    return _PASSWORD.sub(r"\1***@", text)


def filesystem_of(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path inside it.

    Raises:
        UserError: there is a password in it; does not say which.
        ValueError: there is no such filesystem.
        ImportError: nothing that is installed reaches such a filesystem.
    """
    from fsspec.core import url_to_fs  # which is not there at once, and lines of output need none

    if holds_password(address):
        raise UserError(REFUSED)
    filesystem, path = url_to_fs(address)
    return filesystem, path
