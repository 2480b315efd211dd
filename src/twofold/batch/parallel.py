"""Doing the same for many things at once, where each of them waits for something far away.

Built of `_thread` and `SimpleQueue` alone, as `local` is, and for the same reason: Ctrl-C.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(call: Callable[[T], R], items: Sequence[T], *, limit: int) -> list[R]:
    """Call a function with each item, `limit` at a time, and give the results in order.

    Raises:
        BaseException: What the first call that failed raised. No further one is begun; those
            under way end by themselves.
    """
    if len(items) <= 1:
        return [call(item) for item in items]
    tasks: SimpleQueue[int] = SimpleQueue()
    done: SimpleQueue[tuple[int, R] | BaseException] = SimpleQueue()
    for index in range(len(items)):
        tasks.put(index)

    def work() -> None:
        try:
            while True:
                index = tasks.get_nowait()
                done.put((index, call(items[index])))
        except Empty:
            return
        except BaseException as error:  # noqa: BLE001 - it is raised where the results are taken
            done.put(error)

    for _ in range(min(limit, len(items))):
        _thread.start_new_thread(work, ())
    found: dict[int, R] = {}
    try:
        while len(found) < len(items):
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            found[result[0]] = result[1]
    finally:
        _empty(tasks)
    return [found[index] for index in range(len(items))]


def _empty(tasks: SimpleQueue[int]) -> None:
    try:
        while True:
            tasks.get_nowait()
    except Empty:
        return
