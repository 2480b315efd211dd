"""A body that isn't the JSON it should be is refused in words, whoever reads it."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput, TwofoldError
from twofold.wire.http import DEFAULT, Request
from twofold.wire.json_body import check_twice, read_body
from twofold.wire.statuses import WireError, code_of


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be read."""

    one: Any = msgspec.UNSET
    two: Any = msgspec.UNSET


decode = msgspec.json.Decoder(Body).decode


def read(body: bytes, **headers: bytes) -> Body:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    request = Request(b"POST", b"/", named, body, DEFAULT, 0.0)
    return read_body(request, decode, ("one", "two"), "Send one.")


def test_members_may_be_of_any_kind_and_may_be_left_out() -> None:
    body = read(b' {"one": [1, {"x": null}]} ')
    assert (body.one, body.two) == ([1, {"x": None}], msgspec.UNSET)


@pytest.mark.parametrize(
    "kind",
    [
        b"application/json",
        b"APPLICATION/Json",
        b"application/json ;charset=utf-8",
        b'application/json; charset="UTF-8"',
    ],
)
def test_json_in_utf_8_is_taken(kind: bytes) -> None:
    assert read(b'{"one":1}', content_type=kind).one == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("content_type", b"text/plain", "Content-Type: expected application/json in UTF-8"),
        ("content_type", b"application/json; charset=latin-1", "header Content-Type: application"),
        ("content_type", b"", "Content-Type: expected"),
        ("content_type", b"application/jsonl", "Content-Type: expected"),
        ("content_encoding", b"gzip", "Content-Encoding: expected none, got string 'gzip'."),
        ("content_encoding", b"", "Send the body uncompressed."),
    ],
)
def test_body_that_is_said_to_be_something_else_is_refused(
    name: str, value: bytes, words: str
) -> None:
    with pytest.raises(WireError) as caught:
        read(b'{"one":1}', **{name: value})
    assert caught.value.code == "unsupported_media_type"
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "not_json", "body: expected a JSON object, got nothing. Send one."),
        (b" \n", "not_json", "got nothing"),
        (b"[1]", "not_json", "expected a JSON object, got a list of 1. Send one."),
        (b"null", "not_json", "got null"),
        (b"[1", "not_json", "body: expected JSON, got Input data was truncated. Mend the text."),
        (b'{"one":NaN}', "not_json", "body: expected JSON"),
        (b'{"one":"\xff"}', "not_json", "got text that isn't UTF-8"),
        (b'{"three":"\xff"}', "not_json", "UTF-8"),
        (b'{"three":1} x', "not_json", "JSON is malformed"),
        (b'{"one":' + b"[" * 100_000, "not_json", "JSON nested too deep. Send one."),
        (b"[" * 100_000, "not_json", "body: expected"),
        (b'{"one":1e999}', "invalid_input", "expected numbers within the range of float64"),
        (b'{"three":1e999}', "invalid_input", "expected numbers within the range of float64"),
        (b'{"three":1}', "invalid_input", 'only "one" or "two", got a member string \'three\'.'),
        (b'{"d":1,"c":1}', "invalid_input", "got a member string 'c'"),
    ],
)
def test_what_is_wrong_is_said_in_words(body: bytes, code: str, words: str) -> None:
    with pytest.raises(TwofoldError) as caught:
        read(body)
    assert code_of(caught.value) == code
    assert words in str(caught.value)


@given(body=st.binary(max_size=40) | st.text(st.sampled_from('{}[]",:one1e\\ '), max_size=30))
def test_any_bytes_are_read_or_refused(body: bytes | str) -> None:
    with contextlib.suppress(TwofoldError):
        read(body.encode() if isinstance(body, str) else body)


def test_name_that_stands_twice_is_refused() -> None:
    check_twice(b'{"one":{"x":1}}', 2)
    with pytest.raises(InvalidInput, match="'x' twice"):
        check_twice(b'{"one":{"x":1,"x":2}}', 2)
