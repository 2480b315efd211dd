"""What would change the decision: each need is varied, the others as they are. Values only.

Numbers are looked at upwards and downwards in steps of a fifth, to the ends of a sane range; where
the mode changes, the place is narrowed down by halving. So a change that comes and goes within a
fifth isn't seen. What is reported is beyond the change: the decision at that value is another.

If no need alone changes it, pairs are looked at: what isn't a number is changed, and then a number.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from twofold.lab.costs import Mode
from twofold.lab.needs import DAY_S, Features, Needs, shown_age, shown_number

STEP = 1.2
HALVINGS = 24
Value = float | Features | bool | None
EXAMPLE_SLO_S = 0.1
"""What somebody waits who waits: people take that for at once."""
# From where to where each number is varied.
RANGES: dict[str, tuple[float, float]] = {
    "max_age_s": (1.0, 366 * DAY_S),
    "rows_per_day": (1.0, 10_000_000_000.0),
    "asked_ratio": (0.000_001, 1.0),
    "peak_per_s": (0.001, 1_000_000.0),
    "slo_s": (0.0001, 60.0),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """Needs that would lead to another mode.

    Attributes:
        needs: By name as in `Needs`, one or two: the values with which the mode is another.
        mode: That one.
        words: The same for people.
    """

    needs: dict[str, Value]
    mode: Mode
    words: str


def changes_of(needs: Needs, mode_of: Callable[[Needs], Mode]) -> list[Change]:
    """Find what would change the decision.

    Args:
        needs: As they are.
        mode_of: The decision.
    """
    now = mode_of(needs)
    found = _numbers(needs, mode_of, now)
    for name, value, words in _others(needs):
        mode = mode_of(dataclasses.replace(needs, **{name: value}))
        if mode is not now:
            found.append(Change(needs={name: value}, mode=mode, words=words))
    return found or _pairs(needs, mode_of, now)


def _numbers(needs: Needs, mode_of: Callable[[Needs], Mode], now: Mode) -> list[Change]:
    found: list[Change] = []
    for name in RANGES:
        if getattr(needs, name) is not None:
            for upwards in (False, True):
                change = _number(needs, name, mode_of, now, upwards=upwards)
                found += [change] if change else []
    return found


def _pairs(needs: Needs, mode_of: Callable[[Needs], Mode], now: Mode) -> list[Change]:
    found: list[Change] = []
    for name, value, words in _others(needs):
        other = dataclasses.replace(needs, **{name: value})
        for change in _numbers(other, mode_of, now):
            both = f"{words} and {change.words.removeprefix('if ')}"
            both_needs = {name: value, **change.needs}
            if len(both_needs) > 1:
                found.append(Change(needs=both_needs, mode=change.mode, words=both))
    return found


def _number(
    needs: Needs, name: str, mode_of: Callable[[Needs], Mode], now: Mode, *, upwards: bool
) -> Change | None:
    """The nearest change of a number in one direction."""

    def differs(value: float) -> bool:
        return mode_of(_with(needs, name, value)) is not now

    start = float(getattr(needs, name))
    same = start
    for value in _steps(start, RANGES[name], upwards=upwards):
        if not differs(value):
            same = value
            continue
        other = value
        for _ in range(HALVINGS):
            middle = _exact(name, (same + other) / 2, upwards=upwards)
            if middle in (same, other):
                break
            same, other = (same, middle) if differs(middle) else (middle, other)
        # A rounded one must not lead back, nor out of the range.
        rounded = [_exact(name, one, upwards=upwards) for one in _rounded(other)]
        good = (one for one in rounded if _inside(one, RANGES[name]) and differs(one))
        other = min(good, key=lambda one: abs(one - other), default=other)
        changed = _with(needs, name, other)
        said = _words(name, other, upwards=upwards)
        found: Any = getattr(changed, name)
        return Change(needs={name: found}, mode=mode_of(changed), words=said)
    return None


def _steps(start: float, span: tuple[float, float], *, upwards: bool) -> list[float]:
    """Values from a start to an end of the range; 0 is below all ranges, and the last downwards."""
    low, high = span
    found: list[float] = []
    if upwards:
        value = low if start < low else start * STEP
        while value < high:
            found.append(value)
            value *= STEP
        return [*found, high] if start < high else found
    value = min(start / STEP, high)
    while value > low:
        found.append(value)
        value /= STEP
    return [*found, low] if start > low else found


def _with(needs: Needs, name: str, value: float) -> Needs:
    return dataclasses.replace(needs, **{name: _exact(name, value, upwards=True)})


def _exact(name: str, value: float, *, upwards: bool) -> float:
    """Rows are whole, rounded away from the start."""
    if name != "rows_per_day":
        return value
    return int(math.ceil(value) if upwards else math.floor(value))


def _inside(value: float, span: tuple[float, float]) -> bool:
    return span[0] <= value <= span[1]


def _rounded(value: float) -> list[float]:
    """The values of two digits on both sides."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    wholes = (math.floor(value / unit), math.ceil(value / unit))
    return [float(f"{whole * unit:.12g}") for whole in wholes]


def _words(name: str, value: float, *, upwards: bool) -> str:
    if name == "max_age_s":
        age = shown_age(value)
        return f"if predictions may be {age} old" if upwards else f"if none may be older than {age}"
    if name == "slo_s":
        took = shown_age(value)
        return f"if an answer may take {took}" if upwards else f"if an answer may take only {took}"
    more = "or more" if upwards else "or fewer"
    if name == "rows_per_day":
        return f"with {value:,.0f} rows a day {more}"
    if name == "asked_ratio":
        return f"if {value * 100:.3g} % of the rows {more} are asked for in a day"
    return f"with {shown_number(value)} requests a second {more} at the peak"


def _others(needs: Needs) -> list[tuple[str, Any, str]]:
    """Needs that aren't numbers, as they aren't."""
    found: list[tuple[str, Any, str]] = []
    if needs.is_waited_for:
        found.append(("slo_s", None, "if nobody waited for an answer"))
    else:
        words = f"if somebody waited for an answer, {shown_age(EXAMPLE_SLO_S)} at most"
        found.append(("slo_s", EXAMPLE_SLO_S, words))
    said = {
        Features.KNOWN: "if all features were known before a row is asked for",
        Features.PARTLY: "if some features changed with the request",
        Features.WITH_REQUEST: "if the features came with the request",
    }
    found += [("features", kind, words) for kind, words in said.items() if kind != needs.features]
    wanted = "if only what is asked for were wanted, not the whole table"
    if not needs.wants_all:
        wanted = "if all predictions were wanted as a table"
    return [*found, ("wants_all", not needs.wants_all, wanted)]
