"""What is wanted of a model's predictions: values only, checked all at once."""

from __future__ import annotations

import dataclasses
import enum
import math
import re

from twofold.errors import InvalidInput, problem

DAY_S = 86_400.0
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": DAY_S}
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])")

MAX_ROWS = 100_000_000_000
MAX_AGE_S = 366 * DAY_S
MIN_SLO_S, MAX_SLO_S = 0.0001, 60.0
MAX_PEAK_PER_S = 10_000_000.0
MAX_COST = 1_000.0
MAX_MACHINES = 1_000


class Features(enum.StrEnum):
    """Whether the features of a row are known before it is asked for.

    Of a row that nobody waits for, they are known once it has come: it can be collected.
    """

    KNOWN = "known"
    PARTLY = "partly"
    """Known, but some change with the request, as an offer that is tried."""
    WITH_REQUEST = "with-request"
    """They arrive with the request, as those of a transaction."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What predictions are needed for.

    Attributes:
        rows_per_day: Rows that could be predicted in a day: the customers there are, or the
            transactions that come.
        asked_ratio: Share of them that is ever asked for in a day, 0 to 1.
        max_age_s: How old what a prediction was made from may be; 0 if it must be of the instant.
        slo_s: What 99 of 100 answers may take; None if nobody waits for one.
        peak_per_s: Requests a second at the peak.
        features: Whether a row's features are known before it is asked for.
        wants_all: Whether the predictions of all rows are used, as in a list or a report.
        cost_per_core_hour: What a core costs in an hour, in any currency.
        machines_at_least: That serve, so that one may fail.

    Raises:
        InvalidInput: With every problem, one a line.
    """

    rows_per_day: int
    asked_ratio: float
    max_age_s: float
    slo_s: float | None
    peak_per_s: float
    features: Features
    wants_all: bool = False
    cost_per_core_hour: float = 0.04
    machines_at_least: int = 1

    def __post_init__(self) -> None:
        """Check every value."""
        if problems := _problems(self):
            raise InvalidInput("\n".join(problems))

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for an answer."""
        return self.slo_s is not None

    @property
    def asked_per_day(self) -> float:
        """Rows that are asked for in a day, each counted once."""
        return self.rows_per_day * self.asked_ratio

    @property
    def used_per_day(self) -> float:
        """Predictions of a day that are of use to somebody."""
        return float(self.rows_per_day) if self.wants_all else self.asked_per_day

    @property
    def load_per_s(self) -> float:
        """The rate to be ready for: the peak, which is at least the mean of what is asked for."""
        return max(self.peak_per_s, self.asked_per_day / DAY_S)


def _problems(needs: Needs) -> list[str]:
    spans = {
        "rows_per_day": (1, MAX_ROWS, "Count the customers, or the transactions of a day."),
        "asked_ratio": (0, 1, "Give a share, as 0.02 for two in a hundred."),
        "max_age_s": (0, MAX_AGE_S, "Give seconds, 0 if it must be of the instant."),
        "slo_s": (
            MIN_SLO_S,
            MAX_SLO_S,
            "Give none if nobody waits that long, and say it as the tolerated age.",
        ),
        "peak_per_s": (0, MAX_PEAK_PER_S, "Give requests a second at the busiest time."),
        "cost_per_core_hour": (0, MAX_COST, "Give what a core costs in an hour."),
        "machines_at_least": (1, MAX_MACHINES, "Give 2 so that one may fail."),
    }
    found: list[str] = []
    for name, (low, high, fix) in spans.items():
        value: float | None = getattr(needs, name)
        if value is None:  # a latency that nobody waits for
            continue
        if not math.isfinite(value) or not low <= value <= high:
            found.append(problem(name, f"{low:,.10g} to {high:,.10g}", f"{value:,.10g}", fix))
    return found


def age_s_of(text: str) -> float:
    """Read an age: `0`, or a number and its unit, as in `90s`, `15m`, `24h`, `7d`.

    Returns:
        Seconds.

    Raises:
        ValueError: It is something else; with `expected X, got Y. Fix.` as its text.
    """
    found = AGE.fullmatch(text.strip().lower())
    if found is not None:
        return float(found[1]) * UNITS_S[found[2]]
    if text.strip() == "0":
        return 0.0
    raise ValueError(
        f"expected a number and its unit, got {text[:40]!r}. Write it as 90s, 15m, 24h or 7d, or 0 "
        f"for predictions of the instant."
    )


def shown_age(age_s: float) -> str:
    """An age or a time for people, in the largest unit of which it has two, as in `90 min`."""
    units = {"d": DAY_S, "h": 3_600.0, "min": 60.0, "s": 1.0, "ms": 0.001, "µs": 0.000_001}
    for unit, unit_s in units.items():
        # Nobody calls 24 hours a day, or 90 minutes 1.5 h; but 1.3 s are said so.
        is_one = age_s >= unit_s and (unit in {"s", "ms"} or (age_s == unit_s and unit != "d"))
        if age_s >= 2 * unit_s or is_one:
            return f"{shown_number(age_s / unit_s)} {unit}"
    return "0 s" if age_s <= 0.0 else f"{age_s * 1e6:.2g} µs"


def shown_number(value: float) -> str:
    """A number for people: three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"  # noqa: PLR2004
