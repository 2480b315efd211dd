"""Who asks, and the lane in which their request waits until a test ends it."""

from __future__ import annotations

from twofold.serving.priority import Priority
from twofold.serving.waiting import Task
from twofold.wire.http import Response


class Waiter:
    """A caller for whom an answer that comes later is kept."""

    def __init__(self) -> None:
        self.task: Task | None = None
        self.answers: list[Response] = []

    def waits_for(self, task: Task) -> None:
        self.task = task

    def reply(self, response: Response) -> None:
        self.answers.append(response)


class Lane:
    """A lane whose one task is ended by the test."""

    task: Task

    def admit(self, rows: int, priority: Priority, deadline_s: float, now_s: float) -> float:
        return 0.0

    def submit(self, task: Task) -> None:
        self.task = task
