"""Metrics, OpenAPI and the docs page say what is true of the served models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from twofold.wire.statuses import STATUSES

SERIES = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [0-9.e+-]+')


def metrics_of(bench: Any) -> list[str]:
    return bench.ask("GET", "/metrics").body.decode().splitlines()


def test_metrics_are_in_the_prometheus_text_format(bench: Any) -> None:
    response = bench.ask("GET", "/metrics")
    assert response.content_type.startswith(b"text/plain; version=0.0.4")
    lines = metrics_of(bench)
    for line in lines:
        assert line.startswith(("# HELP ", "# TYPE ")) or SERIES.fullmatch(line), line
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))


def test_histogram_is_cumulative_and_ends_with_its_count(bench: Any) -> None:
    for _ in range(3):
        bench.post({"row": [1.0, None]}, received_s=bench.now_s - 0.003)
    labels = 'model="churn",version="3",outcome="ok"'
    prefix = f"twofold_request_duration_seconds_bucket{{{labels},le="
    counts = {
        line.split('le="')[1].split('"')[0]: int(line.split()[-1])
        for line in metrics_of(bench)
        if line.startswith(prefix)
    }
    assert counts["0.0025"] == 0
    assert counts["0.005"] == 3
    assert counts["+Inf"] == 3
    assert list(counts.values()) == sorted(counts.values())
    assert f"twofold_request_duration_seconds_count{{{labels}}} 3" in metrics_of(bench)


def document_of(bench: Any) -> Any:
    status, document = bench.get("/openapi.json")
    assert status == 200
    return document


def examples_of(operation: Any) -> Iterator[tuple[str, Any]]:
    """Give everything that the document says can be sent, with its media type."""
    body = operation.get("requestBody", {"required": False, "content": {}})
    if not body["required"]:
        yield "application/json", b""
    for kind, described in body["content"].items():
        for example in described.get("examples", {}).values():
            yield kind, example["value"]
        if "example" in described:
            yield kind, described["example"].encode()


def test_openapi_lists_every_route_and_each_of_them_answers(bench: Any) -> None:
    document = document_of(bench)
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for kind, body in examples_of(operation):
                response = bench.ask(method.upper(), path, body, {b"content-type": kind.encode()})
                assert response.status == 200, (path, response.body)


def test_openapi_operations_have_names_of_their_own_and_references_lead_somewhere(
    bench: Any,
) -> None:
    document = document_of(bench)
    operations = [o["operationId"] for p in document["paths"].values() for o in p.values()]
    assert len(operations) == len(set(operations))
    for reference in re.findall(r'"\$ref": ?"#/([^"]+)"', json.dumps(document)):
        node = document
        for part in reference.split("/"):
            node = node[part]


def test_openapi_error_codes_are_those_of_the_table(bench: Any) -> None:
    error = document_of(bench)["components"]["schemas"]["Error"]
    assert set(error["properties"]["code"]["enum"]) == set(STATUSES)


def test_openapi_row_is_the_signature(bench: Any) -> None:
    schemas = document_of(bench)["components"]["schemas"]
    by_name, by_order = schemas["churn-3-row"]["oneOf"]
    assert by_name["required"] == ["amount", "plan"]
    assert by_name["properties"]["amount"] == {"type": "number", "format": "double"}
    assert by_name["properties"]["plan"] == {
        "type": ["string", "null"], "enum": ["<basic>", "pro", None],
    }  # fmt: skip
    assert "note" in by_name["properties"]
    assert by_name["additionalProperties"] is False
    assert (by_order["minItems"], by_order["maxItems"]) == (2, 2)
    image = schemas["image-1-row"]["oneOf"][0]["properties"]
    assert image["x"] == {
        "type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2,
    }  # fmt: skip
    assert image["at"]["format"] == "date-time"


class Page(HTMLParser):
    """Collects what a page would fetch, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"src", "href", "action", "srcset"}
        self.fetched += [f"{tag} {name}={value}" for name, value in attrs if name in wanted]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(bench: Any) -> Page:
    response = bench.ask("GET", "/docs")
    assert response.content_type.startswith(b"text/html")
    assert b"default-src 'none'" in response.headers
    parsed = Page()
    parsed.feed(response.body.decode())
    return parsed


def test_docs_page_fetches_nothing(page: Page) -> None:
    assert page.fetched == []


def test_docs_page_shows_routes_fields_and_a_row_to_try(page: Page) -> None:
    for words in (
        "/v1/models/churn/predict", "/v1/models/churn/versions/2/predict", "/metrics",
        "churn version 3", "amount", "float64", "<basic>", "2 numbers", '"row"', "note",
    ):  # fmt: skip
        assert words in page.text


def test_docs_page_escapes_what_the_models_bring(bench: Any) -> None:
    assert b"<basic>" not in bench.ask("GET", "/docs").body
