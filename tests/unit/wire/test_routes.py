"""Paths, methods, health, and what is said about the models."""

from __future__ import annotations

from typing import Any

import pytest

from twofold.serving.metrics import RESPONSES

PREDICT = "/v1/models/churn/predict"
ROW = {"row": [1.0, None]}


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


def test_health_follows_the_life_of_the_service(bench: Any) -> None:
    assert bench.get("/v2/health/live") == (200, {"live": True})
    assert bench.get("/v2/health/ready") == (200, {"ready": True})
    bench.service.drain()
    assert bench.get("/v2/health/live") == (200, {"live": True})
    assert bench.get("/v2/health/ready") == (503, {"ready": False})


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


def test_head_is_answered_wherever_get_is(bench: Any) -> None:
    assert bench.ask("HEAD", "/v1/models").status == 200


def test_every_answer_is_counted_by_status(bench: Any) -> None:
    bench.ask("POST", PREDICT, ROW)
    bench.ask("GET", "/nope")
    bench.ask("GET", "/nope")
    counted = {at[0]: v[0] for f, at, v in bench.metrics.totals() if f.name == RESPONSES and v[0]}
    assert counted == {"200": 1, "404": 2}
