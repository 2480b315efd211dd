"""A service knows its versions, refuses while draining, and counts everything once."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from records import record_of

from twofold.errors import (
    DeadlineExceeded,
    Draining,
    InvalidInput,
    Overloaded,
    PredictionFailed,
    QuotaExceeded,
    UnknownModel,
)
from twofold.serving.cost import Cost, Curve
from twofold.serving.metrics import (
    DURATION,
    IN_HAND,
    LAG,
    QUEUE,
    REQUESTS,
    WAITING,
    Metrics,
    Outcome,
    layout_for,
)
from twofold.serving.service import Contract, Health, Served, Service, outcome_of
from twofold.serving.turn import Turn
from twofold.serving.waiting import CallerGone

POISON = 666.0


class Doubler:
    """Predicts twice `amount`; fails on a poisonous one."""

    quick = None

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def predict_checked(self, rows: Sequence[Any], *, one_by_one: int = 1) -> list[list[Any]]:
        self.calls.append((len(rows), one_by_one))
        if [POISON] in rows:
            raise PredictionFailed("the model raised ValueError: secret of the model")
        return [[row[0] * 2 for row in rows]]


class Bench:
    """A service of two versions of one model, and of another model."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.lag_s = 0.0
        versions = [("doubler", "2"), ("doubler", "1"), ("other", "1")]
        layout = layout_for(versions, [200])
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        self.models = [Doubler() for _ in versions]
        self.served = [
            Served(record_of(*version), self.metrics, model=model, one_by_one=3)
            for version, model in zip(versions, self.models, strict=True)
        ]
        self.service = Service(
            self.served, self.metrics, clock=loop.clock, lag_s=lambda _: self.lag_s
        )

    def total(self, family: str, *labels: str) -> list[float]:
        return next(v for f, at, v in self.metrics.totals() if (f.name, *at) == (family, *labels))


@pytest.fixture
def bench(loop: Any) -> Bench:
    return Bench(loop)


def test_rows_are_predicted_by_the_door_in_their_order(bench: Bench) -> None:
    assert bench.served[0].predict([[3.0], [1.0], [2.0]]) == [[6.0, 2.0, 4.0]]
    # It is told how many rows are predicted sooner one by one.
    assert bench.models[0].calls == [(3, 3)]


def test_failure_of_the_model_is_the_caller_s_to_handle(bench: Bench) -> None:
    with pytest.raises(PredictionFailed):
        bench.served[0].predict([[1.0], [POISON]])


def test_model_in_another_process_is_not_predicted_in_this_one(bench: Bench) -> None:
    served = Served(record_of("doubler", "2"), bench.metrics)
    with pytest.raises(RuntimeError, match="doubler@2 is in another process"):
        served.predict([[1.0]])


def test_row_is_checked_against_the_version_s_signature() -> None:
    contract = Contract(record_of("doubler", "2"))
    assert (contract.name, contract.version) == ("doubler", "2")
    assert contract.check({"amount": 1}) == [1.0]
    with pytest.raises(InvalidInput, match=r"row\.amount: expected float64, got"):
        contract.check({"amount": "x"})


def test_first_version_given_answers_unless_another_is_named(bench: Bench) -> None:
    find = bench.service.find
    assert find("doubler").version == "2"
    assert find("doubler", "1").version == "1"
    assert bench.service.default("doubler") is find("doubler")
    assert find("other") is bench.served[2]


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [
        ("nope", None, "model: expected one of 'doubler', 'other', got 'nope'"),
        ("doubler", "9", "doubler.version: expected one of '2', '1', got '9'"),
    ],
)
def test_unknown_model_or_version_is_refused_and_names_the_known(
    bench: Bench, name: str, version: str | None, words: str
) -> None:
    with pytest.raises(UnknownModel) as caught:
        bench.service.find(name, version)
    assert str(caught.value).startswith(words)


def test_service_is_ready_when_it_says_so_and_every_model_can_predict(bench: Bench) -> None:
    assert not bench.service.is_ready
    bench.service.ready()
    assert bench.service.is_ready
    # One whose process has just died can't.
    lane: Any = SimpleNamespace(is_ready=False)
    bench.service.versions["doubler"]["1"] = Served(
        record_of("doubler", "1"), bench.metrics, apart=lane
    )
    assert not bench.service.is_ready
    lane.is_ready = True
    assert bench.service.is_ready
    bench.service.drain()
    assert not bench.service.is_ready


def test_model_that_is_here_is_ready_whatever_becomes_of_the_process_beside_it(
    bench: Bench,
) -> None:
    lane: Any = SimpleNamespace(is_ready=False)
    assert Served(record_of("doubler", "1"), bench.metrics, model=Doubler(), apart=lane).is_ready
    assert not Served(record_of("doubler", "1"), bench.metrics).is_ready


def test_draining_answers_what_had_begun_to_arrive_and_refuses_what_comes_later(
    bench: Bench, loop: Any
) -> None:
    service = bench.service
    received_s = loop.now_s
    loop.now_s += 1.0
    service.check_draining(loop.now_s)
    service.drain()
    assert service.health is Health.DRAINING
    service.check_draining(received_s)
    with pytest.raises(Draining, match="Send the request again"):
        service.check_draining(loop.now_s)


def test_draining_twice_keeps_the_first_instant(bench: Bench, loop: Any) -> None:
    bench.service.drain()
    received_s = loop.now_s + 1.0
    loop.now_s += 2.0
    bench.service.drain()
    with pytest.raises(Draining):
        bench.service.check_draining(received_s)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidInput("no"), Outcome.INVALID),
        (UnknownModel("no"), Outcome.INVALID),
        (Overloaded("no", retry_after_s=1), Outcome.REFUSED),
        (QuotaExceeded("no"), Outcome.REFUSED),
        (Draining("no"), Outcome.REFUSED),
        (DeadlineExceeded("no"), Outcome.LATE),
        (PredictionFailed("no"), Outcome.FAILED),
        (ZeroDivisionError(), Outcome.FAILED),
        (CallerGone(), Outcome.GONE),
    ],
)
def test_every_error_is_one_outcome(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


def test_every_ending_is_counted_once_under_its_outcome_with_its_time(
    bench: Bench, loop: Any
) -> None:
    received_s = loop.now_s
    loop.now_s += 0.5
    for outcome in (Outcome.INVALID, Outcome.REFUSED, Outcome.REFUSED):
        bench.service.count(bench.served[0], outcome, received_s)
    bench.service.count(bench.served[0], Outcome.LATE, received_s, 0.25)
    counted = {
        str(outcome): [
            bench.total(REQUESTS, "doubler", "2", outcome)[0],
            *(sum(bench.total(DURATION, "doubler", "2", outcome)[:-1]),),
            bench.total(DURATION, "doubler", "2", outcome)[-1],
            bench.total(QUEUE, "doubler", "2", outcome)[-1],
        ]
        for outcome in Outcome
    }
    assert counted == {
        "ok": [0, 0, 0, 0],
        "invalid": [1, 1, 0.5, 0],
        "refused": [2, 2, 1.0, 0],
        "late": [1, 1, 0.5, 0.25],
        "failed": [0, 0, 0, 0],
        "gone": [0, 0, 0, 0],
    }
    assert bench.total(REQUESTS, "doubler", "1", "refused") == [0]


def test_what_waits_and_what_is_in_hand_is_shown_as_it_is_now(
    bench: Bench, loop: Any, ask: Any
) -> None:
    lane = Turn(
        lambda groups: groups,
        loop.call_soon,
        cost=Cost(Curve(0.0, 0.001), now_s=0.0),
        max_rows=9,
        max_tasks=9,
        clock=loop.clock,
        lag_s=lambda _: 0.0,
    )
    for _ in range(3):
        lane.submit(ask().task)
    bench.served[0].turn = lane
    apart: Any = SimpleNamespace(waiting=[1, 2], in_hand=5)
    bench.served[0].apart = apart
    bench.lag_s = 0.125
    bench.service.sample()
    assert bench.total(WAITING, "doubler", "2") == [3 + 2]
    assert bench.total(IN_HAND, "doubler", "2") == [5]
    assert bench.total(WAITING, "doubler", "1") == [0]
    assert bench.total(LAG) == [0.125]
    loop.turn()
    apart.in_hand = 0
    bench.service.sample()
    assert bench.total(WAITING, "doubler", "2") == [2]
    assert bench.total(IN_HAND, "doubler", "2") == [0]
