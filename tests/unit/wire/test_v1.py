"""The predict route: shapes in and out, deadlines, and messages that name the fix."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROW = {"amount": 1.5, "plan": "pro"}


def test_one_row_in_gives_one_prediction_out(bench: Any) -> None:
    answer = {"prediction": 3.0, "model": "churn", "version": "3", "source": "live"}
    assert bench.post({"row": ROW}) == (200, answer)
    assert bench.post({"row": [1.5, None]}) == (200, answer)
    assert bench.post({"row": ROW | {"note": 1}}) == (200, answer)


def test_many_rows_in_give_a_list_out_in_their_order(bench: Any) -> None:
    status, answer = bench.post({"rows": [ROW, [2, None], {"amount": 0, "plan": None}]})
    assert status == 200
    assert answer == {
        "predictions": [3.0, 4.0, 0.0], "model": "churn", "version": "3", "source": "live",
    }  # fmt: skip
    assert bench.post({"rows": [ROW]})[1]["predictions"] == [3.0]
    assert bench.post({"rows": []})[1]["predictions"] == []


def test_version_can_be_pinned(bench: Any) -> None:
    response = bench.ask("POST", "/v1/models/churn/versions/2/predict", {"row": ROW})
    assert (response.status, b'"version":"2"' in response.body) == (200, True)


def test_model_of_several_outputs_answers_by_name(bench: Any) -> None:
    response = bench.ask("POST", "/v1/models/risk/predict", {"row": ROW})
    assert b'"prediction":{"low":3.0,"high":3.0}' in response.body


def test_row_of_a_model_with_tensors_may_be_a_list_of_lists(bench: Any) -> None:
    body = {"row": [[1.0, 2.0], "2026-01-31T12:00:00Z"]}
    assert bench.ask("POST", "/v1/models/image/predict", body).status == 200


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_time_that_is_in_no_year_of_utc_is_the_callers_mistake(bench: Any, at: str) -> None:
    body = {"rows": [[[1.0, 2.0], "2026-01-31T12:00:00Z"], [[1.0, 2.0], at]]}
    response = bench.ask("POST", "/v1/models/image/predict", body)
    answer = json.loads(response.body)
    assert (response.status, answer["code"], answer["field"]) == (422, "invalid_input", "at")
    assert answer["error"] == (
        "rows[1].at: expected an ISO 8601 timestamp with time zone, within the years 1 to 9999 of "
        f"UTC, got string '{at}'. Send a time within these years."
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(amount=st.floats(-1e300, 1e300))
def test_predictions_keep_every_bit_over_the_wire(bench: Any, amount: float) -> None:
    _, answer = bench.post({"row": [amount, None]})
    assert answer["prediction"] == amount * 2


@pytest.mark.parametrize(
    ("body", "status", "code", "words"),
    [
        (b"", 400, "not_json", "body: expected a JSON object, got nothing"),
        (b"{", 400, "not_json", "body: expected JSON"),
        (b'{"row": NaN}', 400, "not_json", "body: expected JSON"),
        (b'{"row": "\xff"}', 400, "not_json", "UTF-8"),
        (b"[" * 100_000, 400, "not_json", "expected"),
        (b'{"row": ' + b"[" * 100_000, 400, "not_json", "nested too deep"),
        (b"[1]", 400, "not_json", "expected a JSON object, got a list of 1"),
        (b"[1", 400, "not_json", "body: expected JSON, got Input data was truncated"),
        (b"7 x", 400, "not_json", "body: expected JSON, got JSON is malformed"),
        (b'{"data": 1} x', 400, "not_json", "body: expected JSON, got JSON is malformed"),
        (b'{"data": "\xff"}', 400, "not_json", "UTF-8"),
        (b"{}", 422, "invalid_input", 'expected "row" or "rows", got neither'),
        (b'{"row": {}, "rows": []}', 422, "invalid_input", 'expected "row" or "rows", got both'),
        (b'{"raw": {}}', 422, "invalid_input", "got a member string 'raw'"),
        (b'{"row": [1e999, null]}', 422, "invalid_input", "within the range of float64"),
        (b'{"row": [{}, {}]}', 422, "invalid_input", 'got a list of 2. Send {"rows"'),
        (b'{"row": [[1, null]]}', 422, "invalid_input", 'got a list of 1. Send {"rows"'),
        (b'{"row": 5}', 422, "invalid_input", "row: expected one row, got integer 5"),
        (b'{"row": null}', 422, "invalid_input", "row: expected one row, got null"),
        (b'{"rows": {}}', 422, "invalid_input", 'got an object. Send {"row"'),
        (b'{"rows": "abc"}', 422, "invalid_input", "rows: expected a list of rows"),
        (b'{"rows": [5]}', 422, "invalid_input", "rows[0]: expected one row, got integer 5"),
        (b'{"rows": [[1,null],["x",null]]}', 422, "invalid_input", "rows[1].amount: expected"),
        (b'{"rows": [1,2,3,4]}', 413, "too_many_rows", "at most 3 rows, got 4"),
        (b'{"row": {"amount": 1}}', 422, "invalid_input", "row.plan: expected"),
    ],
)
def test_bad_bodies_are_refused_with_the_fix(
    bench: Any, body: bytes, status: int, code: str, words: str
) -> None:
    got, answer = bench.post(body)
    assert (got, answer["code"]) == (status, code)
    assert words in answer["error"]
    assert answer["error"].endswith((".", "]}", "for one row.", "for many rows."))
    assert bench.outcomes() == {"invalid": 1}


def test_field_at_fault_is_named(bench: Any) -> None:
    _, answer = bench.post({"row": ROW | {"amount": "1"}})
    assert answer["field"] == "amount"


@pytest.mark.parametrize("kind", [b"application/json", b"Application/JSON; charset=UTF-8"])
def test_json_content_types_are_taken(bench: Any, kind: bytes) -> None:
    assert bench.post({"row": ROW}, headers={b"content-type": kind})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {b"content-type": b"text/plain"},
        {b"content-type": b"application/json; charset=latin-1"},
        {b"content-encoding": b"gzip"},
    ],
)
def test_other_content_types_are_refused(bench: Any, headers: dict[bytes, bytes]) -> None:
    status, answer = bench.post({"row": ROW}, headers=headers)
    assert (status, answer["code"]) == (415, "unsupported_media_type")


def deadline(text: bytes) -> dict[bytes, bytes]:
    return {b"x-twofold-deadline-ms": text}


@pytest.mark.parametrize("text", [b"0", b"-1", b"x", b"", b"nan", b"inf", b"1e3", b"1_0", b"5, 6"])
def test_deadline_that_is_no_positive_number_is_refused(bench: Any, text: bytes) -> None:
    status, answer = bench.post({"row": ROW}, headers=deadline(text))
    assert (status, answer["code"]) == (400, "bad_request")


def test_deadline_counts_from_the_first_byte(bench: Any) -> None:
    received_s = bench.now_s - 0.2
    headers = deadline(b"250.5")
    assert bench.post({"row": ROW}, headers=headers, received_s=received_s)[0] == 200
    headers = deadline(b"150")
    status, answer = bench.post({"row": ROW}, headers=headers, received_s=received_s)
    assert (status, answer["code"]) == (504, "deadline_exceeded")
    status, answer = bench.post({"rows": [ROW]}, headers=headers, received_s=received_s)
    assert (status, answer["code"]) == (504, "deadline_exceeded")


def test_default_deadline_comes_from_the_settings(bench: Any) -> None:
    assert bench.post({"row": ROW}, received_s=bench.now_s - 0.9)[0] == 200
    assert bench.post({"row": ROW}, received_s=bench.now_s - 1.1)[0] == 504


@pytest.mark.parametrize(
    ("amount", "code", "secret"),
    [(666.0, "prediction_failed", "of the model"), (-666.0, "internal", "of the server")],
)
def test_failure_of_the_model_tells_the_caller_an_id_and_the_log_the_rest(
    bench: Any, caplog: pytest.LogCaptureFixture, amount: float, code: str, secret: str
) -> None:
    with caplog.at_level(logging.ERROR):
        status, answer = bench.post({"row": [amount, None]})
    assert (status, answer["code"]) == (500, code)
    assert "secret" not in answer["error"]
    assert "Traceback" not in answer["error"]
    assert answer["request_id"] in answer["error"]
    assert answer["request_id"] in caplog.text
    assert secret in caplog.text
    assert bench.outcomes() == {"failed": 1}


def test_draining_server_says_when_to_come_back(bench: Any) -> None:
    bench.service.drain()
    response = bench.ask("POST", "/v1/models/churn/predict", {"row": ROW})
    assert response.status == 503
    assert b"Retry-After: " in response.headers
    assert b'"code":"draining"' in response.body
