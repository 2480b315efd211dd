"""Features: what a model sees in place of the inputs, each a function of one input alone.

Three kinds cover what encoders make of a column. Where a model only compares a feature with
thresholds, the thresholds can be moved back to the input itself, exactly: whatever an encoder
computes, rounding included, doesn't decrease as its input grows, so that for each threshold there
is a largest input that stays below, found by bisection down to neighbouring floats. Nothing is
then left to compute for a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

BISECTIONS = 66
LARGEST = float(np.finfo(np.float64).max)


class NotCompilable(Exception):
    """The model has no compiled form; its text says why."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One elementwise operation on a number.

    Attributes:
        name: `fill` (a missing value becomes `value`), `subtract`, `divide`, `multiply`, `add`,
            `float32` (round), `clip` (to `value` and `upper`), or one of `FUNCTIONS`.
        value: The operand.
        upper: The upper bound of `clip`.
    """

    name: str
    value: float = 0.0
    upper: float = 0.0


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
}
"""Functions of NumPy that a step may be; none decreases."""


@dataclasses.dataclass(frozen=True)
class Number:
    """A number input after some steps.

    Attributes:
        input: Its position among the inputs.
        steps: In order; together they don't decrease.
    """

    input: int
    steps: tuple[Step, ...] = ()

    def then(self, *steps: Step) -> Number:
        """The same with further steps."""
        return Number(self.input, (*self.steps, *steps))

    def of(self, values: Any) -> Any:
        """The feature of input values (float64)."""
        found = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            for step in self.steps:
                found = _APPLY[step.name](found, step)
        return found


def _fill(values: Any, step: Step) -> Any:
    return np.where(np.isnan(values), step.value, values)


def _function(values: Any, step: Step) -> Any:
    return FUNCTIONS[step.name](values)


_APPLY: dict[str, Callable[[Any, Step], Any]] = {
    "fill": _fill,
    "subtract": lambda values, step: values - step.value,
    "divide": lambda values, step: values / step.value,
    "multiply": lambda values, step: values * step.value,
    "add": lambda values, step: values + step.value,
    "float32": lambda values, _: values.astype(np.float32).astype(np.float64),
    "clip": lambda values, step: np.clip(values, step.value, step.upper),
    **dict.fromkeys(FUNCTIONS, _function),
}


@dataclasses.dataclass(frozen=True)
class Levels:
    """A number input that a feature tells apart by ranges only.

    Attributes:
        input: Its position among the inputs.
        edges: Ascending; range i holds the values above `edges[i - 1]` and up to `edges[i]`.
        values: The feature in each range, one more than edges.
        missing: The feature of null.
    """

    input: int
    edges: tuple[float, ...]
    values: tuple[float, ...]
    missing: float


@dataclasses.dataclass(frozen=True)
class Text:
    """A text input.

    Attributes:
        input: Its position among the inputs.
        values: The feature of each known text.
        unknown: The feature of any other; None if the original refuses it.
        missing: The feature of null; None if the original refuses it.
    """

    input: int
    values: dict[str, float]
    unknown: float | None
    missing: float | None


@dataclasses.dataclass(frozen=True)
class Constant:
    """A feature that is the same for every row."""

    value: float


Feature = Number | Levels | Text | Constant


def equals(value: float) -> tuple[float, float]:
    """The edges of the range that holds one value alone."""
    return float(np.nextafter(value, -np.inf)), float(value)


def pull_back(function: Callable[[Any], Any], cuts: Any) -> Any:
    """For each cut, the largest float64 whose value under a function isn't above it.

    Args:
        function: Vectorised; must not decrease.
        cuts: float64 array.

    Returns:
        float64 array: -inf where even the lowest value is above, inf where none is.
    """
    low = np.full(len(cuts), -LARGEST)
    high = np.full(len(cuts), LARGEST)
    with np.errstate(all="ignore"):
        none = ~(function(low) <= cuts)
        every = function(high) <= cuts
        left, right = _ordered(low), _ordered(high)
        for _ in range(BISECTIONS):
            # The middle of two 64-bit numbers whose sum may not fit.
            middle = (left >> 1) + (right >> 1) + (left & right & 1)
            below = function(_floats(middle)) <= cuts
            left = np.where(below, middle, left)
            right = np.where(below, right, middle)
    found = _floats(left)
    found[none] = -np.inf
    found[every] = np.inf
    return found


def _ordered(values: Any) -> Any:
    """Floats as integers of the same order."""
    bits = values.view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _floats(ordered: Any) -> Any:
    bits = np.where(ordered < 0, np.int64(-(2**63)) - ordered, ordered)
    return bits.astype(np.int64).view(np.float64).copy()
