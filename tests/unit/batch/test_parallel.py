"""Several things at once."""

from __future__ import annotations

import threading

import pytest

from twofold.batch.parallel import in_parallel


def test_results_come_in_order_and_no_more_than_the_limit_are_under_way() -> None:
    lock = threading.Lock()
    now, most = 0, 0

    def call(item: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        with lock:
            now -= 1
        return item * 2

    assert in_parallel(call, range(100), limit=3) == [item * 2 for item in range(100)]
    assert 1 <= most <= 3
    assert in_parallel(call, [], limit=3) == []


def test_the_first_failure_is_raised_and_nothing_more_is_begun() -> None:
    begun: list[int] = []

    def call(item: int) -> None:
        begun.append(item)
        raise OSError(str(item))

    with pytest.raises(OSError, match=r"^\d$"):
        in_parallel(call, range(100), limit=2)
    assert len(begun) <= 2
