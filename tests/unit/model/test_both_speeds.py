"""The two speeds refuse the same rows for the same reason, and make the same canonical values."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model import arrow
from twofold.model.columns import arrow_type, check_columns, columns_of
from twofold.model.rows import RowCheck, check_row
from twofold.model.signature import Field, Signature

FIELDS = (
    Field(name="b", type="bool"),
    Field(name="i", type="int64"),
    Field(name="f", type="float32"),
    Field(name="d", type="float64"),
    Field(name="s", type="string", categories=("No", "Yes")),
    Field(name="open", type="string", categories=("No",), unknown_categories="allow"),
    Field(name="t", type="timestamp"),
    Field(name="z", type="timestamp", zoned=True),
    Field(name="v", type="tensor", length=2),
)
BY_TYPE = {
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats() | st.sampled_from([1e300, 3.5e38, 2.0**53, 2.0**54, -0.0, 1e-45]),
    pa.string(): st.sampled_from(["No", "Yes", "no", "", "7", "2026-01-31", "2026-01-31T00Z"])
    | st.text(max_size=5),
    pa.timestamp("us"): st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    pa.timestamp("us", "UTC"): st.datetimes(
        datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)
    ),
    pa.list_(pa.float64()): st.lists(st.floats() | st.none(), max_size=3),
    pa.list_(pa.float64(), 2): st.lists(st.floats(), min_size=2, max_size=2),
}


def plain(value: Any) -> Any:
    """A value with its bits, so that NaN, -0.0 and 0.0 can be told apart."""
    if isinstance(value, float):
        return np.float64(value).tobytes()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
@given(data=st.data())
def test_a_value_is_admitted_or_refused_alike_in_a_column_and_in_a_row(
    field: Field, nullable: bool, data: st.DataObject
) -> None:
    field = Field(
        **{name: getattr(field, name) for name in field.__struct_fields__} | {"nullable": nullable}
    )
    signature = Signature(fields=(field,))
    kind = data.draw(st.sampled_from(list(BY_TYPE)))
    values = data.draw(st.lists(BY_TYPE[kind] | st.none(), min_size=1, max_size=8))
    column = pa.array(values, kind, from_pandas=False)
    checked = check_columns(signature, pa.RecordBatch.from_arrays([column], names=[field.name]))

    check = RowCheck(signature)
    admitted: list[Any] = []
    reasons: dict[int, str] = {}
    for index, value in enumerate(column.to_pylist()):
        try:
            admitted.append(check({field.name: value})[0])
        except InvalidInput as error:
            reasons[index] = str(error).removeprefix(f"row.{field.name}: ")

    assert {problem.row: problem.reason for problem in checked.problems} == reasons
    again = columns_of(signature, [[value] for value in admitted])
    assert again.schema == checked.columns.schema
    canonical = checked.columns.column(0).to_pylist()
    assert plain(canonical) == plain(again.column(0).to_pylist())


FIRST_S, LAST_S = -62_135_596_800, 253_402_300_799
UNITS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def at_both_speeds(field: Field, column: pa.Array, value: Any) -> Any:
    """The canonical value, or the words of the refusal; the same for a column and for a row."""
    signature = Signature(fields=(field,))
    checked = check_columns(signature, pa.RecordBatch.from_arrays([column], names=[field.name]))
    try:
        found = RowCheck(signature)({field.name: value})[0]
    except InvalidInput as error:
        words = str(error).removeprefix(f"row.{field.name}: ")
        assert [problem.reason for problem in checked.problems] == [words]
        return words
    assert checked.problems == []
    [micros] = checked.columns.column(0).cast(pa.int64()).to_pylist()
    assert micros == found
    checked.columns.to_pylist()  # whatever is admitted can be given to a Python model
    return found


@pytest.mark.parametrize("unit", UNITS_PER_S)
@given(data=st.data())
def test_a_time_of_any_unit_is_admitted_alike_however_far_it_is(
    unit: Any, data: st.DataObject
) -> None:
    per_s = UNITS_PER_S[unit]
    near = [FIRST_S * per_s, FIRST_S * per_s - 1, (LAST_S + 1) * per_s, (LAST_S + 1) * per_s - 1]
    # The smallest of all is NumPy's NaT, and beside it NumPy wraps when it rounds.
    largest = 2**63 - 1_000
    edges = [0, -1, largest, -largest, *(count for count in near if abs(count) <= largest)]
    count = data.draw(st.sampled_from(edges) | st.integers(-largest, largest))
    field = Field(name="t", type="timestamp")
    found = at_both_speeds(field, pa.array([count], pa.timestamp(unit)), np.datetime64(count, unit))
    if FIRST_S * per_s <= count < (LAST_S + 1) * per_s:
        assert found == count * 10**6 // per_s
    else:
        assert "within the years 1 to 9999, got one" in found


@given(
    days=st.sampled_from([-719_163, -719_162, 2_932_896, 2_932_897])
    | st.integers(-(2**31), 2**31 - 1)
)
def test_a_date_is_admitted_alike_however_far_it_is(days: int) -> None:
    field = Field(name="t", type="timestamp")
    found = at_both_speeds(field, pa.array([days], pa.date32()), np.datetime64(days, "D"))
    milliseconds = pa.array([days * 86_400_000], pa.date64())
    assert found == at_both_speeds(field, milliseconds, np.datetime64(days, "D"))
    if -719_162 <= days <= 2_932_896:
        assert found == days * 86_400 * 10**6
    else:
        assert "within the years 1 to 9999, got one" in found


OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ENDS = st.datetimes(datetime(1, 1, 1), datetime(1, 1, 2)) | st.datetimes(
    datetime(9999, 12, 31), datetime(9999, 12, 31, 23, 59, 59, 999_999)
)


@given(local=ENDS | st.datetimes(), offset=OFFSETS)
def test_a_zoned_time_is_admitted_alike_as_text_and_as_a_timestamp(
    local: datetime, offset: timezone
) -> None:
    value = local.replace(tzinfo=offset)
    field = Field(name="z", type="timestamp", zoned=True)
    text = value.isoformat()
    from_text = at_both_speeds(field, pa.array([text]), text)
    micros = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    found = at_both_speeds(field, pa.array([micros], pa.timestamp("us", "Asia/Tokyo")), value)
    if FIRST_S * 10**6 <= micros < (LAST_S + 1) * 10**6:
        assert found == from_text == micros
    else:
        assert "within the years 1 to 9999 of UTC, got one" in found
        assert from_text == re.sub("got one [a-z]+ them", f"got string {text!r}", found)


def test_a_number_under_a_null_is_no_time() -> None:
    column = arrow.from_numbers(
        np.array([2**63 - 1, 0]), np.array([True, False]), pa.timestamp("s")
    )
    signature = Signature(fields=(Field(name="t", type="timestamp", nullable=True),))
    checked = check_columns(signature, pa.RecordBatch.from_arrays([column], names=["t"]))
    assert checked.problems == []
    assert checked.columns.column(0).to_pylist() == [None, datetime(1970, 1, 1)]


def test_integers_are_admitted_where_floats_are_declared() -> None:
    signature = Signature(fields=(Field(name="x", type="float64"),))
    assert check_row(signature, {"x": 3}) == [3.0]


def test_missing_values_of_pandas_are_nulls() -> None:
    signature = Signature(fields=(Field(name="x", type="float64", nullable=True),))
    batch = pa.RecordBatch.from_pydict({"x": [1.0, math.nan]})
    assert check_columns(signature, batch).columns.column(0).to_pylist() == [1.0, None]
    assert check_row(signature, {"x": math.nan}) == [None]


def test_a_list_is_a_row_in_the_order_of_the_signature() -> None:
    signature = Signature(fields=(Field(name="x", type="int64"), Field(name="s", type="string")))
    assert check_row(signature, [1, "a"]) == [1, "a"]


TEXT = Signature(
    fields=(
        Field(name="i", type="int64", nullable=True),
        Field(name="d", type="float64", nullable=True),
        Field(name="b", type="bool", nullable=True),
    )
)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("7", "i", 7),
        (" 7 ", "i", 7),
        ("+7", "i", 7),
        ("7.0", "i", 7),
        ("1e3", "i", 1000),
        ("-.5", "d", -0.5),
        ("nan", "d", None),
        ("True", "b", True),
        ("false", "b", False),
    ],
)
def test_text_of_a_csv_is_parsed_into_the_declared_type(text: str, field: str, value: Any) -> None:
    row = {name: [None] for name in TEXT.names} | {field: [text]}
    batch = pa.RecordBatch.from_pydict({k: pa.array(v, pa.string()) for k, v in row.items()})
    checked = check_columns(TEXT, batch, from_text=True)
    assert checked.problems == []
    assert checked.columns.column(field).to_pylist() == [value]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("abc", "i"),
        ("0x1F", "i"),
        ("0x1F", "d"),
        ("7.5", "i"),
        ("", "i"),
        ("inf", "d"),
        ("1,5", "d"),
        ("1e", "d"),
        ("1", "b"),
    ],
)
def test_text_that_is_no_such_value_is_a_problem_that_shows_it(text: str, field: str) -> None:
    row = {name: [None] for name in TEXT.names} | {field: [text]}
    batch = pa.RecordBatch.from_pydict({k: pa.array(v, pa.string()) for k, v in row.items()})
    checked = check_columns(TEXT, batch, from_text=True)
    assert [problem.field for problem in checked.problems] == [field]
    assert repr(text) in checked.problems[0].reason


def test_every_field_type_has_a_canonical_column_that_survives_a_round_trip() -> None:
    row = [True, 1, 0.5, 2.5, "Yes", "any", 0, 0, [1.0, 2.0]]
    columns = columns_of(Signature(fields=FIELDS), [row])
    assert [column.type for column in columns.columns] == [arrow_type(field) for field in FIELDS]
    assert check_columns(Signature(fields=FIELDS), columns).columns.equals(columns)
