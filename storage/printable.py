"""Names of files and songs, as text that can be stored and shown."""

from __future__ import annotations


def valid_text(name: str) -> str:
    r"""A name as valid Unicode: bytes of a local name that are none are written ``\xNN``."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(name: str) -> str:
    r"""A name as one printable line, for messages.

    >>> shown("a" + chr(27) + "[2J")
    'a\\x1b[2J'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in valid_text(name)
    )


def in_a_line(error: BaseException) -> str:
    """What an error says, or what it is called where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
