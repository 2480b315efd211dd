"""One line for each request: how it was answered, and nothing of what it said."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from twofold.wire.http import CLOSE, Request
from twofold.wire.request_log import log_request
from twofold.wire.statuses import WireError

PREDICT = "/v1/models/churn/predict"
PRIVATE = "what-the-caller-says"


@pytest.fixture
def lines(bench: Any, caplog: pytest.LogCaptureFixture) -> Any:
    """The bench's routes logged; gives the fields of each line."""
    bench.watch(log_request)
    caplog.set_level(logging.INFO, "twofold.requests")

    def fields() -> list[dict[str, Any]]:
        records = [record for record in caplog.records if record.name == "twofold.requests"]
        assert {record.getMessage() for record in records} <= {"answered"}
        return [record.__dict__["fields"] for record in records]

    return fields


def test_line_of_an_infer_request_has_its_facts(bench: Any, lines: Any) -> None:
    body = b'{"row": [1.0, null]}'
    target, now_s = PREDICT + "?key=a", bench.now_s
    headers = {b"x-request-id": b"mine"}
    response = bench.ask("POST", target, body, headers, received_s=now_s - 0.0125)
    assert lines() == [
        {
            "method": "POST", "path": PREDICT, "status": 200,
            "model": "churn", "version": "3", "outcome": "ok", "rows": 1,
            "duration_ms": 12.5, "request_id": "mine",
            "bytes_in": len(body), "bytes_out": len(response.body),
        }
    ]  # fmt: skip


def test_line_of_any_other_request_has_what_there_is(bench: Any, lines: Any) -> None:
    bench.ask("HEAD", "/v2/health/live")
    [line] = lines()
    assert line == {
        "method": "HEAD", "path": "/v2/health/live", "status": 200,
        "duration_ms": 0.0, "bytes_in": 0, "bytes_out": 0,
    }  # fmt: skip


def test_failure_inside_has_the_id_that_its_caller_was_told(bench: Any, lines: Any) -> None:
    status, told = bench.post({"row": [666.0, None]})
    assert status == 500
    [line] = lines()
    assert line["request_id"] == told["request_id"]
    assert line["outcome"] == "failed"


def test_nothing_that_a_request_says_is_in_its_line(bench: Any, lines: Any) -> None:
    headers = {
        b"authorization": b"Bearer " + PRIVATE.encode(),
        b"cookie": PRIVATE.encode(),
        b"x-request-id": PRIVATE.encode() + b" ",
    }
    targets = [f"{PREDICT}?{PRIVATE}", f"{PREDICT}#{PRIVATE}", f"http://{PRIVATE}@host{PREDICT}"]
    for target in targets:
        for body in ({"row": [1.0, PRIVATE]}, PRIVATE.encode(), {PRIVATE: PRIVATE}):
            bench.ask("POST", target, body, headers)
    found = lines()
    assert len(found) == 9
    assert {line["path"] for line in found} == {PREDICT}
    assert PRIVATE not in str(found)


def test_request_that_was_never_read_has_a_line(bench: Any, lines: Any) -> None:
    request = Request(b"POST", PREDICT.encode() + b"?a", {}, b"", CLOSE, bench.now_s)
    bench.routes.refuse(WireError("timeout", "x: expected y, got z. Hurry."), request)
    bench.routes.refuse(WireError("bad_request", "x: expected y, got z. Mend it."))
    first, second = lines()
    assert (first["method"], first["path"], first["status"]) == ("POST", PREDICT, 408)
    assert (second["method"], second["path"], second["status"]) == ("", "", 400)


def test_path_that_is_no_text_is_escaped(bench: Any, lines: Any) -> None:
    request = Request(b"GET", b"/\xff\xc3\xa9", {b"host": b"x"}, b"", CLOSE, bench.now_s)
    bench.routes.answer(request, None)
    assert lines()[0]["path"] == "/\\xff\\xc3\\xa9"
