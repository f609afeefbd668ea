from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from demucs_core.ahead import ahead


def test_one_is_begun_ahead_and_no_more() -> None:
    begun: list[int] = []
    with ThreadPoolExecutor(1) as thread:
        found = ahead(thread, begun.append, range(4), 1)
        for expected in ([0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3]):
            next(found).result()
            thread.submit(int).result()  # what was given to the thread before is over
            assert begun == expected
