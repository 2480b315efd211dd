"""A caller learns what it can mend, and nothing of what went on inside."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from twofold import errors
from twofold.wire.http import Response
from twofold.wire.refusal import refusal
from twofold.wire.statuses import STATUSES, WireError

INSIDE = "what only the operator may know"


def body_of(error: Exception) -> dict[str, Any]:
    response = refusal(error)
    assert response.content_type == b"application/json"
    return msgspec.json.decode(response.body)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidInput("x: expected a, got b. Fix."), 422, "invalid_input"),
        (errors.UnknownModel("x: expected a, got b. Fix."), 404, "unknown_model"),
        (errors.DeadlineExceeded("x: expected a, got b. Fix."), 504, "deadline_exceeded"),
        (WireError("body_too_large", "x: expected a, got b. Fix."), 413, "body_too_large"),
        (WireError("timeout", "x: expected a, got b. Fix."), 408, "timeout"),
    ],
)
def test_fault_of_the_request_is_told_in_its_own_words(
    caplog: pytest.LogCaptureFixture, error: Exception, status: int, code: str
) -> None:
    response = refusal(error)
    assert (response.status, response.headers) == (status, b"")
    assert response.body == (b'{"error":"x: expected a, got b. Fix.","code":"%b"}' % code.encode())
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Draining("gone"), "draining"),
        (errors.Refused("full"), "overloaded"),
        (WireError("too_many_connections", "full"), "too_many_connections"),
    ],
)
def test_refusal_that_is_safe_to_retry_says_when(error: Exception, code: str) -> None:
    response = refusal(error)
    assert (response.status, response.headers) == (503, b"Retry-After: 1\r\n")
    assert body_of(error) == {"error": str(error), "code": code}


def test_header_that_the_answer_must_carry_is_kept_beside_the_time_to_retry() -> None:
    allow = WireError("method_not_allowed", "x", headers=b"Allow: POST\r\n")
    assert refusal(allow).headers == b"Allow: POST\r\n"
    both = WireError("overloaded", "x", headers=b"X-Queue: full\r\n")
    assert refusal(both).headers == b"X-Queue: full\r\nRetry-After: 1\r\n"


@pytest.mark.parametrize(
    ("wait_s", "shown"),
    [
        (0.0, 1),
        (0.02, 1),
        (1.0, 1),
        (1.001, 2),
        (59.5, 60),
        (1e12, 86_400),
        (float("inf"), 86_400),
        (float("nan"), 86_400),
    ],
)
def test_caller_over_its_quota_learns_in_whole_seconds_when_to_come_back(
    wait_s: float, shown: int
) -> None:
    response = refusal(errors.QuotaExceeded("x", retry_after_s=wait_s))
    assert (response.status, response.headers) == (429, b"Retry-After: %d\r\n" % shown)


def test_refusal_under_load_is_rendered_once_and_keeps_nothing_of_the_requests() -> None:
    error = errors.Overloaded("server: expected less, got more. Wait.", retry_after_s=7)
    responses: list[Response] = []
    for _ in range(2):
        try:
            raise error
        except errors.Overloaded as caught:
            responses.append(refusal(caught))
        assert error.__traceback__ is None
    first, again = responses
    assert first is again
    assert (first.status, first.headers) == (503, b"Retry-After: 7\r\n")
    other = errors.Overloaded("server: expected less, got even more. Wait.", retry_after_s=8)
    assert refusal(other).headers == b"Retry-After: 8\r\n"


def test_unauthorized_answer_names_the_scheme_of_authorization() -> None:
    assert refusal(WireError("unauthorized", "x")).headers == b"WWW-Authenticate: Bearer\r\n"
    assert refusal(WireError("forbidden", "x")).headers == b""


@pytest.mark.parametrize("kind", [errors.InvalidInput, errors.UnknownModel])
def test_field_at_fault_is_named_where_one_is(kind: type[errors.InvalidInput]) -> None:
    assert body_of(kind("x", field="caf\u00e9"))["field"] == "caf\u00e9"
    assert body_of(kind("x", field=""))["field"] == ""
    assert "field" not in body_of(kind("x"))


@pytest.mark.parametrize(
    ("error", "code", "who"),
    [
        (errors.PredictionFailed(INSIDE), "prediction_failed", "the model"),
        (errors.ConfigError(INSIDE), "internal", "the server"),
        (errors.CommitUnknown(INSIDE), "internal", "the server"),
        (RuntimeError(INSIDE), "internal", "the server"),
        (KeyError(INSIDE), "internal", "the server"),
    ],
)
def test_fault_inside_is_logged_with_an_id_which_is_all_the_caller_learns(
    caplog: pytest.LogCaptureFixture, error: Exception, code: str, who: str
) -> None:
    response = refusal(error)
    assert response.status == 500
    assert INSIDE.encode() not in response.body
    [record] = caplog.records
    assert (record.name, record.levelno) == ("twofold.wire", logging.ERROR)
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    body = msgspec.json.decode(response.body)
    request_id = body["request_id"]
    assert response.headers == b"X-Request-Id: %b\r\n" % request_id.encode()
    assert record.getMessage() == f"request {request_id} failed"
    assert body == {
        "error": (
            f"prediction: expected {who} to answer, got a failure inside it. "
            f"Ask its operator about request {request_id}."
        ),
        "code": code,
        "request_id": request_id,
    }


def test_no_two_failures_share_an_id(caplog: pytest.LogCaptureFixture) -> None:
    ids = {body_of(RuntimeError("x"))["request_id"] for _ in range(50)}
    assert len(ids) == 50
    assert {len(request_id) for request_id in ids} == {16}


@pytest.mark.parametrize("code", sorted(STATUSES))
def test_every_code_is_answered_with_its_status(code: str) -> None:
    response = refusal(WireError(code, 'quotes " and \u20ac and \n stay whole'))
    assert response.status == STATUSES[code]
    assert msgspec.json.decode(response.body)["code"] == code
