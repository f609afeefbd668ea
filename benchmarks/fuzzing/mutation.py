"""What is done to bytes and to values that were right once."""

from __future__ import annotations

import copy
import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

MOST_STEPS = 8
HEAD_BYTES = 512
LONGEST = 2**16
_WHOLE = (0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536,
          2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
_FORMATS = ("<B", "<H", ">H", "<I", ">I", "<Q", ">Q")

Step = Callable[[random.Random, bytearray, Sequence[bytes], Sequence[bytes]], None]


def mutated(
    draws: random.Random, content: bytes, tokens: Sequence[bytes], others: Sequence[bytes]
) -> bytes:
    """A file with a few things wrong, most of them near its beginning or its end.

    Args:
        draws: decides what.
        content: the file.
        tokens: texts that mean something in such a file.
        others: files to take pieces from.
    """
    changed = bytearray(content)
    steps = 1 + min(int(draws.expovariate(0.6)), MOST_STEPS - 1)
    for _ in range(steps):
        draws.choice(_STEPS)(draws, changed, tokens, others)
    return bytes(changed[: max(2 * len(content), LONGEST)])


def _place(draws: random.Random, content: bytearray) -> int:
    where, size = draws.random(), len(content)
    if where < 0.6:
        return draws.randrange(min(size, HEAD_BYTES) or 1)
    if where < 0.8:
        return max(0, size - 1 - draws.randrange(min(size, HEAD_BYTES) or 1))
    return draws.randrange(size or 1)


def _range(draws: random.Random, content: bytearray) -> slice:
    start = _place(draws, content)
    return slice(start, start + 1 + int(draws.expovariate(1 / draws.choice((4, 40, 2000)))))


def _flip_bit(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    if content:
        content[_place(draws, content)] ^= 1 << draws.randrange(8)


def _set_byte(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    if content:
        content[_place(draws, content)] = draws.randrange(256)


def _set_number(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    kind = draws.choice(_FORMATS)
    size = struct.calcsize(kind)
    start = _place(draws, content)
    if start + size > len(content):
        return
    (value,) = struct.unpack_from(kind, content, start)
    new = draws.choice((*_WHOLE, value + 1, value - 1, value * 2, value // 2, ~value))
    struct.pack_into(kind, content, start, new % 2 ** (8 * size))


def _delete(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    del content[_range(draws, content)]


def _repeat(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    piece = content[_range(draws, content)]
    start = _place(draws, content)
    content[start:start] = piece * draws.choice((1, 1, 2, 20))


def _noise(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    where = _range(draws, content)
    content[where] = draws.randbytes(len(content[where]))


def _zero(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    where = _range(draws, content)
    content[where] = draws.choice((b"\0", b"\xff", b" ")) * len(content[where])


def _cut_off(draws: random.Random, content: bytearray, *_: Sequence[bytes]) -> None:
    del content[draws.randrange(len(content) + 1) :]


def _token(
    draws: random.Random, content: bytearray, tokens: Sequence[bytes], _: Sequence[bytes]
) -> None:
    if tokens:
        token = draws.choice(tokens)
        start = _place(draws, content)
        over = len(token) if draws.random() < 0.5 else 0
        content[start : start + over] = token


def _splice(
    draws: random.Random, content: bytearray, _: Sequence[bytes], others: Sequence[bytes]
) -> None:
    if others:
        other = bytearray(draws.choice(others))
        piece = other[_range(draws, other)]
        start = _place(draws, content)
        content[start : start + draws.choice((0, len(piece)))] = piece


def _head_of_another(
    draws: random.Random, content: bytearray, _: Sequence[bytes], others: Sequence[bytes]
) -> None:
    if others:
        size = draws.choice((4, 12, 44, 200))
        content[:size] = draws.choice(others)[:size]


_STEPS: tuple[Step, ...] = (
    *2 * (_flip_bit,), *2 * (_set_byte,), *4 * (_set_number,), _delete, _repeat, _noise, _zero,
    _cut_off, *2 * (_token,), _splice, _head_of_another,
)  # fmt: skip

_STRANGE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 1e308, -1e308, 1e-320,
    math.nan, math.inf, -math.inf, "", " ", ".", "..", "/", "\0", "a\nb", "\x1b[2J", "=1+1",
    "\ud800", "é" * 200, "x" * 70_000, "1", "nan", "true", [], {}, [[]], [None], {"": None},
    {"$ref": "#"}, [0] * 300, "../../etc/passwd", "/etc/passwd", "a,b,,c", "*", "[", "%s{0}{x}",
)  # fmt: skip


def mutated_value(draws: random.Random, value: Any, tokens: Sequence[Any] = ()) -> Any:
    """A JSON-able value with a few things in it replaced, dropped, added or put elsewhere."""
    changed = copy.deepcopy(value)
    for _ in range(1 + min(int(draws.expovariate(0.7)), MOST_STEPS - 1)):
        places = list(_places(changed))
        if not places:
            return strange(draws, tokens)
        holder, key = draws.choice(places)
        what = draws.random()
        if what < 0.6:
            holder[key] = strange(draws, tokens)
        elif what < 0.7:
            del holder[key]
        elif what < 0.8:
            other, at = draws.choice(places)
            with_it = copy.deepcopy(other[at]) if _is_there(other, at) else None
            holder[key] = with_it
        elif isinstance(holder, dict):
            holder[str(strange(draws, tokens))[:100]] = holder[key]
        else:
            holder.append(strange(draws, tokens))
    return changed


def strange(draws: random.Random, tokens: Sequence[Any] = ()) -> Any:
    """A value that nobody expects there, or one that means something to somebody."""
    if tokens and draws.random() < 0.4:
        return copy.deepcopy(draws.choice(tokens))
    what = draws.random()
    if what < 0.2:
        return draws.randint(-1000, 100_000)
    if what < 0.3:
        return draws.uniform(-2, 2)
    if what < 0.4:
        return "".join(chr(draws.randrange(1, 0x2FF)) for _ in range(draws.randrange(12)))
    if what < 0.43:
        nested: Any = 1
        for _ in range(draws.choice((5, 200, 3000))):
            nested = [nested]
        return nested
    return copy.deepcopy(draws.choice(_STRANGE))


def _is_there(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a value: what holds it, and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < 1000:
        holder = waiting.pop()
        if isinstance(holder, dict):
            keys: list[Any] = list(holder)
        elif isinstance(holder, list):
            keys = list(range(len(holder)))
        else:
            continue
        found += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys]
    return found
