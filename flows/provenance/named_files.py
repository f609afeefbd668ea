"""How a person names a file of music: by its address, by its path from here, or by their ends."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path

from storage.addresses import is_url


def addresses(name: str) -> tuple[str, ...]:
    """The whole addresses that a name may stand for: itself, and a path from the folder here.

    >>> addresses("s3://bucket/a.wav"), addresses("/music/a/../b.wav")
    (('s3://bucket/a.wav',), ('/music/a/../b.wav', '/music/b.wav'))
    """
    return (name,) if is_url(name) else (name, posixpath.normpath(Path(name).absolute()))


def is_ending(name: str) -> bool:
    """Whether it may be the end of an address: it does not say where it begins.

    >>> is_ending("a.wav"), is_ending("album/a.wav"), is_ending("./a.wav"), is_ending("/a.wav")
    (True, True, False, False)
    """
    return not is_url(name) and {"", ".", ".."}.isdisjoint(name.split("/"))


def endings(address: str) -> Iterator[str]:
    """What an address ends with, from its last name on.

    >>> [*endings("/music/album/a.wav")]
    ['a.wav', 'album/a.wav', 'music/album/a.wav']
    """
    start = len(address)
    while (start := address.rfind("/", 0, start)) >= 0:
        yield address[start + 1 :]
