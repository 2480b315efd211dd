"""The way to a model: who is admitted, who waits, and what is predicted next.

A lane is chosen by what the model costs (`twofold.serving.measure`): the event loop itself, turn
by turn (`turn`), or a process of the model's own (`apart`). Admission is the same for both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import random

from twofold.errors import DeadlineExceeded, Overloaded, problem
from twofold.serving.admission import Load, admits, retry_after_s
from twofold.serving.cost import Cost
from twofold.serving.native import Gate, new_gate
from twofold.serving.priority import Priority
from twofold.serving.waiting import Task, Waiting

WORTH = 10.0
"""A micro-batch grows until its fixed cost is a tenth of what its rows cost: from there on, more
rows only make the first of them wait."""
LEAST_ROWS = 4
"""It may always have so many rows: with single ones the two costs could never be told apart."""
PROBE_S = 0.25
"""How often an idle model is asked although its answer is expected to be late."""

LONG_S = 0.1
SHUT_S = 0.002
"""For so long, a refusal holds for all that have no better chance, unless something changes: it
is under the heaviest load that refusing must cost least."""


@dataclass(frozen=True, slots=True)
class _Shut:
    """A refusal that was just given, for the next ones."""

    error: Overloaded
    rows: int
    priority: Priority
    left_s: float
    until_s: float

    def holds(self, rows: int, priority: Priority, left_s: float, now_s: float) -> bool:
        """Whether a request has no better chance than the one that was refused."""
        return (
            now_s < self.until_s
            and left_s <= self.left_s + SHUT_S
            and rows >= self.rows
            and priority >= self.priority
        )


class Lane:
    """Admits and queues; its subclasses predict.

    Attributes:
        cost: Of the model, kept up to date by the subclass.
        waiting: Those admitted whose turn is yet to come.
        gate: Where a refusal is kept for the next requests, natively, if that was built.
        shed_s: When a request was last refused because of load, monotonic seconds; those that were
            refused natively meanwhile are not looked at.
    """

    def __init__(
        self,
        cost: Cost,
        *,
        max_rows: int,
        max_tasks: int,
        clock: Callable[[], float],
        lag_s: Callable[[float], float],
    ) -> None:
        """Begin empty.

        Args:
            cost: Of the model, kept up to date by the subclass.
            max_rows: Rows of one micro-batch.
            max_tasks: Requests that may wait.
            clock: Monotonic seconds.
            lag_s: How late the event loop is at an instant.
        """
        self.cost = cost
        self.waiting = Waiting()
        self.clock = clock
        self._max_rows = max_rows
        self._max_tasks = max_tasks
        self._lag_s = lag_s
        self._shut: _Shut | None = None
        self.gate: Gate | None = new_gate()
        self._probed_s = -math.inf
        self.shed_s = -math.inf

    @property
    def batch_rows(self) -> int:
        """Rows that one micro-batch is worth having."""
        curve = self.cost.curve
        if curve.fixed_s >= curve.per_row_s * self._max_rows / WORTH:
            return self._max_rows
        rows = math.ceil(WORTH * curve.fixed_s / curve.per_row_s)
        return max(min(LEAST_ROWS, self._max_rows), rows)

    @property
    def rows_per_s(self) -> float:
        """Rows that can be predicted per second, in full micro-batches."""
        rows = self.batch_rows
        return rows / max(self.cost.curve(rows), 1e-9)

    def busy_s(self, now_s: float) -> float:
        """Predicted seconds until what is being predicted is done."""
        raise NotImplementedError

    def submit(self, task: Task) -> None:
        """Take an admitted task."""
        raise NotImplementedError

    def admit(self, rows: int, priority: Priority, deadline_s: float, now_s: float) -> float:
        """Let a request in, or refuse it.

        Returns:
            In how many seconds its answer is expected, if all goes as predicted.

        Raises:
            Overloaded: Its turn would come after its deadline, or too many wait.
        """
        left_s = deadline_s - now_s
        shut = self._shut
        if shut is not None and shut.holds(rows, priority, left_s, now_s):
            self.shed_s = now_s
            raise shut.error.with_traceback(None)
        curve = self.cost.curve
        before = self.waiting.rows_before(priority)
        calls = math.ceil(before / self.batch_rows)
        load = Load(
            self._lag_s(now_s),
            self.busy_s(now_s) + calls * curve.fixed_s + before * curve.per_row_s,
            curve(rows),
            self.cost.margin(now_s),
        )
        if len(self.waiting) < self._max_tasks and admits(load, priority, left_s):
            return load.lag_s + load.ahead_s + load.own_s
        expected_s, self.shed_s = load.expected_s, now_s
        error = Overloaded(
            f"server: expected an answer within {in_ms(left_s)}, got a queue of "
            f"{in_ms(expected_s)}. Try again later.",
            retry_after_s=retry_after_s(expected_s, random()),  # noqa: S311 - no secret
        )
        self._shut = _Shut(error, rows, priority, left_s, now_s + SHUT_S)
        raise error

    def changed(self) -> None:
        """Note that less waits than before: who was refused might be admitted now."""
        self._shut = None
        if self.gate is not None:
            self.gate.open()

    def shut_until_s(self, error: Exception) -> float | None:
        """Until when a refusal holds for others like it, if nothing changes; None if it doesn't."""
        shut = self._shut
        return shut.until_s if shut is not None and shut.error is error else None

    def take(self, now_s: float, *, begins_s: float) -> list[Task]:
        """Take the micro-batch that begins then; end what can't be in time any more."""
        self.changed()
        curve, margin = self.cost.curve, self.cost.margin(now_s)
        batch, expired = self.waiting.pop(
            max_rows=self.batch_rows,
            max_tasks=self._max_tasks,
            finish_s=lambda rows: begins_s + margin * curve(rows),
        )
        if not batch and begins_s <= now_s and now_s - self._probed_s >= PROBE_S:
            # Nothing else is to be done. If nobody were ever predicted of whom it is expected to
            # take too long, an expectation that is wrong would never be put right.
            # A few rows are enough: many would take long indeed.
            few = self.batch_rows
            batch = [task for task in expired if task.deadline_s > now_s and task.rows <= few][:1]
            self._probed_s = now_s if batch else self._probed_s
        for task in expired:
            if task not in batch:
                task.end(too_late(task))
        return batch


def in_ms(seconds: float) -> str:
    """A time in milliseconds, short ones with three digits."""
    return f"{seconds * 1000:.0f} ms" if seconds >= LONG_S else f"{seconds * 1000:.3g} ms"


def too_late(task: Task) -> DeadlineExceeded:
    """Say that a task's turn didn't come in time."""
    allowed_s = task.deadline_s - task.admitted_s
    return DeadlineExceeded(
        problem(
            "deadline",
            f"{in_ms(allowed_s)} to be enough",
            "a longer queue; the model wasn't asked",
            "Try again later, or send X-Twofold-Deadline-Ms with more time.",
        )
    )
