"""A request's id: echoed as it came if it can be, used wherever the request is spoken of."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.mailbox import Job
from twofold.wire.answer import Answerer
from twofold.wire.http import CLOSE, Request, Response
from twofold.wire.infer import FORWARDED
from twofold.wire.protocols import Protocol, readers
from twofold.wire.request_id import REQUEST_ID, id_of, new_id, with_id
from twofold.wire.statuses import WireError

PREDICT = "/v1/models/churn/predict"
ROW = {"row": [1.0, None]}
LINE = re.compile(rb"X-Request-Id: ([!-~]{1,128})\r\n")


def ids_in(response: Response) -> list[bytes]:
    return LINE.findall(response.headers)


@pytest.mark.parametrize("sent", [b"a", b"!~", b'"<b>', b"0123456789abcdef" * 8])
def test_id_that_can_be_used_is_kept(sent: bytes) -> None:
    headers = {REQUEST_ID: sent}
    assert id_of(headers) == sent
    assert headers == {REQUEST_ID: sent}


@pytest.mark.parametrize(
    "sent", [b"", b" ", b"a b", b"a, a", b"caf\xc3\xa9", b"a\r\nX: y", b"\x7f", b"x" * 129]
)
def test_id_that_cannot_be_used_is_replaced_for_all_who_look_at_it(sent: bytes) -> None:
    headers = {REQUEST_ID: sent}
    made = id_of(headers)
    assert re.fullmatch(rb"[0-9a-f]{16}", made)
    assert headers == {REQUEST_ID: made}
    assert id_of(headers) == made


def test_no_two_made_ids_are_the_same() -> None:
    assert len({new_id() for _ in range(50)}) == 50


@given(st.binary(max_size=140))
def test_whatever_is_sent_the_answer_has_one_clean_header(sent: bytes) -> None:
    response = with_id(Response(200, b"", headers=b"A: b\r\n"), id_of({REQUEST_ID: sent}))
    assert re.fullmatch(rb"A: b\r\nX-Request-Id: [!-~]{1,128}\r\n", response.headers)


def test_answer_that_has_an_id_keeps_it() -> None:
    response = with_id(Response(500, b""), b"first")
    assert with_id(response, b"second") == response


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", PREDICT, ROW, 200),
        ("POST", PREDICT, {"row": ["x", None]}, 422),
        ("POST", PREDICT, {"row": [666.0, None]}, 500),
        ("GET", PREDICT, b"", 405),
        ("GET", "/v2/health/live", b"", 200),
        ("GET", "/docs", b"", 200),
        ("GET", "/nope", b"", 404),
    ],
)
def test_every_answer_carries_the_id_of_its_request(
    bench: Any, method: str, target: str, body: Any, status: int
) -> None:
    response = bench.ask(method, target, body, {REQUEST_ID: b"mine"})
    assert (response.status, ids_in(response)) == (status, [b"mine"])


def test_request_without_an_id_is_given_none(bench: Any) -> None:
    for target in (PREDICT, "/docs", "/nope"):
        assert ids_in(bench.ask("POST", target, ROW)) == []


def test_failure_inside_is_found_under_the_id_of_its_request(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"row": [666.0, None]}
    response = bench.ask("POST", PREDICT + "?key=secret", body, {REQUEST_ID: b"mine"})
    assert msgspec.json.decode(response.body)["request_id"] == "mine"
    [record] = caplog.records
    assert record.getMessage() == "request mine failed"
    assert record.__dict__["fields"] == {"request_id": "mine", "path": PREDICT}


def test_failure_inside_gives_a_request_without_an_id_the_same_one_everywhere(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = bench.ask("POST", PREDICT, {"row": [666.0, None]})
    made = msgspec.json.decode(response.body)["request_id"]
    assert ids_in(response) == [made.encode()]
    assert f"request {made} failed" in caplog.text


def test_refusal_of_what_was_never_read_carries_the_id_that_was_read(bench: Any) -> None:
    error = WireError("body_too_large", "body: expected at most 1 bytes, got more. Send fewer.")
    request = Request(b"POST", PREDICT.encode(), {REQUEST_ID: b"mine"}, b"", CLOSE, 100.0)
    response = bench.routes.refuse(error, request)
    assert (response.status, ids_in(response)) == (413, [b"mine"])
    assert ids_in(bench.routes.refuse(error)) == []


def test_id_goes_with_the_request_to_the_process_of_its_model(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def predict(rows: Any) -> Any:
        raise RuntimeError("no such luck")

    assert REQUEST_ID in FORWARDED
    known = readers(bench.service.find("churn"), max_rows=3)
    job = Job(Protocol.V1, {REQUEST_ID: b"mine"}, msgspec.json.encode(ROW), bench.now_s + 1.0)
    [result], _ = Answerer(known, predict, clock=lambda: bench.now_s)([job])
    response = msgspec.msgpack.decode(result.answer, type=Response)
    assert (response.status, ids_in(response)) == (500, [b"mine"])
    assert "request mine failed" in caplog.text
