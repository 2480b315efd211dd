"""What is asked for by key is read from a body or a query, or refused with the fix."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.hybrid.ask import Ask
from twofold.wire.asked import Asked, read_asked, read_query
from twofold.wire.http import DEFAULT, Request
from twofold.wire.statuses import STATUSES, WireError, code_of

ROW = {"amount": 1.5, "plan": None}


def read(body: Any, *, max_keys: int = 3, **headers: bytes) -> Asked:
    named = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_asked(Request(b"POST", b"/", named, encoded, DEFAULT, 0.0), max_keys=max_keys)


def test_one_key_is_asked_for_with_all_that_is_known() -> None:
    assert read({"key": "a"}) == Asked([Ask("a")], [b"a"], is_many=False)
    body = {
        "key": 17,
        "row": ROW,
        "changes": {"amount": 2},
        "max_age_s": 60,
        "row_as_of": "2026-01-31T02:00:00+02:00",
        "keep": True,
    }
    as_of = datetime(2026, 1, 31, tzinfo=UTC)
    ask = Ask(17, 60.0, ROW, {"amount": 2}, as_of, keep=True)
    assert read(body) == Asked([ask], [b"17"], is_many=False)
    assert read({"key": "a", "row": [1.5, None]}).asks == [Ask("a", row=[1.5, None])]


def test_many_keys_are_asked_for_in_their_order() -> None:
    asked = Asked([Ask("b", 5.0), Ask(1, 5.0), Ask("b", 5.0)], [b"b", b"1", b"b"], is_many=True)
    assert read({"keys": ["b", 1, "b"], "max_age_s": 5}) == asked
    assert read({"keys": []}) == Asked([], [], is_many=True)


def test_member_that_is_null_is_as_good_as_none() -> None:
    nothing = dict.fromkeys(("row", "changes", "max_age_s", "row_as_of", "keep"))
    assert read({"key": "a", **nothing}).asks == [Ask("a")]
    assert read({"key": "a", "changes": {}}).asks == [Ask("a", changes={})]
    assert read({"keys": ["a"], "max_age_s": None}).asks == [Ask("a")]


@given(key=st.text() | st.integers(-(10**40), 10**40))
def test_any_text_and_any_whole_number_is_a_key(key: str | int) -> None:
    asked = read({"key": key, "row": {"key": 1}})
    assert (asked.asks[0].key, asked.keys) == (key, [str(key).encode()])


HUGE = b"9" * 400


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "not_json", 'got nothing. Send {"key": ...}'),
        (b"{", "not_json", "body: expected JSON"),
        (b"[]", "not_json", "expected a JSON object, got a list"),
        (b'{"key": "\xff"}', "not_json", "UTF-8"),
        (b'{"key": ' + b"[" * 100_000, "not_json", "nested too deep"),
        ({}, "invalid_input", 'body: expected "key" or "keys", got neither.'),
        ({"id": 1}, "invalid_input", "got a member string 'id'"),
        (b'{"key":"a","key":"b"}', "invalid_input", "'key' twice"),
        (b'{"key":"a","row":{"x":1,"x":2}}', "invalid_input", "'x' twice"),
        (b'{"key":"a","changes":{"x":1,"x":2}}', "invalid_input", "'x' twice"),
        (b'{"keys":["a"],"keys":["b"]}', "invalid_input", "'keys' twice"),
        ({"key": None}, "invalid_input", "key: expected a text or a whole number"),
        ({"key": 1.5}, "invalid_input", "key: expected a text or a whole number, got float."),
        ({"key": True}, "invalid_input", "key: expected a text or a whole number, got bool."),
        ({"key": ["a"]}, "invalid_input", "key: expected a text or a whole number, got list."),
        ({"keys": ["a", None]}, "invalid_input", "key: expected a text or a whole number"),
        ({"key": "a", "row": 5}, "invalid_input", "row: expected one row, got integer 5."),
        ({"key": "a", "row": "x"}, "invalid_input", "row: expected one row, got"),
        ({"key": "a", "changes": [1]}, "invalid_input", "changes: expected an object by field"),
        ({"key": "a", "keep": 1}, "invalid_input", "keep: expected true or false, got integer 1."),
        ({"key": "a", "keep": "yes"}, "invalid_input", "keep: expected true or false"),
        ({"key": "a", "max_age_s": -1}, "invalid_input", "max_age_s: expected a number of seconds"),
        ({"key": "a", "max_age_s": "1"}, "invalid_input", "max_age_s: expected a number"),
        ({"key": "a", "max_age_s": True}, "invalid_input", "max_age_s: expected a number"),
        (b'{"key":"a","max_age_s":1e999}', "invalid_input", "within the range of float64"),
        (b'{"key":"a","max_age_s":' + HUGE + b"}", "invalid_input", "of at least 0"),
        (b'{"key":"a","max_age_s":-' + HUGE + b"}", "invalid_input", "of at least 0"),
        ({"key": "a", "row_as_of": "2026-01-31T00:00:00"}, "invalid_input", "with its offset"),
        ({"key": "a", "row_as_of": "now"}, "invalid_input", "row_as_of: expected an instant"),
        ({"key": "a", "row_as_of": 17}, "invalid_input", "row_as_of: expected an instant"),
        ({"key": "a", "row_as_of": "0001-01-01T00:00:00+14:00"}, "invalid_input", "row_as_of"),
        ({"key": "a", "row_as_of": "9999-12-31T23:59:59-14:00"}, "invalid_input", "row_as_of"),
        ({"keys": "abc"}, "invalid_input", "keys: expected a list of keys"),
        ({"keys": None}, "invalid_input", "keys: expected a list of keys, got null."),
        ({"keys": ["a"] * 4}, "too_many_rows", "keys: expected at most 3 keys, got 4."),
        *(
            ({"keys": ["a"], name: None}, "invalid_input", f'"keys" without "{name}", got both.')
            for name in ("key", "row", "changes", "row_as_of", "keep")
        ),
    ],
)
def test_body_that_asks_for_nothing_is_refused_with_the_fix(
    body: Any, code: str, words: str
) -> None:
    with pytest.raises((InvalidInput, WireError)) as caught:
        read(body)
    assert code_of(caught.value) == code
    assert STATUSES[code] in {400, 413, 422}
    assert words in str(caught.value)


def test_body_of_another_kind_is_refused() -> None:
    for headers in ({"content_type": b"text/plain"}, {"content_encoding": b"gzip"}):
        with pytest.raises(WireError) as caught:
            read({"key": "a"}, **headers)
        assert caught.value.code == "unsupported_media_type"
    assert read({"key": "a"}, content_type=b"application/json").keys == [b"a"]


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0.0), ("1.5", 1.5), ("1e9", 1e9), ("inf", math.inf)]
)
def test_query_says_up_to_which_age_a_prediction_is_fresh(text: str, expected: float) -> None:
    assert read_query([("max_age_s", text)]) == (expected, False)
    assert read_query([]) == (None, False)


def test_query_or_body_says_whether_the_features_are_wanted() -> None:
    assert read_query([("features", "true"), ("max_age_s", "1")]) == (1.0, True)
    assert read_query([("features", "false")]) == (None, False)
    assert read({"key": "a", "features": True}).asks == [Ask("a", features=True)]
    assert read({"keys": ["a"], "features": True}).asks == [Ask("a", features=True)]
    assert read({"key": "a", "features": None}).asks == [Ask("a")]
    with pytest.raises(InvalidInput, match="features: expected true or false, got integer 1"):
        read({"key": "a", "features": 1})


def test_query_that_says_something_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"query\.max_age_s: expected it once, got it twice\."):
        read_query([("max_age_s", "1"), ("max_age_s", "2")])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (("max_age_s", ""), "max_age_s: expected a number of seconds of at least 0, got"),
        (("max_age_s", "a day"), "got string 'a day'"),
        (("max_age_s", "-1"), "Send a number such as 86400."),
        (("max_age_s", "nan"), "at least 0"),
        (("max_age", "1"), "query.max_age: expected max_age_s or features, got another."),
        (("features", "yes"), "features: expected true or false, got string 'yes'"),
        (("x" * 200, ""), "query." + "x" * 80 + ": expected"),
    ],
)
def test_query_that_says_something_else_is_refused(query: tuple[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_query([query])
    assert words in str(caught.value)
