"""Lengths of time in words."""

from __future__ import annotations

UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def spell(duration_s: float) -> str:
    """A length of time, to two units.

    >>> [spell(duration_s) for duration_s in (0.04, 59.7, 200, 7500, 90_000)]
    ['0.04 s', '1 min', '3 min 20 s', '2 h 5 min', '1 d 1 h']
    """
    if duration_s < 9.95:
        return f"{duration_s:.2g} s"
    left = round(duration_s)
    words: list[str] = []
    for length, unit in UNITS:
        count, left = divmod(left, length)
        if count or words:
            words.append(f"{count} {unit}" if count else "")
    return " ".join(word for word in words[:2] if word)
