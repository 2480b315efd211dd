"""The local engine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from twofold.batch.local import predict_in_order


def test_results_come_in_order_although_later_ones_are_ready_first() -> None:
    second_done = threading.Event()

    def predict(number: Any) -> Any:
        if number == 0:
            assert second_done.wait(10)
        if number == 1:
            second_done.set()
        return number

    chunks = cast("Any", iter(range(10)))
    assert list(predict_in_order(chunks, predict, workers=2, max_waiting=3)) == list(range(10))


def test_no_more_is_read_ahead_than_allowed() -> None:
    read: list[int] = []

    def chunks() -> Iterator[Any]:
        for number in range(50):
            read.append(number)
            yield number

    results = predict_in_order(chunks(), lambda chunk: chunk, workers=2, max_waiting=3)
    for done, _ in enumerate(results):
        assert len(read) <= done + 5
    assert len(read) == 50


def test_failure_ends_the_run_and_no_thread_stays_behind() -> None:
    def predict(number: Any) -> Any:
        if number == 3:
            raise MemoryError
        return number

    chunks = cast("Any", iter(range(50)))
    results = predict_in_order(chunks, predict, workers=4, max_waiting=2)
    with contextlib.closing(cast("Any", results)), pytest.raises(MemoryError):
        list(results)
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("twofold-batch")]
