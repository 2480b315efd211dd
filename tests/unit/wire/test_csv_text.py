from __future__ import annotations

import csv
import io
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twofold.model.columns import check_columns
from twofold.model.rows import FieldProblem, field_check
from twofold.model.signature import Field, FieldType, Signature
from twofold.wire.csv_text import MAX_COLUMNS, lines, parser, records
from twofold.wire.statuses import WireError

CELLS = st.none() | st.text("ab,\"\r\n 'é;\t", max_size=6)
DIGITS = st.from_regex(r"\A\s?[+-]?[0-9]{0,21}\.?[0-9]{0,3}([eE][+-]?[0-9]{1,3})?\s?\Z")
WORDS = st.sampled_from(
    [
        *("", "true", "TRUE ", "False", "yes", "nan", "NaN ", "inf", "0x10", "1_0", "null"),
        *("1e400", "٣", "9007199254740993"),
        *("2026-01-31", "2026-01-31T12:00:00", "2026-01-31 12:00:00.5"),
    ]
)


def line(cells: list[str | None]) -> str:
    doubled = (cell and cell.replace('"', '""') for cell in cells)
    return ",".join("" if cell is None else f'"{cell}"' for cell in doubled)


@given(table=st.lists(st.lists(CELLS, min_size=2, max_size=4)), end=st.sampled_from(["\n", "\r\n"]))
def test_whatever_is_in_the_cells_comes_back(table: list[list[str | None]], end: str) -> None:
    assert list(records(end.join(map(line, table)))) == table


@given(st.text('a,"\n ', max_size=40))
def test_any_text_is_read_as_by_python_where_it_is_no_fault(text: str) -> None:
    try:
        got = list(records(text))
    except WireError as error:
        assert error.code == "bad_request"  # noqa: PT017 - most texts are fine
        assert '"' in text
    else:
        read = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        assert [[cell or "" for cell in row] for row in got] == read


def test_an_empty_cell_is_null_and_two_quotes_are_the_empty_text() -> None:
    assert list(records('a,,""\n""\n')) == [["a", None, ""], [""]]


def test_lines_without_anything_are_no_records() -> None:
    assert list(records("\n\na,b\r\n\r\nc,\n\n")) == [["a", "b"], ["c", None]]
    assert list(records("")) == []


@pytest.mark.parametrize("text", ['a\n"b', 'a\n"b"c', 'a\n"', '\r\n"b""', 'a\n"b" ,c'])
def test_a_quote_out_of_place_is_told_with_its_line(text: str) -> None:
    with pytest.raises(WireError, match="got a double quote out of place in line 2") as caught:
        list(records(text))
    assert caught.value.code == "bad_request"


def test_a_line_of_too_many_cells_is_refused_before_it_is_read_to_its_end() -> None:
    for cell in ("", '""'):
        assert len(next(records(f"{cell}," * (MAX_COLUMNS - 1)))) == MAX_COLUMNS
        with pytest.raises(WireError, match="at most 16384 cells in a line, got more"):
            next(records(f"{cell}," * 1_000_000))


@given(
    text=DIGITS | WORDS,
    kind=st.sampled_from(["bool", "int64", "float32", "float64", "string", "timestamp"]),
)
@example(text="1e39", kind="float32")
@example(text="-9223372036854775808", kind="int64")
@example(text="9223372036854775808", kind="int64")
def test_text_means_the_same_as_in_a_batch_run(text: str, kind: FieldType) -> None:
    field = Field(name="x", type=kind, nullable=True)
    batch = pa.RecordBatch.from_arrays([pa.array([text])], names=["x"])
    checked = check_columns(Signature(fields=(field,)), batch, from_text=True)
    try:
        value = field_check(field)(parser(field)(text))
    except FieldProblem:
        assert checked.problems
        return
    assert not checked.problems
    column = checked.columns.column(0)
    assert value == (column.cast(pa.int64()) if kind == "timestamp" else column)[0].as_py()


@pytest.mark.parametrize(
    ("text", "value"),
    [("[1, 2.5]", [1, 2.5]), ("1", 1), ("[1, NaN]", "[1, NaN]"), ("[" * 9_999, "[" * 9_999)],
)
def test_a_tensor_is_a_list_in_json(text: str, value: Any) -> None:
    assert parser(Field(name="x", type="tensor", length=2))(text) == value


def test_predictions_are_written_one_line_per_row() -> None:
    assert lines([[0.1, 1e-07, math.nan], [True, None, False]]) == b"0.1,true\n1e-07,\n,false\n"
    assert lines([[3, -1]]) == b"3\n-1\n"


def test_labels_are_quoted_where_they_must_be() -> None:
    assert lines([["a", "b,c", 'd"', "e\n", ""]]) == b'a\n"b,c"\n"d"""\n"e\n"\n""\n'


@given(st.lists(st.lists(st.text("ab,\"\r\n'", max_size=4), min_size=2, max_size=2), min_size=1))
def test_what_is_written_is_read_again(table: list[list[str]]) -> None:
    columns = [list(column) for column in zip(*table, strict=True)]
    assert list(records(lines(columns).decode())) == table
