"""By key: what is stored while it is fresh, else what is predicted now; and what becomes of both.

`test_answers_far.py` has stores on servers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from callers import Waiter
from shelves import (
    NOW,
    SECRET,
    UNAVAILABLE,
    Keyed,
    Shelf,
    access_of,
    origin_of,
    snapshot_of,
    stored,
)

from twofold.errors import DeadlineExceeded, InvalidInput, Overloaded, StoreUnavailable
from twofold.serving.mailbox import Result
from twofold.wire.answers import Hybrid
from twofold.wire.http import DEFAULT, JSON, Request, Response
from twofold.wire.statuses import STORE_AWAY
from twofold.wire.watched import WatchedRoutes

ROW = {"amount": 1.5, "plan": "pro"}
HOUR_AGO = "2026-01-31T11:00:00Z"
STORED = {
    "key": "a",
    "prediction": 7.5,
    "model": "churn",
    "version": "3",
    "source": "batch",
    "as_of": HOUR_AGO,
    "age_s": 3600.0,
    "fresh": True,
    "run_id": "night",
}
LIVE = {
    "key": "a",
    "prediction": 3.0,
    "model": "churn",
    "version": "3",
    "source": "live",
    "as_of": "2026-01-31T12:00:00Z",
    "age_s": 0.0,
    "fresh": True,
}
POISON = 666.0
"""What the model of `make_bench` fails on."""
OVERLOADED = Overloaded("server: expected less, got more. Wait.", retry_after_s=3)


@pytest.fixture
def keyed(bench: Any) -> Keyed:
    """Answers of `churn` from a shelf: `a` is stored, `b` with the features it was made of."""
    return Keyed(bench, Shelf(a=stored(7.5), b=stored(8.5, features=ROW))).open()


def key_of(secret: bytes = SECRET) -> dict[bytes, bytes]:
    return {b"x-api-key": secret}


# What is stored


def test_fresh_prediction_is_answered_as_it_is_stored(keyed: Keyed) -> None:
    assert keyed.get() == (200, STORED)
    assert keyed.post({"key": "a"}) == (200, STORED)
    assert keyed.counted() == {"stored": 2}
    assert keyed.bench.outcomes() == {}


def test_head_is_answered_as_get_is(keyed: Keyed) -> None:
    response = keyed.bench.ask("HEAD", "/v1/models/churn/answers/a")
    assert (response.status, msgspec.json.decode(response.body)) == (200, STORED)


def test_key_that_is_a_number_is_found_as_a_number_and_as_its_digits(keyed: Keyed) -> None:
    keyed.shelf.stored[b"17"] = stored(1.0)
    assert keyed.get("17")[1]["key"] == "17"
    assert keyed.post({"key": 17})[1]["key"] == 17
    assert keyed.post({"key": "17"})[1]["key"] == "17"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a%2Fb", "a/b"),
        ("a/b", "a/b"),
        ("x/answers/y", "x/answers/y"),
        ("%C3%BC%20%22", 'ü "'),
        ("%25", "%"),
        ("a%3Fb%23c", "a?b#c"),
        ("a+b", "a+b"),
        ("", ""),
        ("%zz", "%zz"),
    ],
)
def test_key_is_all_that_follows_whatever_is_in_it(keyed: Keyed, path: str, key: str) -> None:
    keyed.shelf.stored[key.encode()] = stored(1.0)
    status, answer = keyed.get(path)
    assert (status, answer["key"], answer["prediction"]) == (200, key, 1.0)


@pytest.mark.parametrize(
    "target",
    [
        "http://host/v1/models/churn/answers/a",
        "/v1/models/ch%75rn/answers/a",
        "/v1/models/churn/answers/a#x",
    ],
)
def test_path_before_the_key_may_be_written_otherwise(keyed: Keyed, target: str) -> None:
    assert msgspec.json.decode(keyed.bench.ask("GET", target).body) == STORED


def test_key_that_is_no_utf_8_is_not_known(keyed: Keyed) -> None:
    status, answer = keyed.get("%FF")
    assert (status, answer["code"]) == (404, "unknown_key")


def test_several_predictions_of_a_row_are_answered_by_name(keyed: Keyed) -> None:
    keyed.open("risk")
    keyed.shelf.stored[b"r"] = stored(0.25, 0.75, origin=origin_of(outputs=("low", "high")))
    assert keyed.get("r", "risk")[1]["prediction"] == {"low": 0.25, "high": 0.75}
    body = {"key": "r", "row": [0.5, None], "keep": True}
    assert keyed.post(body, "risk")[1]["prediction"] == {"low": 1.0, "high": 1.0}
    assert keyed.shelf.kept[0][1].predictions == (1.0, 1.0)


def test_model_without_a_store_has_no_answers(keyed: Keyed) -> None:
    assert keyed.get("a", "risk")[1]["code"] == "unknown_path"
    assert keyed.get("a", "none")[1]["code"] == "unknown_model"
    assert keyed.post({"key": "a"}, "none")[1]["code"] == "unknown_model"


def test_wrong_method_is_refused_and_the_right_one_named(keyed: Keyed) -> None:
    ask, path = keyed.bench.ask, "/v1/models/churn/answers"
    assert ask("GET", path).headers == b"Allow: POST\r\n"
    assert ask("POST", f"{path}/a").headers == b"Allow: GET, HEAD\r\n"
    assert ask("DELETE", f"{path}/a").status == 405


# Unknown, stale


def test_key_that_is_not_stored_is_not_found_and_the_fix_is_said(keyed: Keyed) -> None:
    status, answer = keyed.get("none")
    assert (status, answer["code"]) == (404, "unknown_key")
    assert answer["error"] == (
        "key 'none': expected a key that is stored, got one that isn't. "
        'Send the row, too: {"key": ..., "row": {...}}.'
    )
    keyed.shelf.snapshot = None
    assert "got no snapshot at all" in keyed.post({"key": "a"})[1]["error"]
    assert keyed.counted() == {"unknown": 2}


def test_stale_prediction_is_answered_and_marked(keyed: Keyed) -> None:
    keyed.now += timedelta(days=2)
    age_s = 3600.0 + 2 * 86_400.0
    marked = STORED | {"age_s": age_s, "fresh": False, "why": "stale"}
    assert keyed.get() == (200, marked)
    assert keyed.get("a?max_age_s=1e9") == (200, STORED | {"age_s": age_s})
    assert keyed.counted() == {"stale": 1, "stored": 1}


def test_stale_prediction_is_refused_where_the_policy_says_so(keyed: Keyed) -> None:
    keyed.open(on_stale="refuse", max_age_s=60.0)
    response = keyed.bench.ask("GET", "/v1/models/churn/answers/a")
    answer = msgspec.json.decode(response.body)
    assert (response.status, answer["code"]) == (503, "stale")
    assert "at most 60 s of age, got one of 3600 s" in answer["error"]
    assert b"Retry-After: 1\r\n" in response.headers
    assert keyed.counted() == {"refused": 1}


@pytest.mark.parametrize("max_age_s", [3599.9, 0, 0.5])
def test_whoever_asks_says_up_to_which_age_it_is_fresh(keyed: Keyed, max_age_s: float) -> None:
    for _, answer in (
        keyed.get(f"a?max_age_s={max_age_s}"),
        keyed.post({"key": "a", "max_age_s": max_age_s}),
        (0, keyed.post({"keys": ["a"], "max_age_s": max_age_s})[1]["answers"][0]),
    ):
        assert (answer["fresh"], answer["why"]) == (False, "stale")


@pytest.mark.parametrize(
    "query", ["max_age_s=", "max_age_s", "x", "max_age_s=1&x=", "max_age_s=-1"]
)
def test_query_that_says_nothing_known_is_refused(keyed: Keyed, query: str) -> None:
    status, answer = keyed.get(f"a?{query}")
    assert (status, answer["code"]) == (422, "invalid_input")
    assert keyed.get("a?") == (200, STORED)
    assert keyed.counted() == {"invalid": 1, "stored": 1}


def test_prediction_out_of_the_future_has_no_age_and_is_not_fresh_for_long(keyed: Keyed) -> None:
    keyed.now -= timedelta(minutes=60, seconds=30)
    assert keyed.get()[1] == STORED | {"age_s": 0.0}
    keyed.now -= timedelta(minutes=5)
    assert keyed.get()[1] == STORED | {"age_s": 0.0, "fresh": False, "why": "out of the future"}


# Live


def test_row_that_is_newer_is_predicted_as_it_is_now(keyed: Keyed) -> None:
    assert keyed.post({"key": "a", "row": ROW}) == (200, LIVE | {"why": "newer features"})
    assert keyed.post({"key": "z", "row": list(ROW.values())}) == (
        200,
        LIVE | {"key": "z", "why": "unknown key"},
    )
    assert keyed.counted() == {"live": 2}
    assert keyed.bench.outcomes() == {"ok": 2}


def test_row_that_the_batch_had_is_answered_with_what_is_stored(keyed: Keyed) -> None:
    known = STORED | {"key": "b", "prediction": 8.5}
    assert keyed.post({"key": "b", "row": ROW}) == (200, known)
    assert keyed.post({"key": "a", "row": ROW, "row_as_of": HOUR_AGO}) == (200, STORED)
    assert keyed.post({"key": "a", "row": ROW, "row_as_of": "2026-01-31T12:00:00+02:00"})[1] == (
        STORED
    )
    assert keyed.bench.outcomes() == {}


def test_live_prediction_is_as_old_as_the_row(keyed: Keyed) -> None:
    _, answer = keyed.post({"key": "a", "row": ROW, "row_as_of": "2026-01-31T11:59:59.5Z"})
    assert (answer["as_of"], answer["age_s"]) == ("2026-01-31T11:59:59.500000Z", 0.5)
    _, answer = keyed.post({"key": "a", "row": ROW, "row_as_of": "2026-01-31T13:00:00Z"})
    assert (answer["as_of"], answer["age_s"]) == ("2026-01-31T12:00:00Z", 0.0)
    _, answer = keyed.post({"key": "z", "row": ROW, "row_as_of": "2025-01-31T12:00:00Z"})
    assert (answer["source"], answer["fresh"]) == ("live", False)


def test_features_that_the_batch_had_are_answered_where_they_are_asked_for(keyed: Keyed) -> None:
    assert keyed.get("b?features=true")[1]["features"] == ROW
    assert keyed.post({"key": "b", "features": True})[1]["features"] == ROW
    assert keyed.post({"key": "b", "changes": {}, "features": True})[1]["features"] == ROW
    many = keyed.post({"keys": ["a", "b"], "features": True})[1]["answers"]
    assert ["features" in answer for answer in many] == [False, True]
    for answer in (keyed.get("b"), keyed.get("b?features=false"), keyed.get("a?features=true")):
        assert "features" not in answer[1]


def test_changes_are_put_into_the_row_that_the_batch_had(keyed: Keyed) -> None:
    status, answer = keyed.post({"key": "b", "changes": {"amount": 2.0}})
    assert (status, answer["prediction"], answer["source"]) == (200, 4.0, "live")
    assert (answer["as_of"], answer["why"]) == (HOUR_AGO, "newer features")
    assert keyed.post({"key": "a", "row": ROW, "changes": {"amount": 3.0}})[1]["prediction"] == 6.0
    # That nothing has changed since is news, too.
    unchanged = keyed.post({"key": "b", "changes": {}})[1]
    assert (unchanged["prediction"], unchanged["source"]) == (3.0, "live")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"key": "a", "changes": {"amount": 1.0}}, 422, "Publish it with --with-features"),
        ({"key": "b", "changes": {"amuont": 1.0}}, 422, "changes.amuont: expected one of amount"),
        ({"key": "b", "changes": {"amount": "x"}}, 422, "row.amount: expected"),
        ({"key": "z", "changes": {"amount": 1.0}}, 404, "expected a key that is stored"),
        ({"key": "a", "row": [1.0, None], "changes": {"amount": 1.0}}, 422, "got a list"),
    ],
)
def test_changes_that_can_not_be_made_are_refused(
    keyed: Keyed, body: Any, status: int, words: str
) -> None:
    got, answer = keyed.post(body)
    assert got == status
    assert words in answer["error"]


def test_live_prediction_is_kept_for_all_if_that_is_asked_for(keyed: Keyed) -> None:
    keyed.post({"key": "a", "row": ROW})
    keyed.post({"key": "a", "row": ROW, "keep": False})
    assert keyed.shelf.kept == []
    keyed.post({"key": "a", "row": ROW, "keep": True, "row_as_of": "2026-01-31T11:30:00Z"})
    [(key, kept, snapshot)] = keyed.shelf.kept
    half_past = NOW - timedelta(minutes=30)
    origin = origin_of(source="live", run_id="", as_of=half_past, predicted_at=NOW)
    assert (key, kept, snapshot) == (b"a", stored(3.0, origin=origin), snapshot_of())
    kept_answer = LIVE | {"as_of": "2026-01-31T11:30:00Z", "age_s": 1800.0}
    assert keyed.get() == (200, kept_answer)
    assert keyed.counted() == {"live": 4}


def test_nothing_is_kept_beside_no_snapshot_and_a_store_that_can_not_is_no_matter(
    keyed: Keyed,
) -> None:
    body = {"key": "z", "row": ROW, "keep": True}
    keyed.shelf.snapshot = None
    assert keyed.post(body)[0] == 200
    assert keyed.shelf.kept == []
    keyed.shelf.snapshot = snapshot_of()

    def full(*_: Any) -> bool:
        raise UNAVAILABLE

    keyed.shelf.keep = full  # type: ignore[method-assign]
    assert keyed.post(body)[0] == 200


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"amount": "x", "plan": None}, "row.amount: expected"),
        ({"amount": 1.0}, "row.plan: expected"),
        ([1.0], "row: expected"),
        ([{}, {}], "row"),
        ({"amount": 10**30, "plan": "pro"}, "row.amount: expected"),
    ],
)
@pytest.mark.parametrize("key", ["a", "b", "z"])
def test_row_that_does_not_fit_is_refused_whatever_is_stored(
    keyed: Keyed, key: str, row: Any, words: str
) -> None:
    status, answer = keyed.post({"key": key, "row": row})
    assert (status, answer["code"]) == (422, "invalid_input")
    assert words in answer["error"]
    assert keyed.counted() == {"invalid": 1}


# Live predictions that fail


class Shut:
    """A lane that refuses whatever comes."""

    gate = None

    def __init__(self, error: Exception) -> None:
        self.error = error

    def admit(self, *_: Any) -> float:
        raise self.error

    def shut_until_s(self, _: Exception) -> None:
        """Say that no refusal holds for others."""


def overload(keyed: Keyed) -> None:
    keyed.bench.service.default("churn").turn = Shut(OVERLOADED)


def take_too_long(keyed: Keyed) -> None:
    late = DeadlineExceeded("deadline: expected time, got none. Send more.")
    keyed.bench.service.default("churn").turn = Shut(late)


def break_model(keyed: Keyed) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret of the server")

    keyed.bench.service.default("churn").model.predict_checked = fail


FAILING: dict[str, tuple[Callable[[Keyed], None], int, str]] = {
    "overloaded": (overload, 503, "overloaded"),
    "no time": (take_too_long, 504, "no time"),
    "broken": (break_model, 500, "live prediction failed"),
}


@pytest.mark.parametrize("what", FAILING)
def test_failed_live_prediction_is_answered_with_what_is_stored_and_marked(
    keyed: Keyed, what: str
) -> None:
    fail, _, why = FAILING[what]
    fail(keyed)
    marked = STORED | {"fresh": False, "why": why}
    assert keyed.post({"key": "a", "row": ROW}) == (200, marked)
    assert keyed.counted() == {"stale": 1}


@pytest.mark.parametrize("what", FAILING)
def test_failed_live_prediction_is_refused_where_nothing_may_stand_in(
    keyed: Keyed, what: str
) -> None:
    fail, status, _ = FAILING[what]
    fail(keyed)
    response = keyed.bench.ask(
        "POST", "/v1/models/churn/answers", {"key": "z", "row": ROW}, {b"x-request-id": b"7"}
    )
    assert response.status == status
    assert b"X-Request-Id: 7\r\n" in response.headers
    assert (b"Retry-After: 3\r\n" in response.headers) == (status == 503)
    assert b"secret" not in response.body
    keyed.open(on_stale="refuse")
    assert keyed.post({"key": "a", "row": ROW})[0] == status
    assert keyed.counted() == {"failed": 2} if status == 500 else {"refused": 2}


def test_failure_of_the_model_is_logged_whatever_is_answered(
    keyed: Keyed, caplog: pytest.LogCaptureFixture
) -> None:
    row, named = [POISON, None], {b"x-request-id": b"7"}
    _, answer = keyed.post({"key": "a", "row": row}, headers=named)
    assert answer["why"] == "live prediction failed"
    assert keyed.post({"key": "z", "row": row}, headers=named)[1]["code"] == "prediction_failed"
    assert [record.getMessage() for record in caplog.records] == ["request 7 failed"] * 2
    assert "secret of the model" in caplog.text


# Many keys


def test_many_keys_are_answered_in_their_order_and_unknown_ones_told(keyed: Keyed) -> None:
    status, answer = keyed.post({"keys": ["b", "none", "a", "a", 17]})
    assert status == 200
    first, unknown, *same, number = answer["answers"]
    assert (first["prediction"], same) == (8.5, [STORED, STORED])
    assert (unknown.keys(), unknown["key"], unknown["code"]) == (
        {"key", "error", "code"},
        "none",
        "unknown_key",
    )
    assert (number["key"], number["code"]) == (17, "unknown_key")
    assert keyed.counted() == {"stored": 3, "unknown": 2}


def test_many_keys_are_all_of_one_snapshot(keyed: Keyed) -> None:
    keyed.post({"keys": ["a", "b", "a"]})
    assert keyed.shelf.asked == [([b"a", b"b", b"a"], False)]


def test_no_keys_have_no_answers(keyed: Keyed) -> None:
    assert keyed.post({"keys": []}) == (200, {"answers": []})


def other_versions(keyed: Keyed, *rows: Any) -> list[Any]:
    """What is answered for predictions of another version, made of these rows."""
    keyed.open(on_other_version="live")
    old = origin_of(version="2")
    for at, row in enumerate(rows):
        keyed.shelf.stored[b"%d" % at] = stored(0.5, features=row, origin=old)
    status, answer = keyed.post({"keys": [*map(str, range(len(rows))), "a"]})
    assert status == 200
    assert answer["answers"].pop() == STORED
    return answer["answers"]


def test_predictions_of_another_version_are_made_anew_together(keyed: Keyed) -> None:
    rows = [{"amount": 1.0, "plan": None}, {"amount": 2.0, "plan": "pro"}]
    answers = other_versions(keyed, *rows)
    assert [(item["prediction"], item["version"], item["why"]) for item in answers] == [
        (2.0, "3", "another version"),
        (4.0, "3", "another version"),
    ]
    assert keyed.bench.outcomes() == {"ok": 1}


def test_headers_about_a_body_are_not_those_of_what_is_predicted(keyed: Keyed) -> None:
    other_versions(keyed, ROW)
    about = {b"content-type": b"text/plain", b"content-encoding": b"gzip"}
    status, answer = keyed.get("0", headers=about)
    assert (status, answer["prediction"], answer["why"]) == (200, 3.0, "another version")


def test_row_of_many_that_does_not_fit_spoils_no_other(keyed: Keyed) -> None:
    answers = other_versions(keyed, {"amount": "x"}, ROW, None)
    assert [item.get("code") for item in answers] == ["invalid_input", None, None]
    assert answers[1]["prediction"] == 3.0
    assert (answers[2]["version"], answers[2]["fresh"], answers[2]["why"]) == (
        "2",
        False,
        "another version",
    )
    assert keyed.counted() == {"stored": 1, "invalid": 1, "live": 1, "stale": 1}


def test_live_part_of_many_that_fails_is_answered_with_what_is_stored(keyed: Keyed) -> None:
    overload(keyed)
    answers = other_versions(keyed, ROW, ROW)
    assert [(item["version"], item["fresh"], item["why"]) for item in answers] == [
        ("2", False, "overloaded")
    ] * 2


def test_failure_of_many_tells_no_secret(keyed: Keyed) -> None:
    keyed.open(on_other_version="live", on_stale="refuse")
    old = origin_of(version="2")
    row = {"amount": POISON, "plan": None}
    keyed.shelf.stored[b"old"] = stored(0.5, features=row, origin=old)
    first, failed = keyed.post({"keys": ["a", "old"]})[1]["answers"]
    assert first == STORED
    assert failed["code"] == "prediction_failed"
    assert "got a failure inside it" in failed["error"]
    assert keyed.counted() == {"stored": 1, "failed": 1}


def test_live_part_of_many_that_is_too_long_is_told_key_by_key(keyed: Keyed) -> None:
    answers = other_versions(keyed, *[ROW] * 4)
    assert [item["code"] for item in answers] == ["too_many_rows"] * 4


# Keys of callers, quotas, draining, deadlines


@pytest.fixture
def guarded(keyed: Keyed, tmp_path: Path) -> Keyed:
    access = access_of(tmp_path, max_requests_per_s=1.0, burst_requests=3)
    return keyed.open("churn", "risk", access=access)


ASKED: dict[str, Callable[[Keyed, dict[bytes, bytes]], tuple[int, Any]]] = {
    "stored": lambda keyed, sent: keyed.get(headers=sent),
    "unknown": lambda keyed, sent: keyed.get("none", headers=sent),
    "a wrong query": lambda keyed, sent: keyed.get("a?x=1", headers=sent),
    "a wrong body": lambda keyed, sent: keyed.post(b"{", headers=sent),
    "live": lambda keyed, sent: keyed.post({"key": "a", "row": ROW}, headers=sent),
    "many": lambda keyed, sent: keyed.post({"keys": ["a", "none"]}, headers=sent),
}


@pytest.mark.parametrize("what", ASKED)
def test_nothing_is_told_to_who_may_not_ask(guarded: Keyed, what: str) -> None:
    status, answer = ASKED[what](guarded, {})
    assert (status, answer["code"]) == (401, "unauthorized")
    assert ASKED[what](guarded, key_of(b"guessed"))[0] == 401
    status, answer = guarded.get("a", "risk", headers=key_of())
    assert (status, answer["code"]) == (403, "forbidden")
    assert guarded.shelf.asked == []


@pytest.mark.parametrize("what", ["stored", "unknown", "live", "many"])
def test_each_request_is_taken_once_from_the_quota(guarded: Keyed, what: str) -> None:
    statuses = [ASKED[what](guarded, key_of())[0] for _ in range(4)]
    assert statuses == [404 if what == "unknown" else 200] * 3 + [429]
    guarded.bench.now_s += 1.0
    assert [ASKED[what](guarded, key_of())[0] for _ in range(2)] == [statuses[0], 429]
    assert sum(guarded.counted().values()) == 6 * (2 if what == "many" else 1)


def test_quota_that_is_used_up_refuses_many_keys_as_one(guarded: Keyed, tmp_path: Path) -> None:
    access = access_of(tmp_path, max_requests_per_s=1.0, burst_requests=1)
    guarded.open(access=access, on_other_version="live")
    guarded.shelf.stored[b"old"] = stored(0.5, features=ROW, origin=origin_of(version="2"))
    body = {"keys": ["a", "old"]}
    assert guarded.post(body, headers=key_of())[0] == 200
    status, answer = guarded.post(body, headers=key_of())
    assert (status, answer["code"]) == (429, "quota_exceeded")
    assert guarded.counted() == {"stored": 1, "live": 1, "refused": 2}


def test_leaving_server_takes_no_more(keyed: Keyed) -> None:
    keyed.bench.service.drain()
    for status, answer in (keyed.get(), keyed.post(b"{"), keyed.post({"key": "a", "row": ROW})):
        assert (status, answer["code"]) == (503, "draining")
    assert keyed.get(received_s=keyed.bench.now_s - 1.0) == (200, STORED)
    assert keyed.counted() == {"refused": 3, "stored": 1}


@pytest.mark.parametrize(
    ("name", "value"), [(b"x-twofold-deadline-ms", b"soon"), (b"x-twofold-priority", b"mine")]
)
def test_wrong_header_is_refused_whatever_the_answer_would_be(
    keyed: Keyed, name: bytes, value: bytes
) -> None:
    for status, answer in (
        keyed.get(headers={name: value}),
        keyed.post({"key": "a", "row": ROW}, headers={name: value}),
    ):
        assert (status, answer["code"]) == (400, "bad_request")
    assert keyed.counted() == {"invalid": 2}


def test_deadline_that_has_passed_is_no_answer(keyed: Keyed) -> None:
    soon = {b"x-twofold-deadline-ms": b"500"}
    keyed.bench.now_s += 1.0
    late = keyed.bench.now_s - 0.75
    assert keyed.get(headers=soon, received_s=late)[1]["code"] == "deadline_exceeded"
    assert keyed.get(headers={b"x-twofold-deadline-ms": b"800"}, received_s=late)[0] == 200
    assert keyed.counted() == {"refused": 1, "stored": 1}


# A store that is not there


def test_store_that_is_away_leaves_what_can_be_predicted(keyed: Keyed) -> None:
    keyed.shelf.fails = UNAVAILABLE
    expected = LIVE | {"why": "store unavailable"}
    assert keyed.post({"key": "a", "row": ROW, "keep": True}) == (200, expected)
    changed = {"key": "a", "row": ROW, "changes": {"amount": 2.0}}
    assert keyed.post(changed)[1]["prediction"] == 4.0
    for status, answer in (keyed.get(), keyed.post({"key": "b", "changes": {"amount": 1.0}})):
        assert (status, answer["code"]) == (503, "store_unavailable")
        assert answer["error"] == STORE_AWAY  # where it is, is its operator's to know
    [one] = keyed.post({"keys": ["a"]})[1]["answers"]
    assert one["code"] == "store_unavailable"
    assert keyed.counted() == {"live": 2, "refused": 3}


def test_store_that_is_away_and_a_model_that_fails_leave_the_models_error(keyed: Keyed) -> None:
    keyed.shelf.fails = UNAVAILABLE
    overload(keyed)
    assert keyed.post({"key": "a", "row": ROW})[1]["code"] == "overloaded"


@pytest.mark.parametrize("error", [UNAVAILABLE, InvalidInput("snapshot: expected it whole.")])
def test_snapshot_is_told_as_far_as_it_is_known(keyed: Keyed, error: Any) -> None:
    policy: Any = None
    hybrid = Hybrid(keyed.shelf, None, policy, policy)
    assert hybrid.snapshot() == snapshot_of()
    keyed.shelf.fails = error
    assert hybrid.snapshot() is None
    assert Hybrid(None, None, policy, policy).snapshot() is None


def test_failure_of_a_store_is_an_error_of_its_own() -> None:
    assert isinstance(UNAVAILABLE, StoreUnavailable)


# Lanes


class Later:
    """A lane that keeps what it is given."""

    gate = None

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def rows_of(self, _: int) -> int:
        return 1

    def admit(self, *_: Any) -> float:
        return 0.0

    def submit(self, task: Any) -> None:
        self.tasks.append(task)


def waiting(keyed: Keyed, body: Any, **headers: bytes) -> Waiter:
    """Ask, and wait for a lane."""
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    target, encoded = b"/v1/models/churn/answers", msgspec.json.encode(body)
    waiter = Waiter()
    sent = Request(b"POST", target, named, encoded, DEFAULT, keyed.bench.now_s)
    assert keyed.bench.routes.answer(sent, waiter) is None
    assert waiter.task is not None
    return waiter


def answer_of(waiter: Waiter) -> tuple[int, Any]:
    [response] = waiter.answers
    return response.status, msgspec.json.decode(response.body)


def test_live_prediction_waits_for_its_turn(keyed: Keyed) -> None:
    lane = keyed.bench.service.default("churn").turn = Later()
    timing = {"x_twofold_timing": b"1", "x_request_id": b"7"}
    waiter = waiting(keyed, {"key": "a", "row": ROW, "keep": True}, **timing)
    assert lane.tasks == [waiter.task]
    waiter.task.done([[3.0]])  # type: ignore[union-attr]
    assert answer_of(waiter) == (200, LIVE | {"why": "newer features"})
    headers = waiter.answers[0].headers
    assert b"Server-Timing: parse;dur=" in headers
    assert b"X-Request-Id: 7\r\n" in headers
    assert [key for key, _, _ in keyed.shelf.kept] == [b"a"]
    assert keyed.counted() == {"live": 1}


def test_live_prediction_that_fails_in_its_turn_leaves_what_is_stored(keyed: Keyed) -> None:
    keyed.bench.service.default("churn").turn = Later()
    stale = waiting(keyed, {"key": "a", "row": ROW})
    stale.task.done(OVERLOADED)  # type: ignore[union-attr]
    assert answer_of(stale) == (200, STORED | {"fresh": False, "why": "overloaded"})
    refused = waiting(keyed, {"key": "z", "row": ROW})
    refused.task.done(OVERLOADED)  # type: ignore[union-attr]
    assert (answer_of(refused)[0], refused.answers[0].headers) == (503, b"Retry-After: 3\r\n")
    assert keyed.counted() == {"stale": 1, "refused": 1}


def apart(keyed: Keyed) -> Later:
    """Have `churn` predicted in a process of its own."""
    served: Any = keyed.bench.service.default("churn")
    served.model, served.apart = None, Later()
    return served.apart


def end_apart(waiter: Waiter, status: int, body: Any, outcome: str) -> None:
    response = Response(status, msgspec.json.encode(body), JSON, b"")
    waiter.task.done(Result(outcome, 1, msgspec.msgpack.encode(response)))  # type: ignore[union-attr]


def test_model_in_a_process_of_its_own_is_asked_as_by_predict(keyed: Keyed) -> None:
    apart(keyed)
    waiter = waiting(keyed, {"key": "a", "row": ROW})
    work = waiter.task.work  # type: ignore[union-attr]
    assert msgspec.json.decode(work.body) == {"row": ROW}
    end_apart(waiter, 200, {"prediction": 3.0, "model": "churn"}, "ok")
    assert answer_of(waiter) == (200, LIVE | {"why": "newer features"})


@pytest.mark.parametrize(
    ("status", "code", "outcome", "why", "counted"),
    [
        (500, "prediction_failed", "failed", "live prediction failed", "failed"),
        (504, "deadline_exceeded", "late", "no time", "refused"),
        (422, "invalid_input", "invalid", None, "invalid"),
    ],
)
def test_what_a_process_of_its_own_refuses_is_told_as_it_says_it(
    keyed: Keyed, status: int, code: str, outcome: str, why: str | None, counted: str
) -> None:
    apart(keyed)
    told = {"error": "model: expected more, got less. Wait.", "code": code}
    unknown = waiting(keyed, {"key": "z", "row": ROW})
    end_apart(unknown, status, told, outcome)
    assert answer_of(unknown) == (status, told)
    known = waiting(keyed, {"key": "a", "row": ROW})
    end_apart(known, status, told, outcome)
    marked = (200, STORED | {"fresh": False, "why": why})
    assert answer_of(known) == (marked if why else (status, told))
    assert keyed.counted() == ({counted: 1, "stale": 1} if why else {counted: 2})


def test_answer_that_can_not_be_read_is_a_failure_and_still_an_answer(keyed: Keyed) -> None:
    apart(keyed)
    waiter = waiting(keyed, {"key": "a", "row": ROW})
    end_apart(waiter, 200, {"nothing": 1}, "ok")
    assert (answer_of(waiter)[0], answer_of(waiter)[1]["code"]) == (500, "internal")


# What is answered natively


def test_only_stores_in_memory_that_everybody_may_ask_are_answered_natively(
    keyed: Keyed, tmp_path: Path
) -> None:
    [native] = keyed.bench.routes.keyed()
    assert native.before == b"/v1/models/churn/answers/"
    keyed.open(access=access_of(tmp_path))
    assert list(keyed.bench.routes.keyed()) == []
    keyed.open(is_far=True)
    assert list(keyed.bench.routes.keyed()) == []

    def watched(*what: Any, **how: Any) -> WatchedRoutes:
        return WatchedRoutes(*what, watches=[], **how)

    keyed.open(routes=watched)
    assert list(keyed.bench.routes.keyed()) == []
    assert keyed.get() == (200, STORED)
