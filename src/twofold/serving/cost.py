"""What predicting costs: T(rows), fitted while running, and how wrong it was lately.

The curve is a line, as micro-batching needs it (Crankshaw et al., Clipper, NSDI 2017): a fixed
part for each call, and a part for each row. All pure: instants are arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FORGET = 0.97
"""Weight that an observation keeps when the next one comes: about the last 33 count."""
MAX_SURPRISE = 4.0
"""An observation counts as at most so many times what was predicted: one stall isn't a trend."""
FORGET_SOON = 0.5
"""As `FORGET`, when an observation is as much less than predicted: nothing is so by accident."""
MIN_SPREAD = 0.05
"""Relative variance of the rows below which the line's two parts can't be told apart."""

MIN_MARGIN, MAX_MARGIN = 0.5, 4.0
QUANTILE = 0.95
STEP = 0.1
DRIFT_S = 1.0
"""In so many seconds the margin loses 63 % of its distance from 1, whatever was observed."""


@dataclass(frozen=True)
class Curve:
    """T(rows) = fixed_s + per_row_s * rows."""

    fixed_s: float
    per_row_s: float

    def __call__(self, rows: float) -> float:
        """Seconds of one call of so many rows."""
        return self.fixed_s + self.per_row_s * rows

    @classmethod
    def through(cls, few: tuple[int, float], many: tuple[int, float]) -> Curve:
        """The line through two measurements (rows, seconds), neither part negative."""
        (few_rows, few_s), (many_rows, many_s) = few, many
        per_row_s = max(0.0, (many_s - few_s) / (many_rows - few_rows))
        fixed_s = max(0.0, few_s - per_row_s * few_rows)
        return cls(fixed_s, per_row_s if fixed_s else many_s / many_rows)


class Cost:
    """The curve of one model in one process, kept up to date.

    Attributes:
        curve: The curve as of now.
    """

    def __init__(self, curve: Curve, *, now_s: float) -> None:
        """Begin with what was measured when the model was loaded."""
        self.curve = self._measured = curve
        self._weight = self._rows = self._rows2 = self._time = self._rows_time = 0.0
        self._margin = 1.0
        self._drifted_s = now_s

    def begin(self, curve: Curve) -> None:
        """Begin anew with what was measured when the model was loaded again."""
        self.curve = self._measured = curve
        self._weight = self._rows = self._rows2 = self._time = self._rows_time = 0.0

    def margin(self, now_s: float) -> float:
        """How much longer than expected requests wait, at the 95th percentile.

        It always drifts back to 1: were it only moved by observations, a bad one could make the
        server refuse everything, and so never observe a better one.
        """
        passed_s = max(0.0, now_s - self._drifted_s)
        if passed_s > 0.0:
            self._margin = 1.0 + (self._margin - 1.0) * math.exp(-passed_s / DRIFT_S)
            self._drifted_s = now_s
        return self._margin

    def observe(self, rows: int, took_s: float) -> None:
        """Learn from one call."""
        predicted_s = max(self.curve(rows), 1e-9)
        keep = FORGET if took_s * MAX_SURPRISE >= predicted_s else FORGET_SOON
        self._fit(float(rows), min(took_s, MAX_SURPRISE * predicted_s), keep)

    def observe_wait(self, expected_s: float, waited_s: float, now_s: float) -> None:
        """Learn from how long a request waited for its answer, and was expected to.

        It is whole waits that are compared, not single calls: what differs from call to call
        mostly cancels out along a queue.
        """
        margin = self.margin(now_s)
        # The step of a quantile's stochastic approximation: at rest, 5 % lie above.
        step = STEP * (QUANTILE if waited_s > margin * expected_s else QUANTILE - 1.0)
        self._margin = min(max(margin * math.exp(step), MIN_MARGIN), MAX_MARGIN)

    def _fit(self, rows: float, took_s: float, keep: float) -> None:
        self._weight = self._weight * keep + 1.0
        self._rows = self._rows * keep + rows
        self._rows2 = self._rows2 * keep + rows * rows
        self._time = self._time * keep + took_s
        self._rows_time = self._rows_time * keep + rows * took_s
        mean_rows, mean_s = self._rows / self._weight, self._time / self._weight
        variance = self._rows2 / self._weight - mean_rows * mean_rows
        if variance > MIN_SPREAD * mean_rows * mean_rows:
            slope = (self._rows_time / self._weight - mean_rows * mean_s) / variance
            per_row_s = min(max(slope, 0.0), mean_s / mean_rows)
            # Rounding may leave less than nothing for the fixed part.
            self.curve = Curve(max(0.0, mean_s - per_row_s * mean_rows), per_row_s)
        else:
            # In proportion as they were measured, not as they were last fitted: a bad fit can make
            # all micro-batches alike, and would then never be seen to be one.
            scale = mean_s / max(self._measured(mean_rows), 1e-9)
            self.curve = Curve(self._measured.fixed_s * scale, self._measured.per_row_s * scale)
