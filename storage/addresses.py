"""Addresses of what lies on any fsspec filesystem: paths, and URLs without a secret in them."""

from __future__ import annotations

import re
from typing import Any

from storage.errors import UserError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")

SECRET_PARAMETERS = ("token", "sig", "secret", "passw", "credential", "key")
"""What the name of a parameter has in it whose value opens an address to whoever has it."""


def _in_any_case(word: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" for letter in word)


NO_SECRET = "".join(
    (
        r"^(?!.*://[^/@\[]*:[^/]*@)(?!.*://[^/@\[]*:[^/]*[^/0-9][^/]*/.*@)",
        r"(?!.*[hH][tT][tT][pP][sS]?://[^/]*@)",
        *(rf"(?!.*://.*[?&][^=&]*{_in_any_case(word)}[^=&]*=)" for word in SECRET_PARAMETERS),
    )
)
"""What an address must match: a secret in it would be told by messages, logs and runs.

A password may have a slash in it, as every other one of AWS has; what follows a host is a port. Of
the web a name alone may be a token."""

_SECRETS = (
    re.compile(r"(:/{1,2})[^\s/@\[:]*:(?:[^\s/@]*@|[^\s/]*[^\s/0-9][^\s/]*/[^\s@]*@)"),
    re.compile(r"(https?:/{1,2})[^\s/@]+@", re.IGNORECASE),
)
_SECRET_PARAMETER = re.compile(
    rf"([?&][^\s=&]*(?:{'|'.join(SECRET_PARAMETERS)})[^\s=&]*=)[^\s&]+", re.IGNORECASE
)
"""As :data:`NO_SECRET`, in a text, and where an address was taken for a path."""

REFUSED = (
    "an address with a password or token in it, which would be kept with the run and told in "
    "messages; leave it out, with the name before it, and set FSSPEC_FTP_USERNAME and "
    "FSSPEC_FTP_PASSWORD, or what your filesystem is called in place of FTP; for the web set "
    """FSSPEC_HTTP='{"headers": {"Authorization": "Bearer ..."}}'"""
)


def is_url(location: str) -> bool:
    """Whether a location is an fsspec URL; anything else is a local path."""
    return _URL.match(location) is not None


def holds_secret(address: str) -> bool:
    """Whether a URL has a password before its host, or a parameter that opens it.

    >>> holds_secret("ftp://me:secret@host/music"), holds_secret("s3://bucket/a:b@c")
    (True, False)
    >>> holds_secret("s3://key:se/cret@bucket"), holds_secret("http://host:80/a@b")
    (True, False)
    >>> holds_secret("https://token@host/a"), holds_secret("sftp://me@host/a")
    (True, False)
    >>> holds_secret("https://host/a?v=1&X-Amz-Signature=0"), holds_secret("https://host/a?v=1")
    (True, False)
    """
    # as NO_SECRET says it, in a time that does not grow with the square of the length
    scheme, *rest = address.split("://")
    schemes = (scheme, *rest)
    return any(
        _begins_with_password(after)
        or (before.lower().endswith(("http", "https")) and "@" in after.partition("/")[0])
        for before, after in zip(schemes, rest, strict=False)
    ) or (bool(rest) and _has_secret_parameter(address))


def _begins_with_password(rest: str) -> bool:
    host, _, path = rest.partition("/")
    name, colon, port = host.partition(":")
    if not colon or "@" in name or "[" in name:
        return False
    return "@" in port or ("@" in path and port.strip("0123456789") != "")


def _has_secret_parameter(address: str) -> bool:
    for parameter in re.split("[?&]", address)[1:]:
        name, equals, _ = parameter.lower().partition("=")
        if equals and any(word in name for word in SECRET_PARAMETERS):
            return True
    return False


def without_secrets(text: str) -> str:
    """A text for people, in which addresses have stars in place of what opens them.

    >>> without_secrets("s3://key:se/cret@bucket/x: no such folder, http://host:80/a@b")
    's3://***@bucket/x: no such folder, http://host:80/a@b'
    >>> without_secrets("https://host/a?v=1&api_token=abc not found")
    'https://host/a?v=1&api_token=*** not found'
    """
    for secret in _SECRETS:
        text = secret.sub(r"\1***@", text)
    return _SECRET_PARAMETER.sub(r"\1***", text)


def filesystem_of(address: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path inside it.

    Raises:
        UserError: there is a secret in it; does not say which.
        ValueError: there is no such filesystem.
        ImportError: nothing that is installed reaches such a filesystem.
    """
    from fsspec.core import url_to_fs  # which is not there at once, and lines of output need none

    if holds_secret(address):
        raise UserError(REFUSED)
    filesystem, path = url_to_fs(address)
    return filesystem, path
