"""Predicting in a process of the model's own: for models that would block the event loop.

While the process predicts, requests wait here; when it is free it is given all that wait, up to
a limit, and never made to wait for more. One micro-batch lies ready in its mailbox meanwhile, so
that it is never idle for want of word from a busy loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twofold.errors import ConfigError, DeadlineExceeded, Overloaded, PredictionFailed, problem
from twofold.serving.admission import MIN_RETRY_S
from twofold.serving.cost import Curve
from twofold.serving.lane import Lane, in_ms, too_late
from twofold.serving.mailbox import MAX_TASKS, SLOTS, Hello, Job, Mailbox, Sender
from twofold.serving.priority import Priority
from twofold.serving.restarts import Restarts
from twofold.serving.waiting import Task

log = logging.getLogger("twofold.serving")

COUNTED_BYTES = 65_536
MAX_BATCHES_HELD = 4
"""So many times the bodies of a micro-batch may wait; bodies that aren't counted are few bytes."""
JOIN_S = 1.0
"""A killed process is gone sooner, unless the system itself hangs."""
SWEEP_S = 0.005
"""How often deadlines are looked at while somebody waits; a 504 is that much late at most."""
RETRY_S = 1.0
"""After so long it is tried again to start a process, where the system couldn't."""


class Process(Protocol):
    """What is needed of a process: `multiprocessing.Process` has it."""

    def kill(self) -> None: ...  # noqa: D102 - as there
    def join(self, timeout: float | None = None) -> None: ...  # noqa: D102


class Loop(Protocol):
    """What is needed of an event loop."""

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> Any: ...  # noqa: D102
    def remove_reader(self, fd: Any) -> Any: ...  # noqa: D102
    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class Child:
    """A process that was started to load the model, say hello, and answer batches."""

    process: Process
    sender: Sender
    mailbox: Mailbox
    started_s: float


@dataclass
class _InHand:
    """A micro-batch that was handed over."""

    slot: int
    tasks: list[Task]
    rows: int
    began_s: float


class Apart(Lane):
    """The lane of a model in a process of its own; the process is replaced when it dies.

    Attributes:
        is_ready: Whether the process has loaded the model.
    """

    def __init__(  # noqa: PLR0913 - limits, named
        self,
        spawn: Callable[[], Child],
        loop: Loop,
        *,
        name: str,
        start_s: float,
        restarts: Restarts,
        died: Callable[[], None],
        max_predict_s: float,
        max_batch_bytes: int,
        **how: Any,
    ) -> None:
        """Have no process yet.

        Args:
            spawn: Starts a process.
            loop: Where it is listened to.
            name: The model, for the log.
            start_s: About how long a process takes to start, until one has shown it.
            restarts: How often it may be replaced.
            died: Told whenever it has to be.
            max_predict_s: A micro-batch that takes longer is taken for hung.
            max_batch_bytes: Bodies of one micro-batch; a first one of more is taken alone.
            how: See `Lane`.
        """
        super().__init__(**how)
        self._spawn = spawn
        self._loop = loop
        self._name = name
        self._restarts = restarts
        self._died = died
        self._max_predict_s = max_predict_s
        self._max_batch_bytes = max_batch_bytes
        self._is_stopped = False
        self._child: Child | None = None
        self._in_hand: list[_InHand] = []
        self._is_swept = False
        self._start_took_s = start_s
        self._bytes_per_row = 0.0
        self._is_begun = False
        self.is_ready = False

    def start(self) -> None:
        """Start the process; requests are taken at once, and predicted when it has loaded."""
        self._child = self._spawn()
        self._is_begun = True
        self._loop.add_reader(self._child.sender.pipe.fileno(), self._hear)

    def wait_ready(self, timeout_s: float) -> None:
        """Wait until the process that was started has loaded the model.

        Raises:
            ConfigError: It can't; or it takes too long.
        """
        child = self._child
        if child is None or not child.sender.pipe.poll(timeout_s):
            raise ConfigError(
                problem(self._name, f"to load within {timeout_s:.0f} s", "nothing", "See stderr.")
            )
        try:
            hello = child.sender.hello()
        except EOFError:
            raise ConfigError(
                problem(self._name, "to load in its process", "an end of it", "See stderr.")
            ) from None
        if hello.failure is not None:
            raise ConfigError(hello.failure)
        self._greet(child, hello)

    def stop(self) -> None:
        """End the process; what it has in hand is lost."""
        self._is_stopped = True
        self._let_go()

    def rows_of(self, size_bytes: int) -> int:
        """About how many rows a body of that size has, by those seen so far."""
        return max(1, round(size_bytes / self._bytes_per_row)) if self._bytes_per_row else 1

    @property
    def in_hand(self) -> int:
        """Requests that the process has."""
        return sum(len(item.tasks) for item in self._in_hand)

    def busy_s(self, now_s: float) -> float:
        """Predicted seconds until what was handed over is done."""
        if not self.is_ready:
            if self._child is None:
                return self._restarts.wait_s(now_s) + self._start_took_s
            return abs(self._start_took_s - (now_s - self._child.started_s))
        total_s = 0.0
        for index, item in enumerate(self._in_hand):
            predicted_s = self.cost.curve(item.rows)
            # What has taken longer than predicted may take as long again as it is over.
            total_s += predicted_s if index else abs(predicted_s - (now_s - item.began_s))
        return total_s

    def admit(self, rows: int, priority: Priority, deadline_s: float, now_s: float) -> float:
        """Let a request in, or refuse it; the first one has the process started."""
        if not self._is_begun:
            self.start()
        return super().admit(rows, priority, deadline_s, now_s)

    def submit(self, task: Task) -> None:
        """Take a task; it is predicted as soon as the process is free.

        Raises:
            Overloaded: Too many bytes wait already.
        """
        size_bytes = len(task.work.body)
        if size_bytes > COUNTED_BYTES:
            held = sum(len(other.work.body) for other in self.waiting)
            if held + size_bytes > MAX_BATCHES_HELD * self._max_batch_bytes:
                self.shed_s = self.clock()
                raise Overloaded(
                    "server: expected large requests to wait one after the other, got too many. "
                    "Try again later.",
                    retry_after_s=MIN_RETRY_S,
                )
        self.waiting.push(task)
        self._feed(self.clock())
        if not self._is_swept:
            self._is_swept = True
            self._loop.call_later(SWEEP_S, self._sweep)

    def _feed(self, now_s: float) -> None:
        """Keep the mailbox full."""
        while self.is_ready and self._child is not None and len(self._in_hand) < SLOTS:
            batch = self._cut(self.take(now_s, begins_s=now_s + self.busy_s(now_s)))
            if not batch:
                return
            slot = 1 - self._in_hand[0].slot if self._in_hand else 0
            item = _InHand(slot, batch, sum(task.rows for task in batch), now_s)
            self._in_hand.append(item)
            try:
                self._child.sender.send(slot, [task.work for task in batch])
            except OSError:
                # It has died and the loop is about to tell, or there is no memory for it.
                self._lose(now_s)
                return

    def _cut(self, batch: list[Task]) -> list[Task]:
        """Leave those for the next micro-batch whose bodies are too much for this one."""
        size_bytes = 0
        for index, task in enumerate(batch):
            job: Job = task.work
            size_bytes += len(job.body)
            if index and (size_bytes > self._max_batch_bytes or index >= MAX_TASKS):
                for later in reversed(batch[index:]):
                    self.waiting.push_back(later)
                return batch[:index]
        return batch

    def _hear(self) -> None:
        """Take what the process says."""
        if self._child is None:
            return
        now_s = self.clock()
        try:
            if self.is_ready:
                self._finish(self._child.sender, now_s)
            else:
                self._greet(self._child, self._child.sender.hello())
        except EOFError:
            self._lose(now_s)
            return
        self._feed(now_s)

    def _greet(self, child: Child, hello: Hello) -> None:
        if hello.failure is not None:
            log.error("%s: %s", self._name, hello.failure)
            raise EOFError
        self.cost.begin(Curve(hello.fixed_s, hello.per_row_s))
        self._start_took_s = self.clock() - child.started_s
        self.is_ready = True

    def _finish(self, sender: Sender, now_s: float) -> None:
        word, results = sender.receive()
        self.changed()
        if not self._in_hand or len(results) != len(self._in_hand[0].tasks):
            raise EOFError  # It says what it can't: it is as good as dead.
        item = self._in_hand.pop(0)
        if self._in_hand:
            self._in_hand[0].began_s = now_s
        rows = sum(result.rows for result in results)
        if rows:
            self.cost.observe(rows, word.took_s)
            first = item.tasks[0]
            self.cost.observe_wait(first.expected_s, now_s - first.admitted_s, now_s)
            size_bytes = sum(len(task.work.body) for task in item.tasks)
            seen = size_bytes / rows
            known = self._bytes_per_row or seen
            self._bytes_per_row = known + 0.1 * (seen - known)
        for task, result in zip(item.tasks, results, strict=True):
            task.started_s, task.predict_s = now_s - word.took_s, word.predict_s
            task.end(result)

    def _sweep(self) -> None:
        """End what is out of time, wherever it is."""
        now_s = self.clock()
        for task in self.waiting.expire(now_s):
            self.changed()
            task.end(too_late(task))
        for place, item in enumerate(self._in_hand):
            for index, task in enumerate(item.tasks):
                if task.gone and place and self._child is not None:
                    self._child.sender.mark_gone(item.slot, index)
                elif task.deadline_s <= now_s and not task.ended:
                    task.end(too_slow(task))
        first = self._in_hand[0] if self._in_hand else None
        if first is not None and now_s - first.began_s > self._max_predict_s:
            log.error("%s: no answer for %.0f s; ending it", self._name, self._max_predict_s)
            self._lose(now_s)
        self._is_swept = not self._is_stopped and bool(self._in_hand or len(self.waiting))
        if self._is_swept:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _lose(self, now_s: float) -> None:
        """Start another process; what this one had in hand is tried once more, alone."""
        self._died()
        log.error("%s: its process ended; starting another", self._name)
        in_hand, self._in_hand = self._in_hand, []
        self._let_go()
        for place, item in reversed(list(enumerate(in_hand))):
            for task in reversed(item.tasks):
                # Only what was being predicted may be the cause, not what lay ready behind it.
                if task.alone and place == 0:
                    task.end(PredictionFailed("the model's process ended, twice, with this row"))
                elif not task.ended:
                    task.alone = task.alone or place == 0
                    self.waiting.push_back(task)
        self._loop.call_later(self._restarts.wait_s(now_s), self._start_again)

    def _start_again(self) -> None:
        if self._is_stopped or self._child is not None:
            return
        now_s = self.clock()
        self._restarts.note(now_s)
        try:
            self.start()
        except OSError as error:
            # Too little memory, or too many files or processes: it may be better soon.
            log.error("%s: no process can be started: %s", self._name, error)  # noqa: TRY400
            wait_s = max(RETRY_S, self._restarts.wait_s(now_s))
            self._loop.call_later(wait_s, self._start_again)

    def _let_go(self) -> None:
        child, self._child = self._child, None
        self.is_ready = False
        if child is None:
            return
        self._loop.remove_reader(child.sender.pipe.fileno())
        child.sender.pipe.close()
        child.process.kill()
        child.process.join(JOIN_S)
        child.mailbox.close()


def too_slow(task: Task) -> DeadlineExceeded:
    """Say that the model didn't finish in time."""
    allowed_s = task.deadline_s - task.admitted_s
    return DeadlineExceeded(
        problem(
            "deadline",
            f"{in_ms(allowed_s)} to be enough",
            "a model that takes longer",
            "Send X-Twofold-Deadline-Ms with more time, or fewer rows.",
        )
    )
