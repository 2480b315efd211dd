"""Rows set aside, with their notes, as columns and as lines."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.aside_rows import (
    line_texts,
    members_of,
    noted_line,
    noted_schema,
    noted_table,
    table_lines,
)
from twofold.batch.quarantine import SetAside, table_of
from twofold.errors import InvalidInput

NOTE = {"row": 7, "field": "a", "reason": 'got "x"'}
NOTES = table_of([SetAside(7, "k", "a", "r"), SetAside(9, None, "", "s")])
NOTES = NOTES.select(["row", "field", "reason"])

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text('a"\\é,{}', max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["a", "b", 'c"', "field", "day"]), JSON), st.booleans())
def test_a_line_has_its_members_and_the_notes_it_has_room_for(
    members: dict[str, Any], spaced: bool
) -> None:
    text = json.dumps(members, indent=1 if spaced else None).replace("\n", "\t").encode()
    found = noted_line(b" " + text + b"\r\n", NOTE, {"day": 3}, "in")
    assert found.count(b"\n") == 1
    assert json.loads(found) == NOTE | {"day": 3} | members


@pytest.mark.parametrize("line", [b"[1]\n", b"{oops\n", b"\xff\n", b"1", b"[" * 5000])
def test_a_line_that_is_no_object_is_told_as_it_is(line: bytes) -> None:
    assert members_of(line) is None
    found = json.loads(noted_line(line, NOTE, {}, "in"))
    assert found == NOTE | {"line": line.decode(errors="replace").strip()}


def test_a_line_too_long_to_be_read_has_its_notes_alone() -> None:
    assert json.loads(noted_line(None, NOTE, {"day": None}, "in")) == NOTE | {"day": None}


def test_members_become_text_as_it_was_written() -> None:
    lines = [b'{"a":1.10,"b":"x","c":[1, 2]}', None, b"[]", b'{"a":null,"b":true}']
    found = line_texts(lines, ["b", "a", "c"], "in").to_pydict()
    assert found == {
        "b": ["x", None, None, "true"],
        "a": ["1.10", None, None, None],
        "c": ["[1, 2]", None, None, None],
    }
    with pytest.raises(InvalidInput, match="in: row: expected a name that only numbers rows"):
        line_texts([b'{"row":1}'], ["a"], "in")


def test_columns_stand_beside_their_notes_and_own_ones_come_first() -> None:
    columns = pa.table({"reason": ["mine", None], "x": pa.array(["u", "u"]).dictionary_encode()})
    wanted = pa.schema([("reason", pa.string()), ("x", pa.string()), ("y", pa.int64())])
    schema = noted_schema(wanted)
    assert schema.names == ["row", "field", "reason", "x", "y"]
    assert noted_table(NOTES, columns, schema).to_pylist() == [
        {"row": 7, "field": "a", "reason": "mine", "x": "u", "y": None},
        {"row": 9, "field": "", "reason": None, "x": "u", "y": None},
    ]
    assert noted_table(NOTES, columns.select(["x"]), schema).column("reason").null_count == 2


def test_any_column_can_be_written_as_a_line() -> None:
    at = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    columns = pa.table(
        {
            "single": pa.array([0.1, float("nan")], pa.float32()),
            "time": pa.array([at, None], pa.timestamp("ns", "UTC")),
            "exact": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
            "span": pa.array([1, None], pa.duration("ns")),
            "pair": pa.array([{"a": [1]}, None]),
            "raw": pa.array([b"ab", None]),
            "day": pa.array([dt.date(2026, 1, 31), None]),
        }
    )
    first, second = (json.loads(line) for line in table_lines(NOTES, columns))
    assert first["single"] == pytest.approx(0.1, abs=1e-8)
    assert first["time"] == "2026-01-31T12:00:00Z"
    assert (first["exact"], first["pair"], first["day"]) == ("1.50", {"a": [1]}, "2026-01-31")
    assert second["single"] is None
    assert second["row"] == 9
