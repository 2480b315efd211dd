"""The requests that wait for a model: by class, in order of arrival, each with its deadline."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twofold.serving.priority import Priority


class CallerGone(Exception):
    """Nobody waits for the answer any more."""


class Task:
    """One admitted request.

    Attributes:
        work: What is to be predicted; only the lane knows how to read it.
        rows: How many rows it has, as far as is known.
        deadline_s: When its caller stops waiting, monotonic seconds.
        priority: Its class.
        done: Told how it ended, once: with the lane's answer, or with an error.
        admitted_s: When it was admitted.
        expected_s: In how many seconds from then its answer is expected.
        started_s: When its micro-batch was begun.
        predict_s: Seconds that its micro-batch took inside the model.
        gone: Its caller has hung up: nothing needs to be done any more.
        ended: `done` was called.
        alone: It was in hand when a process died: it may be the cause, so it gets no company.
    """

    __slots__ = (
        "admitted_s", "alone", "deadline_s", "done", "ended", "expected_s", "gone", "predict_s",
        "priority", "rows", "started_s", "work",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913, PLR0917 - made for every request, by position
        self,
        work: Any,
        rows: int,
        deadline_s: float,
        priority: Priority,
        done: Callable[[Any], None],
        admitted_s: float,
        expected_s: float,
    ) -> None:
        """Begin to wait."""
        self.work = work
        self.rows = rows
        self.deadline_s = deadline_s
        self.priority = priority
        self.done = done
        self.admitted_s = self.started_s = admitted_s
        self.expected_s = expected_s
        self.predict_s = 0.0
        self.gone = False
        self.ended = False
        self.alone = False

    def end(self, answer: Any) -> None:
        """Tell the caller, unless it was told or has gone."""
        if not self.ended:
            self.ended = True
            if not self.gone:
                self.done(answer)

    def leave(self) -> None:
        """The caller has hung up: what isn't begun yet needn't be."""
        self.end(CallerGone("the caller has hung up"))
        self.gone = True


class Waiting:
    """Tasks that wait, one queue for each class.

    Attributes:
        rows: Rows of each class that wait.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._queues: tuple[deque[Task], ...] = tuple(deque[Task]() for _ in Priority)
        self.rows = [0 for _ in Priority]

    def __len__(self) -> int:
        """How many wait, the gone ones too."""
        return sum(map(len, self._queues))

    def __iter__(self) -> Iterator[Task]:
        """Those that wait, the gone ones too."""
        return itertools.chain.from_iterable(self._queues)

    def rows_before(self, priority: Priority) -> int:
        """Rows that a newcomer of this class would have before it."""
        return sum(self.rows[: priority + 1])

    def push(self, task: Task) -> None:
        """Wait behind those of the same class."""
        self._queues[task.priority].append(task)
        self.rows[task.priority] += task.rows

    def push_back(self, task: Task) -> None:
        """Wait again, before all others of the same class."""
        self._queues[task.priority].appendleft(task)
        self.rows[task.priority] += task.rows

    def pop(
        self, *, max_rows: int, max_tasks: int, finish_s: Callable[[int], float]
    ) -> tuple[list[Task], list[Task]]:
        """Take the next micro-batch: what waits, up to a limit; never wait for more.

        It ends before a task that would make any of it miss its deadline.

        Args:
            max_rows: Rows it may have; a first task of more rows is taken alone.
            max_tasks: Tasks it may have.
            finish_s: When a micro-batch of so many rows would be done.

        Returns:
            The micro-batch, and the tasks that would come too late even by themselves. Tasks
            whose caller has gone are dropped.
        """
        batch: list[Task] = []
        expired: list[Task] = []
        rows, earliest_s = 0, float("inf")
        for priority, queue in enumerate(self._queues):
            while queue:
                task = queue[0]
                if task.gone or task.ended:
                    pass
                elif finish_s(task.rows) > task.deadline_s:
                    expired.append(task)
                elif batch and (
                    rows + task.rows > max_rows
                    or len(batch) >= max_tasks
                    or task.alone
                    or batch[0].alone
                    or finish_s(rows + task.rows) > min(earliest_s, task.deadline_s)
                ):
                    return batch, expired
                else:
                    batch.append(task)
                    rows += task.rows
                    earliest_s = min(earliest_s, task.deadline_s)
                queue.popleft()
                self.rows[priority] -= task.rows
        return batch, expired

    def expire(self, now_s: float) -> list[Task]:
        """Take out every task whose deadline has passed, and drop those whose caller has gone."""
        expired: list[Task] = []
        for priority, queue in enumerate(self._queues):
            if all(not task.gone and task.deadline_s > now_s for task in queue):
                continue
            kept = [task for task in queue if not task.gone and task.deadline_s > now_s]
            expired += [task for task in queue if not task.gone and task.deadline_s <= now_s]
            queue.clear()
            queue.extend(kept)
            self.rows[priority] = sum(task.rows for task in kept)
        return expired
