"""When the requests of a load are due: at a rate that stays, rises, or changes in steps.

An open-loop load is a list of instants that is fixed before it begins: nothing the server does can
change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from twofold.errors import ConfigError, problem

MAX_REQUESTS = 20_000_000
"""Of a load; an instant takes 8 bytes, what is measured of a request 30."""


class Arrivals(StrEnum):
    """How requests follow one another at a given rate.

    Attributes:
        POISSON: Independently of each other, as those of many clients do: the gaps are spread
            exponentially, so that there are bursts.
        CONSTANT: At equal gaps.
    """

    POISSON = "poisson"
    CONSTANT = "constant"


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a load, over which the rate changes evenly.

    Attributes:
        seconds: How long it takes.
        from_per_s: Requests a second at its beginning.
        to_per_s: And at its end.
    """

    seconds: float
    from_per_s: float
    to_per_s: float

    @property
    def expected(self) -> float:
        """How many requests are due in it, on average."""
        return self.seconds * (self.from_per_s + self.to_per_s) / 2


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The rate of a load over time.

    Attributes:
        stretches: One after another.
        arrivals: How requests follow one another.
        seed: Of the gaps of Poisson arrivals; the same seed gives the same instants.
    """

    stretches: tuple[Stretch, ...]
    arrivals: Arrivals = Arrivals.POISSON
    seed: int = 1

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return sum(stretch.seconds for stretch in self.stretches)

    @property
    def peak_per_s(self) -> float:
        """Its highest rate."""
        return max(max(stretch.from_per_s, stretch.to_per_s) for stretch in self.stretches)

    @property
    def edges_s(self) -> list[float]:
        """Where its stretches begin and, last, where it ends."""
        return np.cumsum([0.0, *(stretch.seconds for stretch in self.stretches)]).tolist()

    def warmed(self, warm_up_s: float) -> Profile:
        """The same after a warm-up at its first rate, which is a stretch of its own."""
        if warm_up_s == 0:
            return self
        rate = self.stretches[0].from_per_s or self.stretches[0].to_per_s
        first = Stretch(seconds=warm_up_s, from_per_s=rate, to_per_s=rate)
        return msgspec.structs.replace(self, stretches=(first, *self.stretches))

    def dues(self) -> Any:
        """The instants, ascending, in seconds from the start, as an array of float64.

        The integral of the rate says how many requests are due until an instant; it is inverted
        at whole numbers (constant arrivals) or at the sums of exponential gaps of mean 1 (Poisson
        arrivals; the inversion method for processes of changing rate, Cinlar, Introduction to
        Stochastic Processes, 1975).
        """
        expected = np.array([stretch.expected for stretch in self.stretches])
        counts = _counts(float(expected.sum()), self.arrivals, self.seed)
        ends = np.cumsum(expected)
        which = np.searchsorted(ends, counts, side="right")
        counts, which = counts[which < len(ends)], which[which < len(ends)]
        within = counts - (ends - expected)[which]
        first = np.array([stretch.from_per_s for stretch in self.stretches])[which]
        last = np.array([stretch.to_per_s for stretch in self.stretches])[which]
        seconds = np.array([stretch.seconds for stretch in self.stretches])[which]
        # The integral of a rate that changes evenly: first * t + growth * t^2 / 2 = within, in the
        # form that loses no digits where the growth is small.
        growth = (last - first) / seconds
        root = np.sqrt(np.maximum(first * first + 2 * growth * within, 0))
        divisor = first + root
        times = np.divide(2 * within, divisor, out=np.zeros_like(within), where=divisor > 0)
        return np.array(self.edges_s)[which] + np.minimum(times, seconds)


def level(
    rate_per_s: float, seconds: float, *, arrivals: Arrivals = Arrivals.POISSON, seed: int = 1
) -> Profile:
    """One rate.

    Raises:
        ConfigError: It is no rate, no time, or too many requests.
    """
    return steps([rate_per_s], seconds, arrivals=arrivals, seed=seed)


def steps(
    rates_per_s: Sequence[float],
    seconds_each: float,
    *,
    arrivals: Arrivals = Arrivals.POISSON,
    seed: int = 1,
) -> Profile:
    """Several rates, one after another; raises as `level` does."""
    stretches = tuple(
        Stretch(seconds=seconds_each, from_per_s=rate, to_per_s=rate) for rate in rates_per_s
    )
    return _checked(Profile(stretches=stretches, arrivals=arrivals, seed=seed))


def ramp(
    from_per_s: float,
    to_per_s: float,
    seconds: float,
    *,
    parts: int = 10,
    arrivals: Arrivals = Arrivals.POISSON,
    seed: int = 1,
) -> Profile:
    """A rate that changes evenly, in stretches that are told apart; raises as `level` does."""
    rates = np.linspace(from_per_s, to_per_s, parts + 1).tolist()
    stretches = tuple(
        Stretch(seconds=seconds / parts, from_per_s=first, to_per_s=last)
        for first, last in pairwise(rates)
    )
    return _checked(Profile(stretches=stretches, arrivals=arrivals, seed=seed))


def _checked(profile: Profile) -> Profile:
    for stretch in profile.stretches:
        rates = (stretch.from_per_s, stretch.to_per_s)
        if not all(np.isfinite(rate) and rate >= 0 for rate in rates) or not max(rates) > 0:
            got = ", ".join(f"{rate:g}" for rate in rates)
            raise ConfigError(
                problem("rate", "requests a second above 0", got, "Give a positive rate.")
            )
        if not (np.isfinite(stretch.seconds) and stretch.seconds > 0):
            fix = "Give a positive number of seconds."
            raise ConfigError(problem("seconds", "a time above 0", f"{stretch.seconds:g}", fix))
    expected = sum(stretch.expected for stretch in profile.stretches)
    if expected > MAX_REQUESTS:
        fix = "Take a lower rate or fewer seconds."
        raise ConfigError(
            problem("load", f"at most {MAX_REQUESTS:,} requests", f"{expected:,.0f}", fix)
        )
    return profile


def _counts(expected: float, arrivals: Arrivals, seed: int) -> Any:
    if arrivals is Arrivals.CONSTANT:
        return np.arange(int(np.ceil(expected - 1e-9)), dtype=np.float64)
    # Ten standard deviations more than are expected, so that they never end too early.
    enough = int(expected + 10 * np.sqrt(expected) + 10)
    counts = np.cumsum(np.random.default_rng(seed).exponential(1.0, enough))
    return counts[counts < expected]
