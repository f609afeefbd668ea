"""Addresses of what lies on any fsspec filesystem: paths, and URLs without a secret in them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import unquote

from storage.errors import UserError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")

_OF_THE_WEB = ("http", "https", "webdav", "webdavs", "dav", "davs")
"""Kinds of addresses in which a name before the host may be a token."""
_HERE = ("file", "local", "memory")
_WITHOUT_LOGIN = (*_HERE, "github")
_WITHOUT_PARAMETERS = (*_HERE, "s3", "s3a", "gs", "gcs")
_KINDS = (*_OF_THE_WEB, *_WITHOUT_LOGIN, *_WITHOUT_PARAMETERS, "ftp", "ftps", "sftp", "abfs", "az")
"""Those that are seen where one of the two slashes is missing."""

_IN_NAMES = ("token", "secret", "passw", "signature", "credential")
_NAMES = ("sig", "auth", "authorization", "pwd", "pass", "jwt", "sas", "bearer", "apikey",
          "api_key", "api-key", "x-api-key", "hdnts")  # fmt: skip
"""Parameters that open an address to whoever has them: names with these in them, and names."""
_LONG_KEY = 16
"""So many characters of a parameter ``key`` are none of music."""

_CHAIN = re.compile(r"(?<=[A-Za-z0-9])::(?=[A-Za-z])")
_PARAMETER = re.compile(r"([?&;#])([^=?&;#]*)=([^?&;#]*)")
_AFTER = ".,:;!)]}'\""
"""What a sentence puts behind an address."""

MOST_CHARACTERS = 4096
"""Of an address in a run form, whose pattern takes a while for long ones."""


def _form_pattern() -> str:
    def but(kinds: tuple[str, ...]) -> str:
        others = "".join(f"(?!{kind}:)" for kind in kinds)
        return rf"(?:[A-Za-z0-9]+::)*{others}[A-Za-z][A-Za-z0-9+.-]*://"

    def cased(word: str) -> str:
        return "".join(f"[{x}{x.upper()}]" if x.isalpha() else x for x in word)

    with_login, with_parameters = but(_WITHOUT_LOGIN), but(_WITHOUT_PARAMETERS)
    refused = [
        rf"{with_login}(?!arn:)[^/?#]*:[^/?#]*@",
        rf"{with_login}(?!arn:)[^/@\[]*:[^/]*[^/0-9][^/]*/.*@",
        *(rf"(?:[A-Za-z0-9]+::)*{cased(kind)}://[^/?#]*@" for kind in _OF_THE_WEB),
        *(rf"{with_parameters}.*[?&;#][^=?&;#]*{cased(word)}[^=?&;#]*=" for word in _IN_NAMES),
        *(rf"{with_parameters}.*[?&;#]{cased(name)}=" for name in _NAMES),
    ]
    return "^" + "".join(f"(?!{each})" for each in refused)


NO_SECRET = _form_pattern()
"""What an address matches that a run form takes: a secret in it would be kept with the run.

A password may have a slash in it, as every other one of AWS has; what follows a host is a port."""

REFUSED = (
    "an address with a password or token in it, which would be kept with the run and told in "
    "messages; leave it out, with the name before it, and set FSSPEC_FTP_USERNAME and "
    "FSSPEC_FTP_PASSWORD, or what your filesystem is called in place of FTP; for the web set "
    """FSSPEC_HTTP='{"headers": {"Authorization": "Bearer ..."}}'"""
)


def is_url(location: str) -> bool:
    """Whether a location is an fsspec URL; anything else is a local path."""
    return _URL.match(location) is not None


class _Address(NamedTuple):
    """A part of an address, of those that are chained by ``::``."""

    kind: str
    rest: str

    def login(self) -> int:
        """How much of the rest is a login with a secret in it, its ``@`` included."""
        host = re.split(r"[/?#]", self.rest, maxsplit=1)[0]
        if self.kind in _WITHOUT_LOGIN or host.startswith("arn:"):
            return 0
        user, at, _ = host.rpartition("@")
        if at:
            return len(user) + 1 if ":" in unquote(user) or self.kind in _OF_THE_WEB else 0
        name, colon, port = host.partition(":")
        is_port = not colon or "[" in name or not port.strip("0123456789")
        return 0 if is_port else self.rest.rfind("@") + 1

    def holds_secret(self) -> bool:
        """Whether there is one before its host or in its parameters."""
        told = _PARAMETER.findall(self.rest)
        return self.login() > 0 or any(self.is_secret(name, value) for _, name, value in told)

    def is_secret(self, name: str, value: str) -> bool:
        """Whether a parameter is one that opens the address."""
        name = unquote(name).lower()
        return self.kind not in _WITHOUT_PARAMETERS and (
            name in _NAMES
            or any(word in name for word in _IN_NAMES)
            or (name.endswith("key") and len(value) >= _LONG_KEY)
        )


def _address(part: str) -> _Address | None:
    """The first address in a text; None where there is none."""
    found = re.search(":/{1,2}", part)
    if found is None:
        return None
    kind = re.search(
        r"[A-Za-z][A-Za-z0-9+.-]{0,19}\Z", part[max(0, found.start() - 20) : found.start()]
    )
    if kind is None or (found[0] == ":/" and kind[0].lower() not in _KINDS):
        return None
    return _Address(kind[0].lower(), part[found.end() :])


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
    found = map(_address, _CHAIN.split(address))
    return any(each is not None and each.holds_secret() for each in found)


def without_secrets(text: str) -> str:
    """A text for people, in which addresses have stars in place of what opens them.

    >>> without_secrets("s3://key:se/cret@bucket/x: no such folder, http://host:80/a@b")
    's3://***@bucket/x: no such folder, http://host:80/a@b'
    >>> without_secrets("https://host/a?v=1&api_token=abc: not found")
    'https://host/a?v=1&api_token=***: not found'
    """
    return re.sub(r"\S+", lambda word: "::".join(map(_starred, _CHAIN.split(word[0]))), text)


def _starred(part: str) -> str:
    address = _address(part)
    if address is None:
        return part
    before, rest = part.removesuffix(address.rest), address.rest
    if login := address.login():
        rest = f"***@{rest[login:]}"

    def star(told: re.Match[str]) -> str:
        separator, name, value = told.groups()
        after = value[len(value.rstrip(_AFTER)) :]
        return f"{separator}{name}=***{after}" if address.is_secret(name, value) else told[0]

    return before + _PARAMETER.sub(star, rest)


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
