"""The local engine."""

from __future__ import annotations

import _thread
import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from twofold.batch.local import Behind, predict_in_order


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

    before = _thread._count()
    results = predict_in_order(cast("Any", iter(range(50))), predict, workers=4, max_waiting=2)
    with contextlib.closing(results), pytest.raises(MemoryError):
        list(results)
    until_no_more_than(before)


def test_closed_run_waits_for_the_batches_at_work_and_begins_no_others() -> None:
    at_work = threading.Semaphore(0)
    begun: list[int] = []
    finished: list[int] = []
    go_on = threading.Event()

    def predict(number: Any) -> Any:
        begun.append(number)
        at_work.release()
        assert number == 0 or go_on.wait(10)
        finished.append(number)
        return number

    before = _thread._count()
    results = predict_in_order(cast("Any", iter(range(50))), predict, workers=2, max_waiting=9)
    assert next(results) == cast("Any", 0)
    for _ in range(3):
        assert at_work.acquire(timeout=10)
    threading.Timer(0.05, go_on.set).start()
    results.close()
    assert sorted(begun) == sorted(finished) == [0, 1, 2]
    until_no_more_than(before)


def until_no_more_than(threads: int) -> None:
    end_s = time.monotonic() + 10
    while _thread._count() > threads:
        assert time.monotonic() < end_s
        time.sleep(0.001)


def test_what_is_done_behind_comes_in_order_and_one_at_a_time() -> None:
    done: list[int] = []
    at_work = threading.Lock()

    def note(number: int) -> None:
        with at_work:
            done.append(number)

    with Behind() as behind:
        at_work.acquire()
        behind.do(lambda: note(0))
        assert done == []  # and its caller goes on
        at_work.release()
        for number in range(1, 20):
            behind.do(functools.partial(note, number))
            assert len(done) >= number
        behind.wait()
    assert done == list(range(20))


def test_failure_behind_is_told_at_the_next_occasion_and_nothing_more_is_done() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with Behind() as behind:
        behind.do(fail)
        with pytest.raises(OSError, match="No space"):
            behind.do(lambda: done.append(1))
        behind.wait()
        behind.do(lambda: done.append(2))
        behind.wait()
    assert done == [2]


def test_what_is_given_is_done_at_the_end_whatever_happens() -> None:
    done: list[int] = []
    goes_on = threading.Event()

    def slowly() -> None:
        assert goes_on.wait(10)
        done.append(1)

    before = _thread._count()
    with contextlib.suppress(ZeroDivisionError), Behind() as behind:
        behind.do(slowly)
        goes_on.set()
        raise ZeroDivisionError
    assert done == [1]
    until_no_more_than(before)
