"""Each name stands once in an object."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.model.members import name_twice


@pytest.mark.parametrize(
    ("text", "members", "twice"),
    [
        (b'{"a": 1, "b": 2}', 2, None),
        (b'{"a": 1, "a": 2}', 1, "a"),
        (b'{"a": 1, "\\u0061": 2}', 1, "a"),
        (b'{"a": "b: c"}', 1, None),
        (b'{"row": {"a": 1}, "a": 2}', 3, None),
        (b'{"row": {"a": 1, "b": 2, "a": 3}}', 3, "a"),
        (b'{"a": 1, "a": %s}' % (b"9" * 9_000), 1, "a"),
    ],
)
def test_name_is_found_that_stands_twice(text: bytes, members: int, twice: str | None) -> None:
    assert name_twice(text, members=members) == twice


@given(st.lists(st.sampled_from("abcd:"), max_size=6))
def test_name_is_found_exactly_if_there_is_one(names: list[str]) -> None:
    text = "{" + ",".join(f"{json.dumps(name)}:1" for name in names) + "}"
    known: Any = json.loads(text)
    twice = name_twice(text.encode(), members=len(known))
    assert (twice is not None) == (len(known) < len(names))
    assert twice is None or names.count(twice) > 1
