"""The page to read and to try: whatever the models are called, it shows that and nothing else."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest
from shelves import Keyed, Shelf, stored

from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Service
from twofold.serving.settings import ServeSettings
from twofold.wire.docs_page import CONTENT_TYPE, HEADERS, ROUTES, SCRIPT, docs_page
from twofold.wire.pages import Pages

HOSTILE = "</textarea></code><script>alert('\"1&amp;2\"')</script>"
VALUE = Output(kind="value", type="float64")


class Page(HTMLParser):
    """Collects cells by row, the forms' paths and texts, paragraphs, and elements by name."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.forms: list[tuple[str, str]] = []
        self.paragraphs: list[str] = []
        self.elements: list[str] = []
        self.commands: list[str] = []
        self.inputs: list[dict[str, str | None]] = []
        self._is_in_form = False
        self._text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag == "form":
            self.forms.append((dict(attrs)["data-path"] or "", ""))
            self._is_in_form = True
        elif tag == "input":
            assert not self._is_in_form, "a form may put its fields into an address"
            self.inputs.append(dict(attrs))
        if tag in ("td", "p", "pre", "textarea"):
            self._text = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self.rows[-1].append(self._text)
        elif tag == "p":
            self.paragraphs.append(self._text)
        elif tag == "pre" and self._text:
            self.commands.append(self._text)
        elif tag == "form":
            self._is_in_form = False
        elif tag == "textarea":
            self.forms[-1] = (self.forms[-1][0], self._text)

    def handle_data(self, data: str) -> None:
        self._text += data

    def row(self, first: str) -> list[str]:
        """Find the one table row that begins with this."""
        [found] = [row for row in self.rows if row and row[0] == first]
        return found


def page_of(
    bench: Any,
    *fields: Field,
    ignored: tuple[str, ...] = (),
    output: Output = VALUE,
    example: dict[str, Any] | None = None,
    **record: Any,
) -> Page:
    signature = Signature(fields=fields, ignored=ignored)
    served = bench.other(signature, output, example=example, **record)
    return Page(docs_page(Service([served], bench.metrics, clock=lambda: 0.0)))


def test_each_form_sends_a_row_that_is_answered_by_the_version_it_stands_under(
    bench: Any,
) -> None:
    forms = Page(docs_page(bench.service)).forms
    assert [path for path, _ in forms] == [
        "/v1/models/churn/predict",
        "/v1/models/churn/versions/2/predict",
        "/v1/models/risk/predict",
        "/v1/models/image/predict",
    ]
    answers = [json.loads(bench.ask("POST", path, body.encode()).body) for path, body in forms]
    assert [(answer["model"], answer["version"]) for answer in answers] == [
        ("churn", "3"),
        ("churn", "2"),
        ("risk", "1"),
        ("image", "1"),
    ]
    assert answers[0]["prediction"] == 1.0


def test_every_route_shown_is_one_of_the_servers(bench: Any) -> None:
    page = Page(docs_page(bench.service))
    shown = [row[:2] for row in page.rows if len(row) == 3]
    assert [[method, path] for method, path, _ in ROUTES] == shown[-len(ROUTES) :]
    assert shown[:8] == [
        ["POST", "/v1/models/churn/predict"],
        ["GET", "/v1/models/churn"],
        ["POST", "/v2/models/churn/infer"],
        ["GET", "/v2/models/churn"],
        ["POST", "/v1/models/churn/versions/2/predict"],
        ["GET", "/v1/models/churn/versions/2"],
        ["POST", "/v2/models/churn/versions/2/infer"],
        ["GET", "/v2/models/churn/versions/2"],
    ]
    for method, path in shown:
        wrong = "GET" if method == "POST" else "POST"
        assert bench.ask(wrong, path).status == 405, path


def test_answers_by_key_are_shown_where_there_are_any(bench: Any) -> None:
    keyed = Keyed(bench, Shelf(a=stored(7.5))).open()
    shown = Page(bench.ask("GET", "/docs").body).rows
    answers = [row[:2] for row in shown if "answers" in "".join(row[:2])]
    assert answers == [
        ["GET", "/v1/models/churn/answers/{key}"],
        ["POST", "/v1/models/churn/answers"],
    ]
    assert keyed.get("a")[0] == 200
    for method, path in answers:
        wrong = "GET" if method == "POST" else "POST"
        assert bench.ask(wrong, path).status == 405, path


def test_commands_send_what_is_answered_whatever_the_values_are(bench: Any) -> None:
    churn = bench.service.find("churn")
    churn.example = {"amount": 17.25, "plan": "<basic>"}
    commands = [shlex.split(text) for text in Page(docs_page(bench.service)).commands]
    for path, command in zip(("/v2/models/churn/infer", "/invocations"), commands, strict=True):
        assert command[:2] == ["curl", f"http://HOST:PORT{path}"]
        assert command[2:4] == ["-H", "Content-Type: application/json"]
        assert bench.ask("POST", path, command[5].encode()).status == 200
    page = page_of(bench, Field(name="f", type="string"), example={"f": HOSTILE})
    for text in page.commands:
        assert json.dumps(HOSTILE) in shlex.split(text)[5]


@pytest.mark.parametrize(
    ("field", "cells"),
    [
        (Field(name="f", type="float64"), ["f", "float64", "no", ""]),
        (Field(name="f", type="int64", nullable=True), ["f", "int64", "yes", ""]),
        (Field(name="f", type="string"), ["f", "string", "no", ""]),
        (Field(name="f", type="string", categories=("a", "b")), ["f", "string", "no", "a, b"]),
        (
            Field(name="f", type="string", categories=("a",), unknown_categories="allow"),
            ["f", "string", "no", "a, or another"],
        ),
        (Field(name="f", type="tensor", length=7), ["f", "tensor", "no", "7 numbers"]),
        (
            Field(name="f", type="timestamp"),
            ["f", "timestamp", "no", "ISO 8601 without time zone"],
        ),
        (
            Field(name="f", type="timestamp", zoned=True),
            ["f", "timestamp", "no", "ISO 8601 with time zone"],
        ),
    ],
)
def test_field_is_shown_with_its_type_and_what_it_takes(
    bench: Any, field: Field, cells: list[str]
) -> None:
    assert page_of(bench, field).row("f") == cells


def test_output_runtimes_and_origin_are_told_in_a_sentence(bench: Any) -> None:
    classes = Output(kind="probability", type="float32", names=("low", "high"))
    page = page_of(bench, Field(name="f", type="bool"), output=classes, framework="sklearn")
    assert (
        "Predicts a probability (float32): low, high. Runtime: original in real time, original "
        "in batch. Packed 2026-01-31T12:00:00+00:00 from sklearn."
    ) in page.paragraphs


def test_ignored_fields_are_told_only_if_there_are_any(bench: Any) -> None:
    field = Field(name="f", type="bool")
    said = "May be sent, isn't used: a, b."
    assert said in page_of(bench, field, ignored=("a", "b")).paragraphs
    assert not [text for text in page_of(bench, field).paragraphs if "May be sent" in text]


def test_example_of_the_sample_is_what_there_is_to_try(bench: Any) -> None:
    example = {"f": "caf\u00e9 \u20ac", "g": None}
    page = page_of(bench, Field(name="f", type="string"), example=example)
    assert json.loads(page.forms[0][1]) == {"row": example}


def test_nothing_a_model_brings_becomes_markup(bench: Any) -> None:
    harmless = page_of(bench, Field(name="f", type="string", categories=("a",)), ignored=("b",))
    page = page_of(
        bench,
        Field(name=HOSTILE, type="string", categories=(HOSTILE,)),
        ignored=(HOSTILE,),
        output=Output(kind="value", type="float64", names=(HOSTILE,)),
        framework=HOSTILE,
    )
    assert page.elements == harmless.elements
    assert page.row(HOSTILE) == [HOSTILE, "string", "no", HOSTILE]
    assert json.loads(page.forms[0][1]) == {"row": {HOSTILE: HOSTILE}}
    assert f"May be sent, isn't used: {HOSTILE}." in page.paragraphs


def test_key_is_asked_for_once_and_only_where_there_are_keys(bench: Any) -> None:
    guarded = Page(docs_page(bench.service, is_open=False))
    # Without a name it is in no form's data; a password's text is shown and kept nowhere.
    assert guarded.inputs == [{"type": "password", "autocomplete": "off", "spellcheck": "false"}]
    assert len(guarded.forms) == 4
    assert Page(docs_page(bench.service)).inputs == []
    assert Page(docs_page(bench.service, is_open=True)).inputs == []


@pytest.mark.parametrize("keys", ["", "keys.toml"])
def test_page_is_told_whether_there_are_keys(bench: Any, keys: str) -> None:
    pages = Pages(bench.service, ServeSettings(api_keys=keys), version="9.9")
    assert (b"<input " in pages.paths["/docs"].body) == bool(keys)


def test_commands_send_a_key_where_there_are_keys(bench: Any) -> None:
    service = bench.service
    open_to_all = [shlex.split(text) for text in Page(docs_page(service)).commands]
    guarded = [shlex.split(text) for text in Page(docs_page(service, is_open=False)).commands]
    for plain, keyed in zip(open_to_all, guarded, strict=True):
        assert keyed == [*plain[:2], "-H", "Authorization: Bearer KEY", *plain[2:]]


BROWSER = """
const typed = %s, tries = [], sent = [];
const form = {
  dataset: {path: "/v1/models/churn/predict"},
  addEventListener: (_, listener) => tries.push(listener),
  querySelector: (name) => ({value: "the body"}),
};
const field = typed === null ? null : {value: ""};
globalThis.document = {
  querySelector: (name) => name === "[type=password]" ? field : undefined,
  querySelectorAll: (name) => name === "form" ? [form] : [],
};
globalThis.fetch = async (path, how) => {
  sent.push({path, ...how});
  return {status: 200, text: async () => "{}"};
};
{ %s }
if (field) field.value = typed;
for (const listener of tries) await listener({preventDefault() {}});
console.log(JSON.stringify(sent));
"""
"""As much of one as the script asks for; anything else it asked for would fail."""


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.parametrize(
    ("typed", "more"),
    [
        (None, {}),
        ("", {}),
        (" ", {}),
        ("tf_key", {"Authorization": "Bearer tf_key"}),
        (" tf_key\n", {"Authorization": "Bearer tf_key"}),
    ],
)
def test_key_that_was_typed_is_sent_in_a_header_and_nowhere_else(
    typed: str | None, more: dict[str, str]
) -> None:
    script = BROWSER % (json.dumps(typed), SCRIPT)
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        capture_output=True,
        check=True,
        timeout=60,
    )
    [sent] = json.loads(done.stdout)
    assert sent == {
        "path": "/v1/models/churn/predict",
        "method": "POST",
        "headers": {"Content-Type": "application/json", **more},
        "body": "the body",
    }


def test_page_says_the_encoding_it_is_sent_in(bench: Any) -> None:
    page = docs_page(bench.service)
    assert page.startswith(b"<!doctype html><html lang=en><meta charset=utf-8>")
    assert CONTENT_TYPE == b"text/html; charset=utf-8"


def test_browser_is_told_to_run_this_page_only_and_to_ask_this_server_only(bench: Any) -> None:
    response = bench.ask("GET", "/docs")
    assert response.headers.lower() == HEADERS.lower()
    lines = dict(line.split(b": ", 1) for line in HEADERS.removesuffix(b"\r\n").split(b"\r\n"))
    assert lines[b"X-Content-Type-Options"] == b"nosniff"
    rules = dict(rule.split(b" ", 1) for rule in lines[b"Content-Security-Policy"].split(b"; "))
    assert (rules[b"default-src"], rules[b"connect-src"]) == (b"'none'", b"'self'")
    assert (rules[b"base-uri"], rules[b"form-action"]) == (b"'none'", b"'none'")
