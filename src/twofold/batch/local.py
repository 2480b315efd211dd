"""The local engine: batches predicted by threads of this process, a bounded number at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from twofold.batch.chunks import Chunk
from twofold.batch.predict import Predicted


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

    Args:
        chunks: Read in the caller's thread, as room comes free.
        predict: Called in `workers` threads.
        workers: Threads.
        max_waiting: Batches held beyond one per worker, read or predicted.

    Yields:
        One result per batch, in the order of `chunks`.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="twofold-batch")
    held: deque[Future[Predicted]] = deque()
    try:
        for chunk in chunks:
            held.append(pool.submit(predict, chunk))
            if len(held) >= workers + max_waiting:
                yield held.popleft().result()
        while held:
            yield held.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
