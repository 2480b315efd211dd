"""What a model costs, measured when it is loaded; from that, where it is predicted."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twofold.model.record import ModelVersion
from twofold.serving.cost import Curve
from twofold.serving.together import Columns, Rows
from twofold.serving.turn import MAX_BLOCK_S

DIRECT_S = 0.00005
"""A row that costs less is predicted as soon as it is read, unless rows are cheaper together."""
INLINE_S = 0.0005
"""A row that costs more would keep the event loop from everybody else for too long; a process of
its own costs each request about 0.1 ms."""
MANY_ROWS = 16
NO_LIMIT = 1_000_000
REPEATS = 3


class Where(enum.Enum):
    """Where a model is predicted."""

    DIRECT = "direct"
    TURN = "turn"
    APART = "apart"


class Measured(Protocol):
    """What is measured: the door."""

    def predict_checked(self, rows: Rows, *, one_by_one: int = ...) -> Columns: ...  # noqa: D102


@dataclass(frozen=True)
class Costs:
    """What predicting costs at the two doors.

    Attributes:
        one_s: One row, at the real-time door.
        together: Any number of rows, at the batch door.
    """

    one_s: float
    together: Curve

    @property
    def one_by_one(self) -> int:
        """So many rows at most are sooner predicted one by one."""
        gain_s = self.one_s - self.together.per_row_s
        if gain_s * NO_LIMIT <= self.together.fixed_s:
            return NO_LIMIT
        return max(1, int(self.together.fixed_s / gain_s))

    @property
    def rows_here(self) -> int:
        """So many rows don't keep the event loop from everybody else for long."""
        curve = self.curve
        return max(1, int((MAX_BLOCK_S - curve.fixed_s) / max(curve.per_row_s, 1e-9)))

    @property
    def curve(self) -> Curve:
        """What a micro-batch costs: the cheaper way."""
        if self.one_by_one >= MANY_ROWS:
            return Curve(0.0, self.one_s)
        return self.together

    @property
    def where(self) -> Where:
        """Where the model belongs."""
        if self.one_s > INLINE_S:
            return Where.APART
        is_direct = self.one_s <= DIRECT_S and self.one_by_one >= MANY_ROWS
        return Where.DIRECT if is_direct else Where.TURN


def measure(model: Measured, rows: Rows) -> Costs:
    """Time a warmed-up model on rows of its sample, for as long as a few calls take."""
    one = rows[:1]
    many = (list(rows) * MANY_ROWS)[:MANY_ROWS]
    one_s = _best(lambda: model.predict_checked(one, one_by_one=1))
    few_s = _best(lambda: model.predict_checked(one, one_by_one=0))
    many_s = _best(lambda: model.predict_checked(many, one_by_one=0))
    return Costs(one_s, Curve.through((1, few_s), (MANY_ROWS, many_s)))


def expected_apart(record: ModelVersion) -> bool:
    """Whether the model was too slow for the event loop when it was packed."""
    for item in record.parity.candidates:
        if item.runtime == record.runtimes.real_time and item.one_row_s is not None:
            return item.one_row_s > INLINE_S
    return False


def _best(call: Callable[[], object]) -> float:
    times: list[float] = []
    for _ in range(REPEATS):
        began_s = time.perf_counter()
        call()
        times.append(time.perf_counter() - began_s)
    return min(times)
