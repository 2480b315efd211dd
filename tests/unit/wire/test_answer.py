"""A micro-batch in a model's own process: each request has its own end, whatever the others are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from twofold.errors import PredictionFailed
from twofold.serving.mailbox import Job, Result
from twofold.serving.metrics import Outcome
from twofold.wire.answer import NOTHING, Answerer
from twofold.wire.http import DEFAULT, Request, Response
from twofold.wire.protocols import Protocol, readers

POISON = 666.0
SOON_S = 1.0


class Desk:
    """An answerer over a model that doubles, and what it was asked for."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.calls: list[list[Any]] = []
        self.takes_s = 0.0
        self.readers = readers(bench.service.find("churn"), max_rows=3)
        self.answerer = Answerer(self.readers, self.predict, clock=lambda: bench.now_s)

    def predict(self, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
        self.calls.append([row[0] for row in rows])
        self.bench.now_s += self.takes_s
        if any(row[0] == POISON for row in rows):
            raise PredictionFailed("the model raised ValueError: secret of the model")
        return [[row[0] * 2 for row in rows]]

    def job(self, *amounts: Any, left_s: float = SOON_S) -> Job:
        body = msgspec.json.encode({"rows": [[amount, None] for amount in amounts]})
        return Job(Protocol.V1, {}, body, self.bench.now_s + left_s)

    def answer(self, *jobs: Job | None) -> list[Result]:
        results, _ = self.answerer(list(jobs))
        assert len(results) == len(jobs)
        return results


@pytest.fixture
def desk(bench: Any) -> Desk:
    return Desk(bench)


def response_of(result: Result) -> Response:
    return msgspec.msgpack.decode(result.answer, type=Response)


def told(result: Result) -> Any:
    return msgspec.json.decode(response_of(result).body)


def predictions(result: Result) -> list[float]:
    assert (result.outcome, response_of(result).status) == (Outcome.OK, 200)
    return told(result)["predictions"]


def refused(result: Result, status: int, code: str, outcome: Outcome) -> str:
    response = response_of(result)
    assert (result.outcome, result.rows, response.status) == (outcome, 0, status)
    assert told(result)["code"] == code
    return told(result)["error"]


def test_requests_are_predicted_in_one_call_and_each_has_its_own_rows(desk: Desk) -> None:
    first, second, third = desk.answer(desk.job(1.0), desk.job(2.0, 3.0, 4.0), desk.job(5.0, 6.0))
    assert desk.calls == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    assert predictions(first) == [2.0]
    assert predictions(second) == [4.0, 6.0, 8.0]
    assert predictions(third) == [10.0, 12.0]
    assert [first.rows, second.rows, third.rows] == [1, 3, 2]


def test_each_request_is_read_and_answered_in_its_own_protocol(desk: Desk, bench: Any) -> None:
    tensors = [
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": [2.0]},
        {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["pro"]},
    ]
    bodies = {
        Protocol.V1: b'{"row":[1.0,null]}',
        Protocol.V2: msgspec.json.encode({"id": "7", "inputs": tensors}),
        Protocol.MLFLOW: b"amount,plan\n3.0,pro\n",
    }
    kinds = {Protocol.MLFLOW: {b"content-type": b"text/csv", b"accept": b"text/csv"}}
    jobs = [
        Job(kind, kinds.get(kind, {}), body, bench.now_s + SOON_S) for kind, body in bodies.items()
    ]
    results = desk.answer(*jobs)
    assert desk.calls == [[1.0, 2.0, 3.0]]
    for job, result, doubled in zip(jobs, results, (2.0, 4.0, 6.0), strict=True):
        request = Request(b"POST", b"", job.headers, job.body, DEFAULT, 0.0)
        here = desk.readers[job.kind].read(request).respond([[doubled]])
        assert response_of(result) == here, "as the worker itself would have answered"


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        (0, b"{", 400, "not_json"),
        (0, b"{}", 422, "invalid_input"),
        (1, b'{"inputs":[]}', 422, "invalid_input"),
        (2, b"", 400, "not_json"),
        (0, b'{"rows":[1,2,3,4]}', 413, "too_many_rows"),
    ],
)
def test_bad_request_is_refused_and_the_good_ones_beside_it_are_answered(
    desk: Desk, bench: Any, kind: int, body: bytes, status: int, code: str
) -> None:
    bad = Job(kind, {}, body, bench.now_s + SOON_S)
    first, result, last = desk.answer(desk.job(1.0), bad, desk.job(2.0))
    assert desk.calls == [[1.0, 2.0]]
    assert (predictions(first), predictions(last)) == ([2.0], [4.0])
    assert ": expected " in refused(result, status, code, Outcome.INVALID)


def test_request_of_no_known_protocol_fails_alone(desk: Desk, bench: Any) -> None:
    unknown = Job(9, {}, b"", bench.now_s + SOON_S)
    result, good = desk.answer(unknown, desk.job(1.0))
    refused(result, 500, "internal", Outcome.FAILED)
    assert predictions(good) == [2.0]


def test_poisonous_request_among_good_ones_fails_alone(desk: Desk) -> None:
    jobs = [desk.job(float(number)) for number in range(1, 5)]
    jobs[2] = desk.job(3.0, POISON)
    results = desk.answer(*jobs)
    words = refused(results.pop(2), 500, "prediction_failed", Outcome.FAILED)
    assert "secret" not in words
    assert [predictions(result) for result in results] == [[2.0], [4.0], [8.0]]
    assert len(desk.calls[0]) == 5, "all were tried together first"


def test_nobody_waits_for_what_is_gone_or_late_so_the_model_is_not_asked(desk: Desk) -> None:
    late, barely = desk.job(2.0, left_s=0.0), desk.job(3.0, left_s=0.001)
    gone, expired, answered = desk.answer(None, late, barely)
    assert desk.calls == [[3.0]]
    assert (gone, expired) == (NOTHING, NOTHING)
    assert predictions(answered) == [6.0]


def test_request_that_is_late_is_told_so_if_somebody_still_listens() -> None:
    words = refused(NOTHING, 504, "deadline_exceeded", Outcome.LATE)
    assert words.startswith("deadline: expected ")


def test_late_request_is_not_even_read(desk: Desk, bench: Any) -> None:
    (result,) = desk.answer(Job(0, {}, b"{", bench.now_s))
    assert result == NOTHING


def test_micro_batch_of_which_nothing_is_left_does_not_touch_the_model(desk: Desk) -> None:
    bad = msgspec.structs.replace(desk.job(1.0), body=b"{")
    desk.answer(None, desk.job(1.0, left_s=-1.0), bad, None)
    assert desk.answer() == []
    assert desk.calls == []


def test_predictions_that_fit_no_answer_fail_alone(desk: Desk, bench: Any) -> None:
    class Odd(Desk):
        def predict(self, rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
            super().predict(rows)
            return [[object() if row[0] == 1.0 else row[0] for row in rows]]

    odd, even = Odd(bench).answer(desk.job(1.0), desk.job(2.0))
    refused(odd, 500, "internal", Outcome.FAILED)
    assert predictions(even) == [2.0]


def test_seconds_inside_the_model_are_told(desk: Desk) -> None:
    desk.takes_s = 0.25
    _, predict_s = desk.answerer([desk.job(1.0), desk.job(2.0)])
    assert predict_s == 0.25
    _, idle_s = desk.answerer([None])
    assert idle_s == 0.0


def test_results_can_be_sent_to_another_process(desk: Desk) -> None:
    results = desk.answer(desk.job(1.0), None, desk.job(POISON))
    sent = msgspec.msgpack.encode(results)
    assert msgspec.msgpack.decode(sent, type=list[Result]) == results
