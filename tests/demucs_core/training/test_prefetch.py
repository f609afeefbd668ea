from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from demucs_core.training.prefetch import prefetched


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name == "prefetch"}


def test_the_same_items_come_in_the_same_order() -> None:
    assert list(prefetched(range(100))) == list(range(100))
    assert list(prefetched([])) == []
    assert not threads()


def test_one_item_is_made_ahead_and_no_more() -> None:
    made: list[int] = []
    ahead = threading.Event()

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            if number == 1:
                ahead.set()
            yield number

    given = prefetched(items())
    assert next(given) == 0
    assert ahead.wait(60)
    assert made == [0, 1]
    del given
    assert made == [0, 1]
    assert not threads()


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("of the second")

    given = prefetched(items())
    assert next(given) == 1
    with pytest.raises(ValueError, match="of the second"):
        next(given)
    assert not threads()
