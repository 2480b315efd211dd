"""Loading a server: one client alone, the rate it keeps up with, and rates around that."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import msgspec

from twofold.app.compare.lone import ask_alone
from twofold.app.compare.plan import Plan
from twofold.app.compare.processes import Serving
from twofold.errors import ConfigError
from twofold.lab import arrivals
from twofold.lab.capacity import find_capacity, is_kept, kept_for_longer
from twofold.lab.findings import Latency, Level
from twofold.lab.generator import Target, connections_for, run_closed, run_open
from twofold.lab.parts import latency_of
from twofold.lab.requests import deadline_header, with_header

PEAK_CONNECTIONS = 32
MIN_TIMEOUT_S = 2.0
"""As long as a server may take by its default deadline, and as long again."""
STEPS = (0.25, 0.5, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7)
"""Of what a closed loop got: what is tried in a quick look."""
HIGHEST_TRIED = 2.0
"""Of what a closed loop got: no more is looked for."""
CPU_LEVEL = 0.8
"""The share of the capacity at which the CPU of a request is told."""
SURELY_KEPT = 0.9
"""Of the capacity: below that, what was kept once should be again."""
WARM_UP = 50


@dataclasses.dataclass(frozen=True)
class Alone:
    """One client.

    Attributes:
        latency: Of its requests.
        cpu_per_request_s: What the server used for each.
        note: How it was measured, if not natively.
    """

    latency: Latency
    cpu_per_request_s: float
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Levels:
    """Rates, and which of them the server keeps up with.

    Attributes:
        capacity_per_s: The highest that kept the objective; 0 if none did.
        cpu_per_request_s: What the server used for an answer just below; None if it has none.
        levels: Around it, ascending.
    """

    capacity_per_s: float
    cpu_per_request_s: float | None
    levels: list[Level]

    def unsteady(self, slo_s: float) -> str:
        """What is to be noted if rates below the capacity weren't kept again; else nothing."""
        below = [
            level
            for level in self.levels
            if level.offered_per_s <= SURELY_KEPT * self.capacity_per_s
        ]
        lost = [level for level in below if not is_kept(_as_valid(level), slo_s)]
        if not lost:
            return ""
        rates = " and ".join(f"{level.offered_per_s:,.0f}" for level in lost)
        return (
            f"The machine wasn't calm: rates of {rates}/s were not kept, though "
            f"{self.capacity_per_s:,.0f}/s had been. Compare again when it does nothing else."
        )


def _ascending(levels: Sequence[Level]) -> list[Level]:
    """Levels of which there is something to tell: a low rate may bring no request in its time."""
    return sorted(
        (level for level in levels if level.offered_per_s), key=lambda one: one.offered_per_s
    )


def _as_valid(level: Level) -> Level:
    """A level whose generator may have been late: that is in its latency already."""
    return msgspec.structs.replace(level, is_valid=True)


@dataclasses.dataclass(frozen=True)
class Loads:
    """Loads of one server with one kind of request.

    Attributes:
        server: Which.
        requests: Used in turn.
        plan: For how long.
        slo_s: What p99 is held to, and by when an answer is in time.
        is_quick: Whether the capacity need not be found closely.
    """

    server: Serving
    requests: Sequence[bytes]
    plan: Plan
    slo_s: float
    is_quick: bool

    @property
    def _target(self) -> Target:
        return Target(self.server.address, self.requests, b'"prediction"')

    @functools.cached_property
    def _hurried(self) -> Target:
        """The same by clients that say how long they wait, so that the server can refuse them."""
        said = deadline_header(self.slo_s)
        requests = [with_header(request, said) for request in self.requests]
        return Target(self.server.address, requests, b'"prediction"')

    @property
    def _timeout_s(self) -> float:
        return max(MIN_TIMEOUT_S, 2 * self.slo_s)

    def alone(self) -> Alone:
        """One client after the other's answer; from Python where there is no generator."""
        plan = self.plan
        before_s = self.server.cpu_s()
        try:
            found = run_closed(
                self._target,
                connections=1,
                seconds=plan.alone_s,
                warm_up_s=plan.warm_up_s,
                deadline_s=self.slo_s,
                timeout_s=self._timeout_s,
            )
        except ConfigError as error:
            times_s, answers = ask_alone(
                self.server.address, self.requests, seconds=plan.alone_s, warm_up=WARM_UP
            )
            cpu_s = self.server.cpu_s() - before_s
            note = f"No native load generator here ({error}): the lone client is one in Python."
            return Alone(latency_of(times_s), cpu_s / answers, note)
        cpu_s = self.server.cpu_s() - before_s
        # Those of the warm-up were answered, too.
        answers = found.count * (1 + plan.warm_up_s / plan.alone_s)
        return Alone(found.latency, cpu_s / max(answers, 1.0))

    def find(self, say: Callable[[float], None], shares: Sequence[float]) -> Levels:
        """Find the capacity, then offer shares of it.

        Args:
            say: Told which share of it all is done.
            shares: Of the capacity.

        Raises:
            ConfigError: There is no native generator.
        """
        peak_per_s = self._peak()
        if self.is_quick:
            capacity_per_s, tried_levels = self._climb(peak_per_s)
        else:
            capacity_per_s, tried_levels = self._search(peak_per_s, say)
        if not capacity_per_s:
            return Levels(0.0, None, _ascending(tried_levels))
        levels: list[Level] = []
        if not self.is_quick:
            say(0.6)
            capacity_per_s, held = kept_for_longer(
                lambda rate: self._held_to(rate, self.plan.level_s),
                capacity_per_s,
                slo_s=self.slo_s,
            )
            levels.append(held)
        say(0.65)
        cpu_s, level = self._cpu(CPU_LEVEL * capacity_per_s)
        levels.append(level)
        # Ascending: what a server is left with after too much doesn't befall the others.
        left = [share for share in sorted(shares) if self.is_quick or share != 1.0]
        rates = [share * capacity_per_s for share in left]
        for at, some in enumerate([rates] if self.is_quick else [[rate] for rate in rates]):
            say(0.7 + 0.3 * at / len(rates))
            levels += self._offer(some, self.plan.level_s)
        return Levels(capacity_per_s, cpu_s, _ascending(levels))

    def _peak(self) -> float:
        found = run_closed(
            self._target,
            connections=PEAK_CONNECTIONS,
            seconds=self.plan.peak_s,
            warm_up_s=self.plan.warm_up_s,
            deadline_s=self._timeout_s,
            timeout_s=self._timeout_s,
        )
        return max(found.level.answered_per_s, 1.0)

    def _search(self, peak_per_s: float, say: Callable[[float], None]) -> tuple[float, list[Level]]:
        tried = 0

        def measure(rate_per_s: float) -> Level:
            nonlocal tried
            tried += 1
            say(0.6 * min(1.0, tried / 9))
            level = self._held_to(rate_per_s, self.plan.search_s)
            if is_kept(level, self.slo_s):
                return level
            # Once more: a moment in which the machine did something else says nothing of a server.
            return self._held_to(rate_per_s, self.plan.search_s)

        return find_capacity(
            measure,
            slo_s=self.slo_s,
            start_per_s=peak_per_s * HIGHEST_TRIED / 2,
            max_per_s=peak_per_s * HIGHEST_TRIED,
        )

    def _climb(self, peak_per_s: float) -> tuple[float, list[Level]]:
        """Try a few rates in one go, which is quick and tells it to about 20 %.

        One that isn't kept leaves its requests to the next one: if none is, lower ones are tried.
        """
        levels: list[Level] = []
        for part in (1.0, 0.5, 0.25):
            rates = [share * part * peak_per_s for share in STEPS]
            levels = self._offer(rates, self.plan.search_s)
            kept = [one.offered_per_s for one in levels if is_kept(_as_valid(one), self.slo_s)]
            if kept:
                return max(kept), levels
        return 0.0, levels

    def _held_to(self, rate_per_s: float, seconds: float) -> Level:
        """Offer a rate to see whether it keeps the objective.

        A generator that is late only ever adds to the latency, which is counted from when a request
        was due: what kept the objective in spite of it has kept it.
        """
        [level] = self._offer([rate_per_s], seconds)
        kept = _as_valid(level)
        return kept if is_kept(kept, self.slo_s) else level

    def _offer(self, rates_per_s: Sequence[float], seconds: float) -> list[Level]:
        found = run_open(
            self._hurried,
            arrivals.steps(rates_per_s, seconds),
            deadline_s=self.slo_s,
            timeout_s=self._timeout_s,
            warm_up_s=self.plan.warm_up_s,
            connections=connections_for(max(rates_per_s), self.slo_s),
        )
        return found.stretches

    def _cpu(self, rate_per_s: float) -> tuple[float, Level]:
        before_s = self.server.cpu_s()
        [level] = self._offer([rate_per_s], self.plan.level_s)
        cpu_s = self.server.cpu_s() - before_s
        answers = level.answered_per_s * (self.plan.level_s + self.plan.warm_up_s)
        return cpu_s / max(answers, 1.0), level
