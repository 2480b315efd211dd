"""Paths, methods, health, and what is said about the models."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from twofold.serving.service import Health
from twofold.wire.connection import Connections
from twofold.wire.http import DEFAULT, Request
from twofold.wire.statuses import REASONS, WireError

PREDICT = "/v1/models/churn/predict"
ROW = {"row": [1.0, None]}
TENSORS = {
    "inputs": [
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.5]},
        {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["pro"]},
    ]
}
RECORDS = {"dataframe_records": [{"amount": 1.5, "plan": None}]}
TO_GET = [
    "/docs",
    "/health",
    "/metrics",
    "/openapi.json",
    "/ping",
    "/v1/models",
    "/v1/models/churn",
    "/v1/models/churn/versions/2",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/churn",
    "/v2/models/churn/config",
    "/v2/models/churn/ready",
    "/v2/models/churn/versions/2",
    "/v2/models/churn/versions/2/config",
    "/v2/models/churn/versions/2/ready",
    "/version",
]
TO_POST = {
    "/invocations": RECORDS,
    "/v1/models/churn/predict": ROW,
    "/v1/models/churn/versions/2/predict": ROW,
    "/v2/models/churn/infer": TENSORS,
    "/v2/models/churn/versions/2/infer": TENSORS,
    "/v2/repository/index": b"",
}


def test_models_are_listed_and_described(bench: Any) -> None:
    status, listed = bench.get("/v1/models")
    assert status == 200
    assert listed["models"][:2] == [
        {"name": "churn", "version": "3", "default": True},
        {"name": "churn", "version": "2", "default": False},
    ]
    status, facts = bench.get("/v1/models/churn")
    assert (facts["version"], facts["digest"]) == ("3", "d1g3st")
    assert facts["runtimes"] == {"batch": "original", "real_time": "original"}
    assert facts["inputs"][1] == {
        "name": "plan", "type": "string", "nullable": True,
        "categories": ["<basic>", "pro"], "unknown_categories": "refuse",
    }  # fmt: skip
    assert bench.get("/v1/models/churn/versions/2")[1]["version"] == "2"


@pytest.mark.parametrize("target", TO_GET)
def test_what_can_be_read_is_got_and_headed_and_nothing_else(bench: Any, target: str) -> None:
    got = bench.ask("GET", target)
    assert (got.status, len(got.body) > 0) == (200, True)
    assert bench.ask("HEAD", target).status == 200
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused = bench.ask(method, target)
        assert (refused.status, refused.headers) == (405, b"Allow: GET, HEAD\r\n")
        assert msgspec.json.decode(refused.body) == {
            "error": f"method: expected GET, HEAD, got {method}. Send GET.",
            "code": "method_not_allowed",
        }


@pytest.mark.parametrize("target", TO_POST)
def test_what_is_asked_is_posted_and_nothing_else(bench: Any, target: str) -> None:
    assert bench.ask("POST", target, TO_POST[target]).status == 200
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"):
        refused = bench.ask(method, target, TO_POST[target])
        assert (refused.status, refused.headers) == (405, b"Allow: POST\r\n")
        assert msgspec.json.decode(refused.body) == {
            "error": f"method: expected POST, got {method}. Send POST.",
            "code": "method_not_allowed",
        }


def test_every_protocol_answers_for_the_version_of_its_path(bench: Any) -> None:
    for version, path in (("3", ""), ("2", "/versions/2")):
        answer = bench.ask("POST", f"/v2/models/churn{path}/infer", TENSORS)
        told = msgspec.json.decode(answer.body)
        assert (told["model_name"], told["model_version"]) == ("churn", version)
        assert told["outputs"][0]["data"] == [3.0]
        assert bench.outcomes("churn", version) == {"ok": 1}
    first = bench.ask("POST", "/invocations", RECORDS)
    assert msgspec.json.decode(first.body) == {"predictions": [3.0]}
    assert b"X-Twofold-Model: churn\r\nX-Twofold-Version: 3\r\n" in first.headers
    assert bench.outcomes("churn", "3") == {"ok": 2}


def test_models_are_described_in_the_words_of_each_protocol(bench: Any) -> None:
    _, server = bench.get("/v2")
    assert (server["name"], server["version"]) == ("twofold", "9.9")
    _, facts = bench.get("/v2/models/churn/versions/2")
    assert (facts["name"], facts["versions"]) == ("churn", ["3", "2"])
    assert [item["datatype"] for item in facts["inputs"]] == ["FP64", "BYTES"]
    assert bench.get("/v2/models/churn/config")[1]["max_batch_size"] == 3
    assert bench.ask("GET", "/version").body == b"9.9"


def test_health_follows_the_life_of_the_service(bench: Any) -> None:
    ready = ["/v2/health/ready", "/v2/models/churn/ready", "/ping", "/health"]
    for health, status in (
        (Health.STARTING, 503),
        (Health.READY, 200),
        (Health.DRAINING, 503),
    ):
        bench.service.health = health
        assert bench.get("/v2/health/live") == (200, {"live": True})
        for target in ready:
            got, said = bench.get(target)
            assert (target, got, said["ready"]) == (target, status, status == 200)
    assert bench.get("/v2/models/churn/ready")[1] == {"name": "churn", "ready": False}
    assert bench.get("/v2/health/ready")[1] == {"ready": False}


def test_server_is_not_ready_while_one_of_its_models_is_not(bench: Any) -> None:
    bench.service.find("risk").model = None
    assert bench.get("/v2/health/ready") == (503, {"ready": False})
    assert bench.get("/ping")[0] == 503
    assert bench.get("/v2/models/risk/ready") == (503, {"name": "risk", "ready": False})
    assert bench.get("/v2/models/churn/ready") == (200, {"name": "churn", "ready": True})


def test_index_lists_every_version_and_those_that_are_ready_if_asked(bench: Any) -> None:
    bench.service.find("risk").model = None

    def listed(body: Any) -> list[tuple[str, str, str]]:
        answer = bench.ask("POST", "/v2/repository/index", body)
        assert answer.status == 200
        rows = msgspec.json.decode(answer.body)
        return [(row["name"], row["version"], row["state"]) for row in rows]

    every = listed(b"")
    assert every == [
        ("churn", "3", "READY"),
        ("churn", "2", "READY"),
        ("risk", "1", "UNAVAILABLE"),
        ("image", "1", "READY"),
    ]
    assert listed({"ready": True}) == [row for row in every if row[2] == "READY"]
    assert listed({"ready": False}) == every
    wrong = bench.ask("POST", "/v2/repository/index", b"[")
    assert (wrong.status, msgspec.json.decode(wrong.body)["code"]) == (400, "not_json")


@pytest.mark.parametrize(
    "target",
    [
        PREDICT + "?trace=1",
        "/v1/models/%63hurn/predict",
        "http://example.org:80" + PREDICT,
        "HTTPS://x" + PREDICT + "?a=b#c",
    ],
)
def test_same_path_written_otherwise_is_found(bench: Any, target: str) -> None:
    assert bench.ask("POST", target, ROW).status == 200


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/v1/models"])
def test_page_is_found_however_its_path_is_written(bench: Any, path: str) -> None:
    plain = bench.ask("GET", path)
    escaped = f"/%{ord(path[1]):x}{path[2:]}"
    for target in (path + "?a=b", "http://x:80" + path, path + "#c", escaped):
        found = bench.ask("GET", target)
        assert (found.status, found.body) == (200, plain.body), target


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        ("/", "unknown_path", "GET /docs lists them"),
        ("/v1/models/churn/predict/", "unknown_path", "expected a path"),
        ("//v1/models/churn", "unknown_path", "expected a path"),
        ("/v1/models/churn/../churn", "unknown_path", "expected a path"),
        ("/v1/models/%2e%2e%2fetc", "unknown_path", "expected a path"),
        ("/v1/models/churn/versions/3/nope", "unknown_path", "expected a path"),
        ("*", "unknown_path", "expected a path"),
        ("/v1/models/churm", "unknown_model", "expected one of 'churn', 'risk', 'image'"),
        ("/v1/models/churm/predict", "unknown_model", "got 'churm'"),
        ("/v1/models/churn/versions/9", "unknown_model", "expected one of '3', '2', got '9'"),
        ("/v1/models/churn/versions/9/predict", "unknown_model", "churn@VERSION"),
        ("/v1/models/churn/infer", "unknown_path", "expected a path"),
        ("/v2/models/churn/predict", "unknown_path", "expected a path"),
        ("/v2/models/churn/versions/3/infer/1", "unknown_path", "expected a path"),
        ("/v2/models/churm", "unknown_model", "got 'churm'"),
        ("/v2/models/churm/infer", "unknown_model", "got 'churm'"),
        ("/v2/models/churn/versions/9/ready", "unknown_model", "got '9'"),
        ("/v2/models/churn/versions/9/config", "unknown_model", "got '9'"),
        ("/v3/models/churn", "unknown_path", "expected a path"),
    ],
)
def test_what_is_not_served_is_not_found(bench: Any, target: str, code: str, words: str) -> None:
    status, answer = bench.get(target)
    assert (status, answer["code"]) == (404, code)
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("method", "target", "allow"),
    [
        ("GET", PREDICT, b"POST"),
        ("DELETE", PREDICT, b"POST"),
        ("POST", "/v2/health/live", b"GET, HEAD"),
        ("OPTIONS", "/metrics", b"GET, HEAD"),
    ],
)
def test_wrong_method_is_refused_and_the_right_one_named(
    bench: Any, method: str, target: str, allow: bytes
) -> None:
    response = bench.ask(method, target)
    assert response.status == 405
    assert response.headers == b"Allow: " + allow + b"\r\n"


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/nope", b"", 404),
        ("GET", PREDICT, b"", 405),
        ("POST", PREDICT, b"{", 400),
        ("POST", PREDICT, b"{}", 422),
        ("POST", "/v2/models/churn/infer", b"{", 400),
        ("POST", "/v2/models/churn/infer", b"{}", 422),
        ("POST", "/invocations", b"{", 400),
        ("POST", "/invocations", b"{}", 422),
        ("POST", "/v2/repository/index", b'{"ready": 1}', 422),
        ("POST", PREDICT, b'{"row": [666.0, null]}', 500),
        ("POST", PREDICT, b'{"row": [-666.0, null]}', 500),
    ],
)
def test_every_answer_that_is_an_error_says_so_in_one_form(
    bench: Any, method: str, target: str, body: bytes, status: int
) -> None:
    answer = bench.ask(method, target, body)
    told = msgspec.json.decode(answer.body)
    assert (answer.status, answer.content_type) == (status, b"application/json")
    assert {"error", "code"} <= told.keys()
    assert ": expected " in told["error"]


def test_fault_of_the_server_itself_is_an_answer_and_a_line_in_the_log(
    bench: Any, caplog: pytest.LogCaptureFixture
) -> None:
    bench.service.health = "none of its healths"
    del bench.service.versions["churn"]
    with caplog.at_level(logging.ERROR):
        answer = bench.ask("POST", "/v2/repository/index")
    told = msgspec.json.decode(answer.body)
    assert (answer.status, told["code"]) == (500, "internal")
    assert "Traceback" not in told["error"]
    assert told["request_id"] in caplog.text


def test_what_never_became_a_request_is_refused_in_the_same_form(bench: Any) -> None:
    response = bench.routes.refuse(WireError("timeout", "request: expected it, got less. Hurry."))
    assert response.status == 408
    assert msgspec.json.decode(response.body)["error"].startswith("request: expected it")


# ---- counted ------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False


def test_every_answer_is_counted_by_status(bench: Any) -> None:
    connections = Connections(bench.routes, bench.settings, clock=lambda: bench.now_s)
    wire, connection = Wire(), connections.make()
    connection.connection_made(wire)
    for method, path, body in (
        (b"POST", PREDICT.encode(), b'{"row":[1.5,null]}'),
        (b"POST", PREDICT.encode(), b'{"row":[666.0,null]}'),
        (b"GET", b"/nope", b""),
        (b"GET", b"/nope?", b""),
        (b"BREW", b"/tea", b""),
    ):
        head = b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        connection.data_received(head % (method, path, len(body)) + body)
    assert wire.written.count(b"Content-Length: ") == 5
    assert bench.responses() == {"200": 1, "404": 2, "500": 1, "400": 1}


def test_status_that_only_an_application_answers_is_not_counted(bench: Any) -> None:
    for status in (*REASONS, 299):
        bench.routes.count(status)
    assert bench.responses() == {str(status): 1 for status in REASONS}


# ---- the gate -----------------------------------------------------------------------------


def test_gate_has_the_words_that_the_whole_request_would_be_answered_with(bench: Any) -> None:
    def refused(method: bytes, target: bytes, **headers: bytes) -> str:
        named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        error = bench.routes.gate(method, target, named, bench.now_s)
        request = Request(method, target, named, b"", DEFAULT, bench.now_s)
        assert error is not None
        assert bench.routes.refuse(error) == bench.routes.answer(request, None)
        return str(error)

    assert "got string '/nope'" in refused(b"POST", b"/nope")
    assert refused(b"PUT", PREDICT.encode()).startswith("method: expected POST, got PUT")
    late = refused(b"POST", PREDICT.encode(), x_twofold_deadline_ms=b"soon")
    assert late.startswith("X-Twofold-Deadline-Ms: expected a positive number")
    bench.service.drain()
    assert "got told to stop" in refused(b"POST", b"/v2/models/churn/infer")
    assert bench.outcomes() == {"invalid": 2, "refused": 2}


def test_gate_lets_a_body_in_wherever_it_may_be_sent(bench: Any) -> None:
    for target in TO_POST:
        assert bench.routes.gate(b"POST", target.encode(), {}, bench.now_s) is None
    assert bench.outcomes() == {}
