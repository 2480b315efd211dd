"""Answers from a store on a server: it may be slow, fail, stay away, and come back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from callers import Waiter
from shelves import SECRET, UNAVAILABLE, Keyed, Shelf, access_of, snapshot_of, stored

from twofold.hybrid.lookup import Lookup
from twofold.serving.waiting import Task
from twofold.wire import answers as answering
from twofold.wire.http import DEFAULT, Request, Response
from twofold.wire.statuses import STORE_AWAY

ROW = {"amount": 1.5, "plan": "pro"}
FAR: dict[str, Any] = {"is_far": True, "max_store_failures": 2, "store_retry_s": 10.0}


@pytest.fixture
def keyed(bench: Any) -> Keyed:
    """Answers of `churn` from a server: `a` is stored, `b` with the features it was made of."""
    return Keyed(bench, Shelf(a=stored(7.5), b=stored(8.5, features=ROW))).open(**FAR)


def settle(keyed: Keyed) -> None:
    """Let what was begun go on."""

    async def turns() -> None:
        for _ in range(9):
            await asyncio.sleep(0)

    keyed.bench.loop.run_until_complete(turns())


def break_store(keyed: Keyed, what: str) -> None:
    assert keyed.far is not None
    if what == "slow":
        keyed.far.hangs = True
    else:
        keyed.shelf.fails = UNAVAILABLE


def full(*_: Any) -> bool:
    raise UNAVAILABLE


def test_answer_of_a_server_is_that_of_memory(keyed: Keyed) -> None:
    bodies: list[Any] = [
        {"key": "a"},
        {"key": "z"},
        {"key": "a", "row": ROW},
        {"key": "b", "row": ROW},
        {"key": "b", "changes": {"amount": 2.0}},
        {"keys": ["a", "z", "b"]},
        {"key": "a", "row": [1.0]},
    ]
    far = [keyed.post(body) for body in bodies] + [keyed.get("a"), keyed.get("z")]
    keyed.open()
    assert [keyed.post(body) for body in bodies] + [keyed.get("a"), keyed.get("z")] == far
    assert keyed.store_requests() == (9, 0)


def test_live_prediction_is_kept_on_the_server(keyed: Keyed) -> None:
    assert keyed.post({"key": "a", "row": ROW, "keep": True})[0] == 200
    settle(keyed)
    [(key, kept, snapshot)] = keyed.shelf.kept
    assert (key, kept.predictions, snapshot) == (b"a", (3.0,), snapshot_of())
    assert keyed.get()[1]["source"] == "live"


def test_no_more_is_on_its_way_to_the_server_than_there_is_room_for(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MAX_KEEPING", 0)
    assert keyed.post({"key": "a", "row": ROW, "keep": True})[0] == 200
    settle(keyed)
    assert keyed.shelf.kept == []


@pytest.mark.parametrize("what", ["slow", "failing"])
def test_server_that_can_not_keep_is_no_matter(keyed: Keyed, what: str) -> None:
    if what == "failing":
        keyed.shelf.keep = full  # type: ignore[method-assign]
    body = msgspec.json.encode({"key": "a", "row": ROW, "keep": True})
    find = keyed.shelf.find

    def found(*keys: Any, **how: Any) -> Any:
        answer = find(*keys, **how)
        if what == "slow":
            break_store(keyed, what)  # once the key is found
        return answer

    keyed.shelf.find = found  # type: ignore[method-assign]
    assert keyed.post(body)[1]["source"] == "live"
    settle(keyed)
    assert keyed.shelf.kept == []


@pytest.mark.parametrize("what", ["slow", "failing"])
def test_server_that_gives_nothing_leaves_what_can_be_predicted(keyed: Keyed, what: str) -> None:
    break_store(keyed, what)
    status, answer = keyed.post({"key": "a", "row": ROW})
    assert (status, answer["prediction"], answer["why"]) == (200, 3.0, "store unavailable")
    status, answer = keyed.get()
    assert (status, answer["code"]) == (503, "store_unavailable")
    # Where the store is, and how it fails, is its operator's to know.
    assert answer["error"] == STORE_AWAY
    assert keyed.store_requests() == (0, 2)
    assert keyed.counted() == {"live": 1, "refused": 1}


@pytest.mark.parametrize("what", ["slow", "failing"])
def test_what_is_remembered_is_answered_and_marked(keyed: Keyed, what: str) -> None:
    keyed.open(is_far=True)
    keyed.post({"keys": ["a", "z"]})
    keyed.post({"key": "b", "changes": {"amount": 2.0}})
    break_store(keyed, what)
    keyed.now += timedelta(minutes=1)
    status, answer = keyed.get()
    assert (status, answer["prediction"], answer["fresh"]) == (200, 7.5, False)
    assert (answer["age_s"], answer["why"]) == (3660.0, "store unavailable")
    assert keyed.get("z")[1]["code"] == "store_unavailable"
    known, unknown = keyed.post({"keys": ["b", "z"]})[1]["answers"]
    assert (known["prediction"], unknown["code"]) == (8.5, "store_unavailable")
    # The features are remembered, too.
    answer = keyed.post({"key": "b", "changes": {"amount": 2.0}})[1]
    assert (answer["prediction"], answer["why"]) == (4.0, "store unavailable")
    assert keyed.post({"key": "a", "changes": {"amount": 2.0}})[0] == 503


def test_what_is_remembered_is_not_answered_where_the_policy_forbids_it(keyed: Keyed) -> None:
    keyed.open(on_stale="refuse", **FAR)
    keyed.get()
    keyed.shelf.fails = UNAVAILABLE
    assert keyed.get()[1]["code"] == "store_unavailable"


def test_server_that_keeps_failing_is_left_alone_until_it_is_tried_again(keyed: Keyed) -> None:
    keyed.shelf.fails = UNAVAILABLE
    for _ in range(2):
        keyed.get()
    asked = len(keyed.shelf.asked)
    status, answer = keyed.get()
    assert (status, answer["code"]) == (503, "store_unavailable")
    assert len(keyed.shelf.asked) == asked
    keyed.bench.now_s += 10.0
    keyed.get()
    keyed.get()
    assert len(keyed.shelf.asked) == asked + 1
    keyed.shelf.fails = None
    assert keyed.get()[0] == 503
    keyed.bench.now_s += 10.0
    assert [keyed.get()[0] for _ in range(3)] == [200] * 3
    assert keyed.store_requests() == (3, 3)


def test_one_answer_ends_a_row_of_failures(keyed: Keyed) -> None:
    for fails in (UNAVAILABLE, None, UNAVAILABLE, None):
        keyed.shelf.fails = fails
        keyed.get()
    assert keyed.store_requests() == (2, 2)


def test_slow_server_has_no_more_time_than_the_request_and_leaves_some(
    keyed: Keyed, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_store(keyed, "slow")
    given: list[float] = []
    find = Lookup.find

    async def looked_up(lookup: Lookup, keys: Any, **how: Any) -> Any:
        given.append(how["within_s"])
        return await find(lookup, keys, **how)

    monkeypatch.setattr(Lookup, "find", looked_up)
    assert keyed.get(headers={b"x-twofold-deadline-ms": b"100"})[0] == 503
    assert given == [pytest.approx(0.05)]


def test_request_that_has_no_time_left_is_not_asked_for(keyed: Keyed) -> None:
    keyed.bench.now_s += 2.0
    late = keyed.bench.now_s - 1.5
    for status, answer in (
        keyed.get(received_s=late),
        keyed.post({"keys": ["a", "b"]}, received_s=late),
    ):
        assert (status, answer["code"]) == (504, "deadline_exceeded")
    assert keyed.shelf.asked == []
    assert keyed.counted() == {"refused": 3}
    assert keyed.store_requests() == (0, 0)


def test_nothing_is_asked_of_the_server_for_who_may_not_ask(keyed: Keyed, tmp_path: Path) -> None:
    access = access_of(tmp_path, max_requests_per_s=1.0, burst_requests=1)
    keyed.open(access=access, **FAR)
    assert keyed.get()[1]["code"] == "unauthorized"
    assert keyed.shelf.asked == []
    known = {b"x-api-key": SECRET}
    assert [keyed.get(headers=known)[0] for _ in range(2)] == [200, 429]
    assert keyed.counted() == {"invalid": 1, "stored": 1, "refused": 1}


def test_fault_of_the_server_itself_is_an_answer_and_a_line_in_the_log(
    keyed: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("secret of the store")

    keyed.shelf.find = broken  # type: ignore[method-assign]
    status, answer = keyed.get(headers={b"x-request-id": b"7"})
    assert (status, answer["code"], answer["request_id"]) == (500, "internal", "7")
    assert "secret" not in answer["error"]
    assert "secret of the store" in caplog.text


class Later:
    """A lane that keeps the one task it is given."""

    gate = None
    task: Task | None = None

    def admit(self, *_: Any) -> float:
        return 0.0

    def submit(self, task: Task) -> None:
        self.task = task


def test_live_prediction_waits_for_its_turn_after_the_store(keyed: Keyed) -> None:
    lane = keyed.bench.service.default("churn").turn = Later()
    body = msgspec.json.encode({"key": "a", "row": ROW})
    target = b"/v1/models/churn/answers"
    asked = Request(b"POST", target, {}, body, DEFAULT, keyed.bench.now_s)
    waiter = Waiter()

    async def ask() -> Response | None:
        return keyed.bench.routes.answer(asked, waiter)

    assert keyed.bench.loop.run_until_complete(ask()) is None
    settle(keyed)
    assert lane.task is not None
    assert waiter.task is lane.task
    lane.task.done([[3.0]])
    [response] = waiter.answers
    assert msgspec.json.decode(response.body)["prediction"] == 3.0


def test_snapshot_is_that_of_the_last_answer(keyed: Keyed) -> None:
    hybrid = keyed.hybrids["churn"]
    assert hybrid.snapshot() is None
    keyed.get()
    assert hybrid.snapshot() == snapshot_of()
