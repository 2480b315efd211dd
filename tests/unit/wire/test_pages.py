"""The pages are an ordinary application: what each path gives, and with which headers."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from twofold.hybrid.settings import AnswerSettings
from twofold.wire.docs_page import HEADERS
from twofold.wire.openapi import openapi
from twofold.wire.pages import Pages


def sent_for(pages: Pages, path: str) -> list[dict[str, Any]]:
    """Ask as any ASGI server would."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path}
    asyncio.run(pages(scope, receive, send))
    return sent


@pytest.fixture
def pages(bench: Any) -> Pages:
    return Pages(bench.service, bench.settings, version="9.9")


def test_document_is_that_of_the_served_models(bench: Any, pages: Pages) -> None:
    begun, rest = sent_for(pages, "/openapi.json")
    assert begun == {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"application/json")],
    }
    document = openapi(bench.service, bench.settings, version="9.9")
    assert rest["type"] == "http.response.body"
    assert msgspec.json.decode(rest["body"]) == msgspec.json.decode(msgspec.json.encode(document))


def test_pages_tell_what_answers_by_key(bench: Any) -> None:
    answering = {"churn": AnswerSettings(max_keys=7)}
    pages = Pages(bench.service, bench.settings, version="9.9", answering=answering)
    document = msgspec.json.decode(sent_for(pages, "/openapi.json")[1]["body"])
    assert "/v1/models/churn/answers" in document["paths"]
    assert "/v1/models/risk/answers" not in document["paths"]
    assert b"/v1/models/churn/answers" in sent_for(pages, "/docs")[1]["body"]


def test_page_comes_with_all_that_guards_it(pages: Pages) -> None:
    begun, rest = sent_for(pages, "/docs")
    assert begun["headers"][0] == (b"content-type", b"text/html; charset=utf-8")
    lines = [b"%b: %b\r\n" % item for item in begun["headers"][1:]]
    assert b"".join(lines) == HEADERS
    assert rest["body"].startswith(b"<!doctype html>")


def test_each_page_is_routed_and_says_the_same_there(bench: Any, pages: Pages) -> None:
    assert set(pages.paths) == {"/openapi.json", "/docs"}
    for path, page in pages.paths.items():
        response = bench.ask("GET", path)
        assert (response.status, response.body) == (200, page.body)
        assert response.content_type == page.content_type
        assert bench.ask("POST", path).status == 405


def test_page_is_answered_without_asking_for_the_body_and_changes_never(pages: Pages) -> None:
    assert sent_for(pages, "/docs") == sent_for(pages, "/docs")
