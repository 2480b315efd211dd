"""The service predicts in time, refuses while draining, and counts everything once."""

from __future__ import annotations

from typing import Any

import pytest

from twofold.errors import DeadlineExceeded, Draining, InvalidInput, PredictionFailed, UnknownModel
from twofold.serving.metrics import DURATION, PREDICT, REQUESTS, ROWS
from twofold.serving.service import Health


def test_one_row_gives_one_prediction_and_many_rows_a_list_in_their_order(bench: Any) -> None:
    assert bench.one({"amount": 1.5}) == 3.0
    assert bench.one([1.5]) == 3.0
    assert bench.many([{"amount": 3.0}, [1.0], {"amount": 2}]) == [6.0, 2.0, 4.0]
    assert bench.many([]) == []


def test_first_version_given_answers_unless_another_is_named(bench: Any) -> None:
    assert bench.service.find("doubler").version == "2"
    assert bench.service.find("doubler", "1").version == "1"


@pytest.mark.parametrize(
    ("name", "version", "words"),
    [("nope", None, "expected one of 'doubler'"), ("doubler", "9", "expected one of '2', '1'")],
)
def test_unknown_model_or_version_is_refused_and_names_the_known(
    bench: Any, name: str, version: str | None, words: str
) -> None:
    with pytest.raises(UnknownModel, match=words):
        bench.service.find(name, version)


def test_request_past_its_deadline_is_refused_without_touching_the_model(bench: Any) -> None:
    received_s = bench.clock.now_s
    bench.clock.now_s += 0.3
    with pytest.raises(
        DeadlineExceeded, match=r"expected 250\.000 ms to be enough, got 50\.000 ms more"
    ):
        bench.one({"amount": 1.0}, received_s=received_s, deadline_s=received_s + 0.25)
    assert bench.models[0].calls == 0
    assert bench.total(REQUESTS, "doubler", "2", "late") == 1


def test_request_at_its_deadline_is_still_answered(bench: Any) -> None:
    assert bench.one({"amount": 1.0}, deadline_s=bench.clock.now_s) == 2.0


def test_draining_answers_what_had_begun_to_arrive_and_refuses_what_comes_later(
    bench: Any,
) -> None:
    received_s = bench.clock.now_s
    bench.clock.now_s += 1
    bench.service.drain()
    assert bench.service.health is Health.DRAINING
    assert bench.one({"amount": 1.0}, received_s=received_s) == 2.0
    with pytest.raises(Draining):
        bench.one({"amount": 1.0})
    with pytest.raises(Draining):
        bench.many([[1.0]])
    assert bench.total(REQUESTS, "doubler", "2", "refused") == 2


def test_draining_twice_keeps_the_first_instant(bench: Any) -> None:
    bench.service.drain()
    bench.clock.now_s += 1
    received_s = bench.clock.now_s
    bench.clock.now_s += 1
    bench.service.drain()
    with pytest.raises(Draining):
        bench.one({"amount": 1.0}, received_s=received_s)


def test_every_ending_is_counted_once_under_its_outcome(bench: Any) -> None:
    bench.one({"amount": 1.0})
    bench.many([[1.0], [2.0], [3.0]])
    with pytest.raises(InvalidInput):
        bench.one({"amount": "x"})
    with pytest.raises(InvalidInput):
        bench.many([[1.0], [None]])
    with pytest.raises(PredictionFailed):
        bench.one({"amount": 666.0})
    counted = {
        outcome: bench.total(REQUESTS, "doubler", "2", outcome)
        for outcome in ("ok", "invalid", "refused", "late", "failed")
    }
    assert counted == {"ok": 2, "invalid": 2, "refused": 0, "late": 0, "failed": 1}
    assert bench.total(ROWS, "doubler", "2") == 4
    assert bench.total(ROWS, "doubler", "1") == 0


def test_durations_are_counted_from_the_first_byte_and_inside_the_model(bench: Any) -> None:
    bench.models[0].takes_s = 0.25
    bench.one({"amount": 1.0}, received_s=bench.clock.now_s - 0.5)
    sums = {f.name: v[-1] for f, at, v in bench.metrics.totals() if at == ("doubler", "2")}
    assert sums[DURATION] == pytest.approx(0.75)
    assert sums[PREDICT] == pytest.approx(0.25)
