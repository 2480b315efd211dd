"""Each answer is told of once, before it is given, with how its infer request ended."""

from __future__ import annotations

from typing import Any

import pytest
from callers import Waiter

from twofold.errors import DeadlineExceeded, Overloaded, PredictionFailed
from twofold.serving.waiting import Task
from twofold.wire.http import CLOSE, Request, Response
from twofold.wire.statuses import WireError
from twofold.wire.watched import Exchange, route_of

PREDICT = "/v1/models/churn/predict"
ROW = {"row": [1.0, None]}
ROUTE = "/v1/models/{model}/predict"


class Watched:
    """The bench's routes, watched, and what was told."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.told: list[Exchange] = []
        bench.watch(self.told.append)

    @property
    def only(self) -> Exchange:
        [exchange] = self.told
        return exchange

    def facts(self) -> tuple[Any, ...]:
        ended = self.only.ended
        assert ended is not None
        return (ended.served.name, ended.served.version, ended.outcome, ended.rows, ended.route)


@pytest.fixture
def watched(bench: Any) -> Watched:
    return Watched(bench)


@pytest.mark.parametrize(
    ("target", "body", "status", "facts"),
    [
        (PREDICT, ROW, 200, ("churn", "3", "ok", 1, ROUTE)),
        (PREDICT + "?a=b", {"rows": [[1.0, None]] * 3}, 200, ("churn", "3", "ok", 3, ROUTE)),
        (PREDICT, {"row": ["x", None]}, 422, ("churn", "3", "invalid", 0, ROUTE)),
        (PREDICT, b"{", 400, ("churn", "3", "invalid", 0, ROUTE)),
        (PREDICT, {"row": [666.0, None]}, 500, ("churn", "3", "failed", 0, ROUTE)),
        (
            "/v1/models/churn/versions/2/predict",
            ROW,
            200,
            ("churn", "2", "ok", 1, "/v1/models/{model}/versions/{version}/predict"),
        ),
        (
            "/v2/models/churn/infer",
            b"{}",
            422,
            ("churn", "3", "invalid", 0, "/v2/models/{model}/infer"),
        ),
        ("/invocations", b"{}", 422, ("churn", "3", "invalid", 0, "/invocations")),
    ],
)
def test_infer_request_is_told_of_with_how_it_ended(
    watched: Watched, target: str, body: Any, status: int, facts: tuple[Any, ...]
) -> None:
    response = watched.bench.ask("POST", target, body)
    assert (watched.only.response, watched.facts()) == (response, facts)
    assert response.status == status


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v2/health/live", 200),
        ("GET", "/docs", 200),
        ("GET", "/nope", 404),
        ("GET", PREDICT, 405),
        ("POST", "/v1/models/nope/predict", 404),
    ],
)
def test_any_other_request_is_told_of_without(
    watched: Watched, method: str, target: str, status: int
) -> None:
    watched.bench.ask("POST", PREDICT, ROW)
    watched.told.clear()
    assert watched.bench.ask(method, target, ROW).status == status
    assert watched.only.ended is None


def test_answers_are_those_of_the_plain_routes(bench: Any) -> None:
    asked = [("POST", PREDICT, ROW), ("POST", PREDICT, {"row": [1]}), ("GET", "/docs", b"")]
    plain = [bench.ask(*item, {b"x-request-id": b"a"}) for item in asked]
    watched = Watched(bench)
    assert [bench.ask(*item, {b"x-request-id": b"a"}) for item in asked] == plain
    assert [item.response for item in watched.told] == plain
    assert bench.outcomes() == {"ok": 2, "invalid": 2}


def test_exchange_has_the_instants_of_the_request(watched: Watched) -> None:
    bench = watched.bench
    bench.slow_down(0.25)
    began_s = bench.now_s
    bench.ask("POST", PREDICT, ROW, received_s=began_s - 0.5)
    ended = watched.only.ended
    assert ended is not None
    assert (watched.only.done_s, watched.only.duration_s) == (began_s + 0.25, 0.75)
    assert (ended.started_s, ended.predict_s, ended.waited) == (began_s, 0.25, False)


class Witness(Waiter):
    """A caller who remembers how much had been told when the answer came."""

    def __init__(self, watched: Watched) -> None:
        super().__init__()
        self.watched = watched
        self.told: list[int] = []

    def reply(self, response: Response) -> None:
        self.told.append(len(self.watched.told))
        super().reply(response)


@pytest.fixture
def later(bench: Any) -> tuple[Watched, Witness, Task]:
    """A request that waits in a lane."""
    watched = Watched(bench)
    witness = Witness(watched)
    task = bench.wait_in_lane(witness)
    assert watched.told == []
    return watched, witness, task


def test_answer_that_comes_later_is_told_of_then(later: tuple[Watched, Witness, Task]) -> None:
    watched, witness, task = later
    bench = watched.bench
    task.started_s, task.predict_s = bench.now_s + 0.1, 0.2
    bench.now_s += 0.4
    # Another request is answered meanwhile.
    bench.ask("GET", "/nope")
    assert watched.told.pop().ended is None
    task.end([[2.0]])
    assert watched.facts() == ("churn", "3", "ok", 1, ROUTE)
    ended = watched.only.ended
    assert ended is not None
    assert (ended.waited, ended.started_s, ended.predict_s) == (True, task.started_s, 0.2)
    assert witness.answers == [watched.only.response]
    assert witness.told == [1]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DeadlineExceeded("late"), "late"),
        (Overloaded("full", retry_after_s=1), "refused"),
        (PredictionFailed("secret"), "failed"),
    ],
)
def test_failure_in_a_lane_is_told_of_with_its_outcome(
    later: tuple[Watched, Witness, Task], error: Exception, outcome: str
) -> None:
    watched, witness, task = later
    task.end(error)
    assert watched.facts() == ("churn", "3", outcome, 0, ROUTE)
    assert watched.only.ended is not None
    assert watched.only.ended.started_s is None
    assert witness.answers == [watched.only.response]


def test_caller_that_has_gone_is_told_of_no_answer(later: tuple[Watched, Witness, Task]) -> None:
    watched, witness, task = later
    task.gone = True
    task.end([[2.0]])
    assert (watched.told, witness.answers) == ([], [])


def test_infer_request_that_was_never_read_is_told_of_with_what_was(watched: Watched) -> None:
    error = WireError("body_too_large", "body: expected at most 1 bytes, got more. Send fewer.")
    request = Request(b"POST", PREDICT.encode(), {b"host": b"x"}, b"", CLOSE, 100.0)
    response = watched.bench.routes.refuse(error, request)
    assert response.status == 413
    assert (watched.only.request, watched.only.response) == (request, response)
    assert watched.facts() == ("churn", "3", "invalid", 0, ROUTE)


def test_what_was_no_request_at_all_is_told_of_too(watched: Watched) -> None:
    watched.bench.routes.refuse(WireError("bad_request", "request: expected HTTP, got x. Mend."))
    assert watched.only.ended is None
    assert watched.only.request.target == b""


def test_watch_that_fails_harms_neither_the_answer_nor_the_next_watch(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Exchange] = []

    def broken(_: Exchange) -> None:
        raise RuntimeError("no disk")

    bench.watch(broken, told.append)
    assert bench.post(ROW)[0] == 200
    assert len(told) == 1
    assert "no disk" in caplog.text


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/models/predict/predict", ROUTE),
        ("/v2/models/m/versions/7/infer", "/v2/models/{model}/versions/{version}/infer"),
        ("/v1/models/versions/predict", ROUTE),
        ("/invocations", "/invocations"),
    ],
)
def test_route_has_braces_where_paths_differ(path: str, route: str) -> None:
    assert route_of(path) == route
