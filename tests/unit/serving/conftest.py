"""A clock moved by hand, a loop that runs on it, and tasks that keep their answers."""

from __future__ import annotations

import heapq
import select
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from twofold.serving.mailbox import Job
from twofold.serving.priority import Priority
from twofold.serving.waiting import Task

FOREVER_S = 1e9


class Loop:
    """An event loop whose time passes only when a test lets it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._soon: list[Callable[[], None]] = []
        self._count = 0

    def clock(self) -> float:
        return self.now_s

    def at(self, when_s: float, call: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when_s, self._count, call))

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        self.at(self.now_s + delay, lambda: callback(*args))

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        assert fd not in self.readers, "two readers of one descriptor"
        self.readers[fd] = lambda: callback(*args)

    def remove_reader(self, fd: int) -> None:
        del self.readers[fd]

    def turn(self) -> None:
        """Do what was left for the end of the turn, once."""
        calls, self._soon = self._soon, []
        for call in calls:
            call()

    def look(self) -> None:
        """Call the readers of what is readable, until nothing is."""
        while ready := select.select(list(self.readers), [], [], 0)[0]:
            self.readers[ready[0]]()

    def run(self, seconds: float) -> None:
        """Let time pass; what is due happens at its instant."""
        end_s = self.now_s + seconds
        while self._timers and self._timers[0][0] <= end_s:
            self.now_s, _, call = heapq.heappop(self._timers)
            call()
        self.now_s = end_s


@dataclass
class Asked:
    """What was asked for, and every answer that came."""

    answers: list[Any] = field(default_factory=list)
    task: Task = field(init=False)

    @property
    def answer(self) -> Any:
        """The one answer."""
        [answer] = self.answers
        return answer


class Asking:
    """Makes tasks that are admitted now."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __call__(
        self,
        rows: int = 1,
        *,
        within_s: float = FOREVER_S,
        priority: Priority = Priority.NORMAL,
        body: bytes = b"x",
        expected_s: float = 0.0,
        work: Any = None,
    ) -> Asked:
        asked, now_s = Asked(), self._loop.now_s
        deadline_s = now_s + within_s
        job = Job(0, {}, body, deadline_s) if work is None else work
        asked.task = Task(job, rows, deadline_s, priority, asked.answers.append, now_s, expected_s)
        return asked


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def ask(loop: Loop) -> Asking:
    return Asking(loop)


@pytest.fixture
def make_loop() -> type[Loop]:
    """For Hypothesis, whose examples each need one of their own."""
    return Loop
