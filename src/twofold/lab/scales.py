"""Axes of charts: from values to places, and the round values that are written beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEPS = (1, 2, 5, 10)
MAX_LOG_TICKS = 5
FEW_DECADES = 1.5
THOUSAND = 1000


@dataclass(frozen=True)
class Scale:
    """One axis.

    Attributes:
        low: The value at its beginning.
        high: The value at its end.
        is_log: Equal lengths are equal ratios, not equal differences.
        ticks: Round values within it, ascending.
    """

    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the beginning of the axis, 1 at its end."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def has(self, value: float) -> bool:
        """Whether a value can be placed at all."""
        return math.isfinite(value) and (value > 0 or not self.is_log)


def scale_of(values: Sequence[float], *, is_log: bool, max_ticks: int = 6) -> Scale:
    """The axis for some values; one that isn't logarithmic begins or ends with 0."""
    finite = [value for value in values if math.isfinite(value) and (value > 0 or not is_log)]
    if is_log:
        return _log_scale(finite or [1.0, 10.0])
    return _linear_scale(finite or [1.0], max_ticks)


def _linear_scale(values: Sequence[float], max_ticks: int) -> Scale:
    low, high = min(0.0, *values), max(0.0, *values)
    if low == high:
        high = 1.0
    step = _round_step((high - low) / max(max_ticks - 1, 1))
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    count = round((high - low) / step)
    ticks = tuple(round(low / step + at) * step for at in range(count + 1))
    return Scale(low, high, is_log=False, ticks=ticks)


def _log_scale(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    if math.log10(high / low) <= FEW_DECADES:
        ticks = _grid(low, high, STEPS[:-1])
    else:
        first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        every = max(1, math.ceil((last - first) / MAX_LOG_TICKS))
        last += -(last - first) % every
        ticks = [10.0**power for power in range(first, last + 1, every)]
    # A value that is a hair beyond its tick is still on the axis.
    return Scale(min(low, ticks[0]), max(high, ticks[-1]), is_log=True, ticks=tuple(ticks))


def _grid(low: float, high: float, steps: Sequence[int]) -> list[float]:
    """Steps of decades from the last one that isn't above `low` to the first not below `high`."""
    power = math.floor(math.log10(low))
    values = [step * 10.0**at for at in range(power - 1, power + 4) for step in steps]
    first = max(at for at, value in enumerate(values) if value <= low * (1 + 1e-9))
    last = min(at for at, value in enumerate(values) if value >= high * (1 - 1e-9) and at > first)
    return values[first : last + 1]


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))


def short(value: float) -> str:
    """A value as a tick has it: three digits, thousands as k and millions as M."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * (1 - 1e-9):
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}" if value else "0"


def plain(value: float) -> str:
    """A value as a table has it."""
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= THOUSAND else f"{value:.4g}"
