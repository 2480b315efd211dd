"""Predicting in the event loop: whatever was readable this turn is predicted together, no timer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twofold.serving.lane import Lane
from twofold.serving.waiting import Task

MAX_BLOCK_S = 0.004
"""The loop does nothing else while a micro-batch is predicted: longer ones are cut."""


class Turn(Lane):
    """The lane of models that are cheap enough for the loop, and cheaper together."""

    def __init__(
        self,
        predict: Callable[[Sequence[Any]], Sequence[Any]],
        soon: Callable[[Callable[[], None]], object],
        **how: Any,
    ) -> None:
        """Predict what comes in a turn at its end.

        Args:
            predict: Predicts the work of several tasks: for each its answer, or an error.
            soon: Runs a function at the end of this turn.
            how: See `Lane`.
        """
        super().__init__(**how)
        self._predict = predict
        self._soon = soon
        self._scheduled = False

    @property
    def batch_rows(self) -> int:
        """Rows of a micro-batch that doesn't block the loop for long."""
        curve = self.cost.curve
        unblocking = (MAX_BLOCK_S - curve.fixed_s) / max(curve.per_row_s, 1e-9)
        return max(1, min(super().batch_rows, int(unblocking)))

    def busy_s(self, now_s: float) -> float:  # noqa: ARG002 - as Lane has it
        """Nothing is ever half done when somebody asks."""
        return 0.0

    def submit(self, task: Task) -> None:
        """Take a task; it is predicted at the end of this turn."""
        self.waiting.push(task)
        if not self._scheduled:
            self._scheduled = True
            self._soon(self._work)

    def _work(self) -> None:
        began_s = self.clock()
        batch = self.take(began_s, begins_s=began_s)
        # One micro-batch a turn: what has come meanwhile is read, and refused if need be. Before
        # anything else, so that whatever goes wrong below the others have their turn.
        self._scheduled = len(self.waiting) > 0
        if self._scheduled:
            self._soon(self._work)
        if batch:
            answers = self._predict([task.work for task in batch])
            now_s = self.clock()
            self.cost.observe(sum(task.rows for task in batch), now_s - began_s)
            self.cost.observe_wait(batch[0].expected_s, now_s - batch[0].admitted_s, now_s)
            for task, answer in zip(batch, answers, strict=True):
                task.started_s, task.predict_s = began_s, now_s - began_s
                task.end(answer)
