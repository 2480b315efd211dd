"""The local engine: batches predicted by threads of this process, a bounded number at a time.

Reading is the main thread's; what was predicted is written behind its back, by one more.

It is built of `_thread` and `queue.SimpleQueue` alone, because the thread that waits here is the
main one, which Ctrl-C interrupts anywhere. Locks written in Python, on which
`concurrent.futures` and `threading.Thread.start` wait, may then stay held for good, and the
process never ends; those of `SimpleQueue` are made for it ("reentrant" in its documentation).
"""

from __future__ import annotations

import _thread
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from queue import Empty, SimpleQueue
from typing import Self

from twofold.batch.chunks import Chunk
from twofold.batch.predict import Predicted

Answer = SimpleQueue[Predicted | BaseException]
"""Where the result of one batch is put, once."""
Tasks = SimpleQueue[tuple[Chunk, Answer] | None]
"""What the threads take; None ends one of them."""


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: the container's share, not the machine's
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def predict_in_order(
    chunks: Iterable[Chunk],
    predict: Callable[[Chunk], Predicted],
    *,
    workers: int,
    max_waiting: int,
) -> Generator[Predicted]:
    """Predict batches while the next ones are read and the last ones written.

    Interrupted or closed, it still waits for the batches in the threads' hands; interrupted once
    more, it leaves the threads behind, which end with the process.

    Args:
        chunks: Read in the caller's thread, as room comes free.
        predict: Called in `workers` threads.
        workers: Threads.
        max_waiting: Batches held beyond one per worker, read or predicted.

    Yields:
        One result per batch, in the order of `chunks`.
    """
    tasks: Tasks = SimpleQueue()
    ended: SimpleQueue[None] = SimpleQueue()
    held: deque[Answer] = deque()
    started = 0
    try:
        while started < workers:
            _thread.start_new_thread(_work, (tasks, predict, ended))
            started += 1
        for chunk in chunks:
            answer: Answer = SimpleQueue()
            tasks.put((chunk, answer))
            held.append(answer)
            if len(held) >= workers + max_waiting:
                yield _result(held.popleft())
        while held:
            yield _result(held.popleft())
    finally:
        _empty(tasks)
        for _ in range(workers):
            tasks.put(None)
        for _ in range(started):
            ended.get()


class Behind:
    """Does one thing at a time in a thread of its own, while its caller goes on.

    Used as a context, at whose end nothing is being done any more; interrupted there, it leaves
    the thread behind, which ends with the process.
    """

    def __init__(self) -> None:
        """Have nothing to do."""
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._ended: SimpleQueue[None] = SimpleQueue()
        self._is_busy = False

    def __enter__(self) -> Self:
        """Start the thread."""
        _thread.start_new_thread(_do_behind, (self._tasks, self._done, self._ended))
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until all that was given is done; `wait` tells what it raised, and this does not."""
        self._tasks.put(None)
        self._ended.get()

    def do(self, call: Callable[[], None]) -> None:
        """Do something as soon as what came before is done.

        Raises:
            BaseException: What that raised.
        """
        self.wait()
        self._tasks.put(call)
        self._is_busy = True

    def wait(self) -> None:
        """Wait until all is done.

        Raises:
            BaseException: What it raised.
        """
        if not self._is_busy:
            return
        error = self._done.get()
        self._is_busy = False
        if error is not None:
            raise error


def _do_behind(
    tasks: SimpleQueue[Callable[[], None] | None],
    done: SimpleQueue[BaseException | None],
    ended: SimpleQueue[None],
) -> None:
    while (call := tasks.get()) is not None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - it is raised where its caller waits
            done.put(error)
        else:
            done.put(None)
        del call  # or what it holds would be kept until the next one comes
    ended.put(None)


def _work(tasks: Tasks, predict: Callable[[Chunk], Predicted], ended: SimpleQueue[None]) -> None:
    while (task := tasks.get()) is not None:
        chunk, answer = task
        try:
            answer.put(predict(chunk))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is taken
            answer.put(error)
        del task, chunk, answer  # or they would be kept until the next batch comes
    ended.put(None)


def _result(answer: Answer) -> Predicted:
    result = answer.get()
    if isinstance(result, BaseException):
        raise result
    return result


def _empty(tasks: Tasks) -> None:
    try:
        while True:
            tasks.get_nowait()
    except Empty:
        return
