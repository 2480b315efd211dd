"""What a server does, told from two looks at its metrics: rates, percentiles, watching."""

from __future__ import annotations

import pytest
from counted_server import BARE, CHURN, Server
from hypothesis import given
from hypothesis import strategies as st

from twofold.app.endpoint import Endpoint, Reply
from twofold.app.top import Activity, between, watch
from twofold.errors import ConfigError
from twofold.serving.metrics import (
    CONNECTIONS,
    DEATHS,
    DURATION,
    IN_HAND,
    LAG,
    PREDICT,
    QUEUE,
    RELOADS,
    REQUESTS,
    RESPONSES,
    RESTARTS,
    ROWS,
    WAITING,
)


class Clock:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waited_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.waited_s.append(round(seconds, 6))
        self.now_s += seconds


class Answers(Endpoint):
    """An endpoint that gives one answer after the other, each after a while."""

    def __init__(self, clock: Clock, *answers: int | str, takes_s: float = 0.0) -> None:
        super().__init__("http://host:1")
        self._clock = clock
        self._takes_s = takes_s
        self._answers = iter(answers)

    def read(self) -> Reply:
        self._clock.now_s += self._takes_s
        answer = next(self._answers)
        if isinstance(answer, str):
            raise ConfigError(answer)
        return Reply(200, f"{BARE} {answer}\n", None)


def watched(
    *answers: int | str, clock: Clock | None = None, takes_s: float = 0.0, count: int | None = None
) -> list[float | str]:
    """What watching such answers tells: requests per second, or what was said."""
    clock = clock or Clock()
    endpoint = Answers(clock, *answers, takes_s=takes_s)
    looks = watch(
        endpoint, interval_s=2.0, count=count or len(answers) - 1, clock=clock, wait=clock.wait
    )
    return [
        look.models[0].answered_per_s if isinstance(look, Activity) else str(look) for look in looks
    ]


@given(names=st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True))
def test_model_may_have_any_name(names: list[str]) -> None:
    server = Server(*((name, "1") for name in names))
    for count, name in enumerate(names, start=1):
        server.add(REQUESTS, name, "1", "ok", amount=count)
    activity = between(Server(*((name, "1") for name in names)).look(0.0), server.look(1.0))
    assert {item.model: item.answered_per_s for item in activity.models} == {
        name: count for count, name in enumerate(names, start=1)
    }


# Rates.


def test_what_was_counted_between_two_looks_is_told_per_second() -> None:
    server = Server(CHURN, ("fraud", "7"))
    for outcome in ("ok", "refused", "late", "failed", "invalid"):
        server.add(REQUESTS, *CHURN, outcome, amount=1000)
    before = server.look(10.0)
    for amount, outcome in enumerate(("ok", "refused", "late", "failed", "invalid"), start=1):
        server.add(REQUESTS, *CHURN, outcome, amount=10 * amount)
    server.add(ROWS, *CHURN, amount=300)
    server.add(WAITING, *CHURN, amount=4)
    server.add(IN_HAND, *CHURN, amount=5)
    server.add(REQUESTS, "fraud", "7", "ok")
    activity = between(before, server.look(12.0))
    assert (activity.interval_s, activity.is_restarted) == (2.0, False)
    churn, fraud = activity.models
    assert (churn.model, churn.version) == CHURN
    assert (churn.answered_per_s, churn.shed_per_s, churn.late_per_s) == (5.0, 10.0, 15.0)
    assert (churn.failed_per_s, churn.invalid_per_s, churn.rows_per_s) == (20.0, 25.0, 150.0)
    assert (churn.waiting_requests, churn.in_hand_requests) == (4.0, 5.0)
    assert (fraud.answered_per_s, fraud.rows_per_s, fraud.waiting_requests) == (0.5, 0.0, 0.0)


def test_what_the_server_did_as_a_whole_is_told_too() -> None:
    server = Server()
    before = server.look(0.0)
    server.add(CONNECTIONS, amount=9)
    server.add(LAG, amount=0.25)
    for status, amount in (("200", 40), ("422", 10), ("500", 4), ("503", 6)):
        server.add(RESPONSES, status, amount=amount)
    for amount, counted in enumerate([(RESTARTS,), (DEATHS,), (RELOADS, "switched")], start=1):
        server.add(*counted, amount=amount)
    found = between(before, server.look(2.0)).server
    assert found.responses_per_s == {"2xx": 20.0, "4xx": 5.0, "5xx": 5.0}
    assert (found.connections, found.event_loop_lag_s) == (9.0, 0.25)
    assert (found.worker_restarts, found.model_process_restarts) == (1.0, 2.0)
    assert (found.reloads_switched, found.reloads_refused) == (3.0, 0.0)


def test_percentiles_are_those_of_requests_answered_in_the_interval() -> None:
    server = Server()
    for _ in range(1000):
        server.observe(DURATION, *CHURN, "ok", value_s=9.0)
    server.observe(QUEUE, *CHURN, "ok", value_s=9.0)
    before = server.look(0.0)
    for _ in range(100):
        server.observe(DURATION, *CHURN, "ok", value_s=0.03)
        server.observe(PREDICT, *CHURN, "ok", value_s=0.0009)
    server.observe(DURATION, *CHURN, "refused", value_s=8.0)
    [model] = between(before, server.look(1.0)).models
    assert model.p50_s == pytest.approx(0.025 + 0.5 * 0.025)
    assert model.p90_s == pytest.approx(0.025 + 0.9 * 0.025)
    assert model.p99_s == pytest.approx(0.025 + 0.99 * 0.025)
    assert model.predict_p50_s == pytest.approx(0.0005 + 0.5 * 0.0005)
    assert model.predict_p99_s == pytest.approx(0.0005 + 0.99 * 0.0005)
    assert model.queue_p99_s is None


def test_server_that_was_started_anew_counts_from_zero() -> None:
    old, new = Server(), Server()
    old.add(REQUESTS, *CHURN, "ok", amount=100)
    old.add(REQUESTS, *CHURN, "late", amount=1)
    new.add(REQUESTS, *CHURN, "ok", amount=30)
    new.add(REQUESTS, *CHURN, "late", amount=8)
    for value_s, amount in ((0.0001, 5), (0.3, 1)):
        for _ in range(amount):
            old.observe(DURATION, *CHURN, "ok", value_s=value_s)
    for _ in range(4):
        new.observe(DURATION, *CHURN, "ok", value_s=0.3)
    activity = between(old.look(0.0), new.look(1.0))
    assert activity.is_restarted
    [model] = activity.models
    assert model.answered_per_s == 30.0
    # No bucket of the new one may have less of the old one than another.
    assert model.p50_s == pytest.approx(0.25 + 0.5 * 0.25)


def test_version_that_came_meanwhile_counts_from_zero_and_one_that_left_is_not_shown() -> None:
    old, new = Server(CHURN), Server(("churn", "2"))
    old.add(REQUESTS, *CHURN, "ok", amount=100)
    new.add(REQUESTS, "churn", "2", "ok", amount=3)
    new.observe(DURATION, "churn", "2", "ok", value_s=0.02)
    activity = between(old.look(0.0), new.look(1.0))
    assert not activity.is_restarted
    [model] = activity.models
    assert (model.version, model.answered_per_s) == ("2", 3.0)
    assert model.p99_s == pytest.approx(0.01 + 0.99 * 0.015)


# Watching.


def test_server_is_looked_at_once_an_interval_and_once_before() -> None:
    clock = Clock()
    assert watched(10, 14, 20, 20, clock=clock) == [2.0, 3.0, 0.0]
    assert clock.waited_s == [2.0, 2.0, 2.0]


def test_slow_answer_does_not_make_the_next_looks_late() -> None:
    clock = Clock()
    watched(0, 0, 0, clock=clock, takes_s=0.5)
    assert clock.waited_s == [2.0, 1.5]


def test_looks_that_took_longer_than_an_interval_are_not_made_up_for() -> None:
    clock = Clock()
    watched(0, 0, 0, 0, clock=clock, takes_s=5.0)
    assert clock.waited_s == [2.0, 0.0, 0.0]
    assert clock.now_s == 100.0 + 4 * 5.0 + 2.0


def test_server_that_is_not_there_at_the_beginning_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^gone$"):
        watched("gone", 1)


def test_server_that_goes_away_is_asked_until_it_is_back() -> None:
    # Three intervals of two seconds after the last look.
    assert watched(10, 20, "gone", "gone", 80) == [5.0, "gone", "gone", 10.0]


def test_server_that_is_away_in_the_last_interval_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^gone for good$"):
        watched(1, 2, "gone", "gone for good")


def test_watching_without_a_count_goes_on_as_long_as_one_asks() -> None:
    clock = Clock()
    endpoint = Answers(clock, *range(1000))
    looks = watch(endpoint, interval_s=1.0, count=None, clock=clock, wait=clock.wait)
    for _ in range(500):
        assert isinstance(next(looks), Activity)
