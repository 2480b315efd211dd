"""A lane under loads beyond its capacity, on a simulated clock: goodput holds, nothing latches.

The peak that all is compared with is the most that a closed loop of callers, each of whom asks
again as soon as it is answered, gets answered in time by the same process through the same lane.
"""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pytest

from twofold.errors import Overloaded
from twofold.serving.apart import Apart, Child
from twofold.serving.cost import Cost, Curve
from twofold.serving.mailbox import Hello, Job, Result, Word
from twofold.serving.priority import Priority
from twofold.serving.restarts import Restarts
from twofold.serving.waiting import Task

SLO_S = 0.1
RETRIES, RETRY_S = 3, 0.02
MAX_CALLERS = 1_024

ALIKE = Curve(0.0001, 0.001)
"""Rows cost the same, together or alone."""
SLOW = Curve(0.0, 0.02)
"""Five of them in a row, and the first caller has been waiting for as long as it may."""
TOGETHER = Curve(0.005, 0.0002)
"""Rows are much cheaper together."""
QUICK = Curve(0.0005, 0.0005)
WINDOWS_S = {ALIKE: 0.8, SLOW: 10.0, TOGETHER: 1.0, QUICK: 1.6}
"""How long is looked at each: a hundred micro-batches or more, if possible."""

every_cost = pytest.mark.parametrize("cost", WINDOWS_S, ids=str)
two_costs = pytest.mark.parametrize("cost", [ALIKE, SLOW], ids=str)


class Noise:
    """Factors of a log-normal distribution (sigma 0.2).

    Their order is random, but each part of the distribution soon has its share: what is the mean
    of a few hundred is hardly left to chance.
    """

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        normal = NormalDist(sigma=0.2)
        self._factors = [math.exp(normal.inv_cdf((index + 0.5) / 40)) for index in range(40)]
        self._deck: list[float] = []

    def __call__(self) -> float:
        if not self._deck:
            self._deck = self._factors[:]
            self._chance.shuffle(self._deck)
        return self._deck.pop()


class Process:
    """A model's process, its pipe and its mailbox: takes noisy `T(rows)` for each micro-batch."""

    def __init__(self, loop: Any, cost: Curve, chance: random.Random) -> None:
        self._loop = loop
        self._cost = cost
        self._noise = Noise(chance)
        self._free_s = self._stall_s = 0.0
        self._said: list[Any] = []
        self.pipe = self
        self.times = 1.0
        """How much longer than usual it takes."""

    def fileno(self) -> int:
        return 7

    def say(self, word: Any) -> None:
        self._said.append(word)
        self._loop.readers[7]()

    def hello(self) -> Hello:
        return self._said.pop()

    def send(self, slot: int, jobs: list[Job]) -> None:
        began_s = max(self._loop.now_s, self._free_s)
        took_s = self._cost(len(jobs)) * self._noise() * self.times + self._stall_s
        self._stall_s = 0.0
        self._free_s = began_s + took_s
        results = [Result("ok", 1, b"")] * len(jobs)
        word = (Word(slot, 1, took_s, took_s), results)
        self._loop.at(self._free_s, lambda: self.say(word))

    def receive(self) -> tuple[Word, list[Result]]:
        return self._said.pop()

    def stall(self, seconds: float) -> None:
        """Stand still for a while in the middle of the next micro-batch."""
        self._stall_s = seconds

    def mark_gone(self, slot: int, index: int) -> None:
        pass


@dataclass
class Count:
    """What became of requests."""

    good: int = 0
    refused: int = 0
    late: int = 0

    @property
    def all(self) -> int:
        return self.good + self.refused + self.late


class Bench:
    """A lane over a process, and callers of it."""

    def __init__(self, loop: Any, cost: Curve) -> None:
        self.loop = loop
        self.cost = cost
        self.chance = random.Random(5)  # noqa: S311 - a simulation
        self.process = Process(loop, cost, self.chance)
        self.count = Count()
        self.counts = [Count() for _ in Priority]
        child = Child(self.process, self.process, self.process, loop.now_s)  # type: ignore[arg-type]
        self.lane = Apart(
            lambda: child,
            loop,
            start_s=0.0,
            name="m",
            restarts=Restarts(max_per_min=10),
            died=lambda: None,
            max_predict_s=60.0,
            max_batch_bytes=1_000_000,
            cost=Cost(cost, now_s=loop.now_s),
            max_rows=1_024,
            max_tasks=1_024,
            clock=loop.clock,
            lag_s=lambda _: 0.0,
        )
        self.lane.start()
        self.process.say(Hello(cost.fixed_s, cost.per_row_s))

    def ask(
        self,
        then: Callable[..., None] = lambda *, is_good: None,
        *,
        priority: Priority = Priority.NORMAL,
        slo_s: float = SLO_S,
    ) -> None:
        """Send a request; go on once it is answered, or refused."""
        began_s = self.loop.now_s
        deadline_s = began_s + slo_s

        def done(answer: Any) -> None:
            is_good = not isinstance(answer, Exception) and self.loop.now_s <= deadline_s
            for count in (self.count, self.counts[priority]):
                count.good += is_good
                count.late += not is_good
            then(is_good=is_good)

        try:
            expected_s = self.lane.admit(1, priority, deadline_s, began_s)
        except Overloaded:
            for count in (self.count, self.counts[priority]):
                count.refused += 1
            then(is_good=False)
            return
        job = Job(0, {}, b"x", deadline_s)
        self.lane.submit(Task(job, 1, deadline_s, priority, done, began_s, expected_s))

    def offer(
        self, rate_per_s: float, seconds: float, ask: Callable[[], None] | None = None
    ) -> Count:
        """Send requests at random instants, whatever becomes of those before; count the ends."""
        end_s = self.loop.now_s + seconds
        send = ask or self.ask

        def arrive() -> None:
            if self.loop.now_s <= end_s:
                send()
                self.loop.call_later(self.chance.expovariate(rate_per_s), arrive)

        self.start_counting()
        arrive()
        self.loop.run(seconds)
        return self.count

    def start_counting(self) -> None:
        self.count = Count()
        self.counts = [Count() for _ in Priority]

    def persevering(self, retries: int = RETRIES) -> None:
        """Ask, and ask again soon when it is refused."""

        def then(*, is_good: bool) -> None:
            if not is_good and retries:
                self.loop.call_later(RETRY_S, self.persevering, retries - 1)

        self.ask(then)

    def goodput_per_s(self, callers: int, seconds: float) -> float:
        """What a closed loop of callers gets answered in time."""

        def again(*, is_good: bool) -> None:
            self.loop.call_later(0.0 if is_good else SLO_S / 2, self.ask, again)

        for _ in range(callers):
            self.ask(again)
        self.loop.run(seconds / 4)
        self.start_counting()
        self.loop.run(seconds)
        return self.count.good / seconds


Make = Callable[[Curve], Bench]


@pytest.fixture
def make(make_loop: Any) -> Make:
    return lambda cost: Bench(make_loop(), cost)


@functools.cache
def peak_per_s(make_loop: Any, cost: Curve) -> float:
    """The most that a closed loop gets, of as many callers as it takes."""
    peak_per_s, callers = 0.0, 32
    while callers <= MAX_CALLERS:
        found_per_s = Bench(make_loop(), cost).goodput_per_s(callers, WINDOWS_S[cost])
        if found_per_s < 1.02 * peak_per_s:
            break
        peak_per_s, callers = found_per_s, callers * 4
    return peak_per_s


def goodput_share(bench: Bench, peak_per_s: float, times: float, ask: Any = None) -> float:
    """Goodput as a share of the peak, under a load of so many times the peak that lasts."""
    seconds = WINDOWS_S[bench.cost] * min(1.0, 5.0 / times)
    bench.offer(times * peak_per_s, seconds / 4, ask)
    return bench.offer(times * peak_per_s, seconds, ask).good / seconds / peak_per_s


@every_cost
@pytest.mark.parametrize(("times", "share"), [(3, 0.97), (10, 0.9)])
def test_goodput_holds_beyond_capacity(
    make: Make, make_loop: Any, cost: Curve, times: int, share: float
) -> None:
    bench, peak = make(cost), peak_per_s(make_loop, cost)
    bench.offer(0.5 * peak, WINDOWS_S[cost] / 4)
    assert goodput_share(bench, peak, times) >= share


@two_costs
def test_goodput_holds_although_those_refused_try_again(
    make: Make, make_loop: Any, cost: Curve
) -> None:
    bench, peak = make(cost), peak_per_s(make_loop, cost)
    bench.offer(0.5 * peak, WINDOWS_S[cost] / 4, bench.persevering)
    assert goodput_share(bench, peak, 3, bench.persevering) >= 0.97
    assert bench.count.all > 5 * peak * WINDOWS_S[cost], "most of them did try again"


@two_costs
def test_what_is_answered_at_all_is_answered_in_time(
    make: Make, make_loop: Any, cost: Curve
) -> None:
    bench, peak = make(cost), peak_per_s(make_loop, cost)
    goodput_share(bench, peak, 10)
    assert bench.count.late <= 0.01 * bench.count.good


@two_costs
def test_stall_is_forgotten_within_a_second(make: Make, make_loop: Any, cost: Curve) -> None:
    bench, peak = make(cost), peak_per_s(make_loop, cost)
    before = bench.offer(0.5 * peak, WINDOWS_S[cost])
    bench.process.stall(2.0)
    bench.offer(0.5 * peak, 2.0)
    bench.offer(0.5 * peak, 1.0)
    after = bench.offer(0.5 * peak, WINDOWS_S[cost])
    assert after.good / after.all >= 0.98 * before.good / before.all


@two_costs
def test_overload_right_after_a_stall_is_borne_within_a_second_too(
    make: Make, make_loop: Any, cost: Curve
) -> None:
    bench, peak = make(cost), peak_per_s(make_loop, cost)
    bench.offer(0.5 * peak, 1.0)
    bench.process.stall(2.0)
    bench.offer(0.5 * peak, 2.0)
    bench.offer(3 * peak, 1.0)
    seconds = WINDOWS_S[cost]
    assert bench.offer(3 * peak, seconds).good / seconds >= 0.97 * peak


@pytest.mark.parametrize("cost", [*WINDOWS_S, Curve(0.04, 0.0)], ids=str)
def test_one_absurd_sample_does_not_shut_the_lane(make: Make, cost: Curve) -> None:
    bench = make(cost)
    bench.lane.cost.observe(1, 100 * cost(1))
    rate_per_s = 0.2 / cost(1)
    bench.offer(rate_per_s, 1.0)
    assert is_served(bench.offer(rate_per_s, 2.0))


@pytest.mark.parametrize("times", [10, 100])
@two_costs
def test_long_time_of_slowness_does_not_shut_the_lane(make: Make, cost: Curve, times: int) -> None:
    # By then every request is expected to be late, and rightly so.
    bench = make(cost)
    rate_per_s = 0.2 / cost(1)
    bench.process.times = times
    bench.offer(rate_per_s, 20.0)
    bench.process.times = 1.0
    bench.offer(rate_per_s, 8.0)
    assert is_served(bench.offer(rate_per_s, 2.0))


def is_served(count: Count) -> bool:
    return count.good > 0.95 * count.all > 0


@pytest.mark.parametrize("seed", [18, 20])
def test_restless_time_does_not_leave_the_lane_with_small_micro_batches(
    make: Make, make_loop: Any, seed: int
) -> None:
    # Chance makes it look as if rows were no cheaper together. Were only few of them predicted
    # together from then on, nothing would ever tell otherwise.
    bench, peak = make(TOGETHER), peak_per_s(make_loop, TOGETHER)
    bench.chance.seed(seed)
    for _ in range(12):
        bench.process.times = bench.chance.choice([1, 1, 1, 2, 4, 8])
        bench.offer(bench.chance.choice([300, 1_000, 3_000, 10_000]), 0.1)
    bench.process.times = 1
    bench.offer(3 * peak, 1.0)
    assert bench.offer(3 * peak, 0.5).good / 0.5 >= 0.9 * peak


@two_costs
def test_background_is_shed_first_and_interactive_requests_are_served(
    make: Make, make_loop: Any, cost: Curve
) -> None:
    bench, peak = make(cost), peak_per_s(make_loop, cost)
    # Of three times the peak a tenth is interactive, a tenth normal, and all else background.
    classes = [Priority.INTERACTIVE, Priority.NORMAL, *[Priority.BACKGROUND] * 8]

    def mixed() -> None:
        bench.ask(priority=bench.chance.choice(classes))

    assert goodput_share(bench, peak, 3, mixed) >= 0.9
    interactive, normal, background = bench.counts
    assert interactive.good >= 0.95 * interactive.all
    assert normal.good >= 0.8 * normal.all
    assert background.refused >= 0.75 * background.all
