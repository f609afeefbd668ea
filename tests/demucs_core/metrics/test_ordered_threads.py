"""Order, look-ahead and thread settings of the thread map."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from demucs_core.metrics.ordered_threads import map_in_order

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_whichever_is_ready_first() -> None:
    first_may_end = threading.Event()

    def compute(item: int) -> int:
        if item == 0:
            assert first_may_end.wait(timeout=60)
        if item == 2:
            first_may_end.set()
        return 10 * item

    assert list(map_in_order(compute, range(20), CPU)) == [10 * item for item in range(20)]


def test_items_are_drawn_in_the_callers_thread_and_few_ahead() -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(30):
            assert threading.current_thread() is threading.main_thread()
            drawn += 1
            yield item

    for done, _ in enumerate(map_in_order(lambda item: item, items(), CPU)):
        assert drawn <= done + 5


def test_each_computation_has_one_thread_and_the_caller_its_own_again() -> None:
    threads = list(map_in_order(lambda _: torch.get_num_threads(), range(8), CPU))
    assert threads == [1] * 8
    assert torch.get_num_threads() == 3


def test_an_error_reaches_the_caller_and_the_setting_is_restored() -> None:
    def compute(item: int) -> float:
        return 1 / (item - 4)

    with pytest.raises(ZeroDivisionError):
        list(map_in_order(compute, range(8), CPU))
    assert torch.get_num_threads() == 3
