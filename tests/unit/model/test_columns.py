"""Many rows: which are set aside and why, and the canonical columns of the others."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model import arrow
from twofold.model.columns import (
    Problem,
    arrow_schema,
    arrow_type,
    check_columns,
    check_names,
    columns_of,
)
from twofold.model.rows import check_row
from twofold.model.signature import Field, Signature

DOCS = Path(__file__).parents[3] / "docs" / "signature.md"
CONTRACTS = ("Month-to-month", "One year", "Two year")
INT = Field(name="x", type="int64")
FLOAT = Field(name="x", type="float64")
FLOAT32 = Field(name="x", type="float32")
BOOL = Field(name="x", type="bool")
TEXT = Field(name="x", type="string")
PLAN = Field(name="x", type="string", categories=("a", "b"))
LOCAL = Field(name="x", type="timestamp")
ZONED = Field(name="x", type="timestamp", zoned=True)
PAIR = Field(name="x", type="tensor", length=2)
AGE_AND_PLAN = Signature(
    fields=(Field(name="age", type="int64"), Field(name="plan", type="string")), ignored=("id",)
)
SEND = "Send a known value, or pack the model with --unknown-categories allow."


def nullable(field: Field) -> Field:
    return msgspec.structs.replace(field, nullable=True)


def check(
    field: Field, column: pa.Array, *, from_text: bool = False
) -> tuple[list[Any], list[str]]:
    """The canonical values of one column, and the reasons of its other rows."""
    batch = pa.RecordBatch.from_arrays([column], names=[field.name])
    checked = check_columns(Signature(fields=(field,)), batch, from_text=from_text)
    checked.columns.validate(full=True)
    assert checked.columns.schema == arrow_schema(Signature(fields=(field,)))
    coded = check_columns(Signature(fields=(field,)), batch, from_text=from_text, coded=True)
    coded.columns.validate(full=True)
    assert coded.problems == checked.problems
    assert arrow.decoded(coded.columns.column(0)).equals(checked.columns.column(0))
    return checked.columns.column(0).to_pylist(), [found.reason for found in checked.problems]


def coded(signature: Signature, column: pa.Array) -> pa.Array:
    """A text column that may come out coded."""
    batch = pa.RecordBatch.from_arrays([column], names=list(signature.names))
    checked = check_columns(signature, batch, coded=True)
    assert checked.problems == []
    return checked.columns.column(0)


def test_text_that_came_coded_or_is_looked_up_stays_coded() -> None:
    plan = Field(name="plan", type="string", categories=("a", "b"), nullable=True)
    free = Field(name="note", type="string", nullable=True)
    labels = pa.array(["a", "b", None, "a"], pa.dictionary(pa.int8(), pa.large_string()))
    for field, column in ((plan, labels), (plan, labels.dictionary_decode()), (free, labels)):
        found = coded(Signature(fields=(field,)), column)
        assert found.type == arrow.CODED
        assert found.to_pylist() == ["a", "b", None, "a"]
    found = coded(Signature(fields=(free,)), labels.dictionary_decode())
    assert found.type == pa.string()


# The table of docs/signature.md, row by row.


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        # A whole number where float32 or float64 is declared.
        (FLOAT, pa.array([2**53]), 2.0**53),
        (FLOAT, pa.array([-(2**53)]), -(2.0**53)),
        (FLOAT, pa.array([7], pa.uint8()), 7.0),
        (FLOAT, pa.array([2**53], pa.uint64()), 2.0**53),
        (FLOAT32, pa.array([3], pa.int16()), 3.0),
        (FLOAT32, pa.array([16_777_217]), 16_777_216.0),
        # A float without fraction where int64 is declared.
        (INT, pa.array([3.0]), 3),
        (INT, pa.array([-3.0], pa.float32()), -3),
        (INT, pa.array([2.0**53]), 2**53),
        (INT, pa.array([Decimal("3.00")]), 3),
        # A float64 where float32 is declared.
        (FLOAT32, pa.array([0.1]), float(np.float32(0.1))),
        (FLOAT32, pa.array([3.4028235e38]), float(np.finfo(np.float32).max)),
        # Null and NaN, the same thing.
        (nullable(INT), pa.array([None], pa.int32()), None),
        (nullable(INT), pa.array([math.nan]), None),
        (nullable(FLOAT), pa.array([math.nan]), None),
        (nullable(FLOAT32), pa.array([math.nan], pa.float32()), None),
        (nullable(BOOL), pa.array([math.nan]), None),
        (nullable(TEXT), pa.array([math.nan]), None),
        (nullable(PLAN), pa.array([None], pa.string()), None),
        (nullable(LOCAL), pa.array([None], pa.null()), None),
        (nullable(PAIR), pa.array([None], pa.list_(pa.float64())), None),
        # A string that the sample did not show, where that is allowed; any string.
        (
            Field(name="x", type="string", categories=("a",), unknown_categories="allow"),
            pa.array(["z"]),
            "z",
        ),
        (TEXT, pa.array(["any"]), "any"),
        (PLAN, pa.array(["b"]).dictionary_encode(), "b"),
    ],
)
def test_what_the_table_admits_is_admitted_at_both_speeds(
    field: Field, column: pa.Array, value: Any
) -> None:
    found, reasons = check(field, column)
    assert reasons == []
    assert found == [value]
    assert type(found[0]) is type(value)
    assert check_row(Signature(fields=(field,)), {"x": column[0].as_py()}) == [value]


@pytest.mark.parametrize(
    ("field", "column", "reason"),
    [
        # A whole number beyond 2^53 where a float is declared.
        (
            FLOAT,
            pa.array([2**53 + 1]),
            (
                "expected float64 that holds the value exactly, got integer 9007199254740993. "
                "Send an integer within 2^53, or a number with a decimal point."
            ),
        ),
        (
            FLOAT32,
            pa.array([2**64 - 1], pa.uint64()),
            (
                "expected float32 that holds the value exactly, got integer 18446744073709551615. "
                "Send an integer within 2^53, or a number with a decimal point."
            ),
        ),
        # A float with a fraction, or too large, where int64 is declared.
        (INT, pa.array([3.5]), "expected int64, got number 3.5. Send a whole number."),
        (
            INT,
            pa.array([2.0**53 + 2]),
            "expected int64, got number 9007199254740994.0. Send a whole number.",
        ),
        (
            INT,
            pa.array([2**63], pa.uint64()),
            "expected an int64 (64 bits), got integer 9223372036854775808. Send a smaller number.",
        ),
        # A number beyond the range of float32.
        (
            FLOAT32,
            pa.array([1e39]),
            (
                "expected a number within the range of float32, got number 1e+39. "
                "Send a smaller number."
            ),
        ),
        # `true` or `false` where a number is declared, and the other way round.
        (INT, pa.array([True]), "expected int64, got boolean true. Send a whole number."),
        (FLOAT, pa.array([False]), "expected float64, got boolean false. Send a number."),
        (BOOL, pa.array([1]), "expected bool, got integer 1. Send true or false."),
        (BOOL, pa.array([0.0]), "expected bool, got number 0.0. Send true or false."),
        # A numeric string where a number is declared.
        (INT, pa.array(["12"]), "expected int64, got string '12'. Send a whole number."),
        (FLOAT, pa.array(["12"]), "expected float64, got string '12'. Send a number."),
        # Null and NaN, where the field is not nullable.
        (
            FLOAT,
            pa.array([math.nan]),
            "expected float64, got NaN. Send a value, or pack the model with --nullable x.",
        ),
        (
            INT,
            pa.array([None], pa.null()),
            "expected int64, got null. Send a value, or pack the model with --nullable x.",
        ),
        (
            PAIR,
            pa.array([None], pa.list_(pa.float64(), 2)),
            (
                "expected a list of 2 numbers, got null. "
                "Send a value, or pack the model with --nullable x."
            ),
        ),
        # Infinity.
        (
            FLOAT,
            pa.array([math.inf]),
            "expected a finite float64, got Infinity. Send a finite number.",
        ),
        (
            FLOAT32,
            pa.array([-math.inf], pa.float32()),
            "expected a finite float32, got -Infinity. Send a finite number.",
        ),
        (INT, pa.array([math.inf]), "expected int64, got Infinity. Send a whole number."),
        # A string that the sample did not show.
        (PLAN, pa.array(["z"]), f"expected one of 'a', 'b', got 'z'. {SEND}"),
        (PLAN, pa.array([""]), f"expected one of 'a', 'b', got ''. {SEND}"),
        # A number where a string is declared.
        (TEXT, pa.array([12]), "expected string, got integer 12. Send text."),
        (PLAN, pa.array([1.5]), "expected string, got number 1.5. Send text."),
        # A timestamp with zone where none is declared, and the other way round.
        (
            LOCAL,
            pa.array([datetime(2026, 1, 31, tzinfo=UTC)]),
            (
                "expected an ISO 8601 timestamp without time zone, got one with a time zone. "
                "Leave it out."
            ),
        ),
        (
            ZONED,
            pa.array([datetime(2026, 1, 31)]),
            (
                "expected an ISO 8601 timestamp with time zone, got one without time zone. "
                "Send the offset, as in 2026-01-31T12:00:00Z."
            ),
        ),
        (
            ZONED,
            pa.array([date(2026, 1, 31)]),
            (
                "expected an ISO 8601 timestamp with time zone, got one without time zone. "
                "Send the offset, as in 2026-01-31T12:00:00Z."
            ),
        ),
        # A time that is in no year of UTC.
        (
            ZONED,
            pa.array(["0001-01-01T00:00:00+14:00"]),
            (
                "expected an ISO 8601 timestamp with time zone, within the years 1 to 9999 of UTC, "
                "got string '0001-01-01T00:00:00+14:00'. Send a time within these years."
            ),
        ),
        # A list of another length than a tensor's.
        (
            PAIR,
            pa.array([[1.0, 2.0, 3.0]]),
            "expected a list of 2 numbers, got a list of 3. Send exactly 2 numbers.",
        ),
        (
            PAIR,
            pa.array([[1.0]], pa.list_(pa.float64(), 1)),
            "expected a list of 2 numbers, got a list of 1. Send exactly 2 numbers.",
        ),
    ],
)
def test_what_the_table_refuses_is_refused_at_both_speeds_in_the_same_words(
    field: Field, column: pa.Array, reason: str
) -> None:
    assert check(field, column) == ([], [reason])
    with pytest.raises(InvalidInput) as caught:
        check_row(Signature(fields=(field,)), {"x": column[0].as_py()})
    assert str(caught.value) == f"row.x: {reason}"
    assert caught.value.field == "x"


def test_the_message_that_the_docs_show_is_the_message() -> None:
    signature = Signature(fields=(Field(name="contract", type="string", categories=CONTRACTS),))
    batch = pa.RecordBatch.from_pydict({"contract": ["One year"] * 3 + ["Weekly"]})
    (found,) = check_columns(signature, batch).problems
    message = f"rows[{found.row}].{found.field}: {found.reason}"
    assert message in DOCS.read_text(encoding="utf-8").splitlines()
    with pytest.raises(InvalidInput) as caught:
        check_row(signature, ["Weekly"], where="rows[3]")
    assert str(caught.value) == message


# The names of a table.


@pytest.mark.parametrize(
    "names", [["age", "plan"], ["plan", "age"], ["id", "age", "plan"], ["plan", "age", "key"]]
)
def test_columns_may_come_in_any_order_and_beside_known_others(names: list[str]) -> None:
    check_names(AGE_AND_PLAN, names, where="data", besides={"key"})
    batch = pa.RecordBatch.from_pydict(
        {name: ["5"] for name in names if name != "age"} | {"age": [5]}
    )
    assert check_columns(AGE_AND_PLAN, batch).columns.to_pydict() == {"age": [5], "plan": ["5"]}


@pytest.mark.parametrize(
    ("names", "field", "words"),
    [
        (["plan"], "age", "data.age: expected a column, got only plan. Add column age."),
        (["age", "id"], "plan", "data.plan: expected a column, got only age, id. Add column plan."),
        (["Age", "plan"], "age", "data.age: expected a column, got only Age, plan."),
        (
            ["age", "plan", "age"],
            "age",
            "data.age: expected one column, got several. Rename the others.",
        ),
        (
            ["age", "city", "plan"],
            "city",
            (
                "data.city: expected only the model's fields (age, plan), got a field it does not "
                "have. Remove it, or pack the model with --extra-fields ignore."
            ),
        ),
        (["city", "age"], "plan", "data.plan: expected a column, got only city, age."),
    ],
)
def test_a_table_of_other_columns_is_refused(names: list[str], field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_names(AGE_AND_PLAN, names, where="data")
    assert str(caught.value).startswith(words)
    assert caught.value.field == field


def test_of_a_wide_table_only_some_columns_are_shown() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_names(AGE_AND_PLAN, [f"c{number}" for number in range(1000)], where="in.parquet")
    assert str(caught.value).startswith("in.parquet.age: expected a column, got only c0, c1, ")
    assert str(caught.value).endswith(", c19. Add column age.")


def test_other_columns_are_no_matter_where_they_are_ignored_even_doubled() -> None:
    lenient = Signature(fields=AGE_AND_PLAN.fields, extra_fields="ignore")
    check_names(lenient, ["city", "age", "city", "plan"], where="data")
    with pytest.raises(InvalidInput, match=r"^data\.plan: expected one column, got several\."):
        check_names(lenient, ["plan", "age", "plan"], where="data")


# Which rows are set aside.


def test_a_row_is_set_aside_once_for_its_first_field_and_its_neighbours_stay() -> None:
    batch = pa.RecordBatch.from_pydict(
        {"plan": ["a", None, None, "d", "e"], "age": [1.0, 2.0, 2.5, math.nan, 5.0]}
    )
    checked = check_columns(AGE_AND_PLAN, batch)
    assert checked.columns.to_pydict() == {"age": [1, 5], "plan": ["a", "e"]}
    assert checked.valid is not None
    assert checked.valid.tolist() == [True, False, False, False, True]
    null = "Send a value, or pack the model with --nullable"
    assert checked.problems == [
        Problem(1, "plan", "string", "null", f"{null} plan."),
        Problem(2, "age", "int64", "number 2.5", "Send a whole number."),
        Problem(3, "age", "int64", "NaN", f"{null} age."),
    ]


def test_where_no_row_is_set_aside_there_is_no_mask() -> None:
    checked = check_columns(
        AGE_AND_PLAN, pa.RecordBatch.from_pydict({"age": [1, 2], "plan": ["a", "b"]})
    )
    assert (checked.valid, checked.problems, checked.columns.num_rows) == (None, [], 2)


def test_where_all_rows_are_set_aside_the_columns_are_empty_and_typed() -> None:
    checked = check_columns(
        AGE_AND_PLAN, pa.RecordBatch.from_pydict({"age": ["x", "y"], "plan": [1, 2]})
    )
    assert checked.columns.num_rows == 0
    assert checked.columns.schema == arrow_schema(AGE_AND_PLAN)
    assert [(found.row, found.field) for found in checked.problems] == [(0, "age"), (1, "age")]


@pytest.mark.parametrize("field", [INT, FLOAT, FLOAT32, BOOL, TEXT, PLAN, LOCAL, ZONED, PAIR])
@pytest.mark.parametrize(
    "kind",
    [
        pa.null(),
        pa.int64(),
        pa.uint8(),
        pa.float64(),
        pa.float16(),
        pa.bool_(),
        pa.string(),
        pa.large_string(),
        pa.decimal128(9, 2),
        pa.timestamp("ns", "UTC"),
        pa.date32(),
        pa.list_(pa.float64(), 2),
        pa.list_(pa.float32()),
        pa.dictionary(pa.int8(), pa.string()),
    ],
    ids=str,
)
def test_no_rows_of_any_type_are_no_problem(field: Field, kind: pa.DataType) -> None:
    for column in (pa.array([], kind), pa.nulls(3, kind)[3:]):
        assert check(field, column) == ([], [])
        assert check(field, column, from_text=True) == ([], [])


@given(
    field=st.sampled_from([INT, FLOAT, BOOL, PLAN, LOCAL, PAIR]),
    from_text=st.booleans(),
    data=st.data(),
)
def test_a_slice_is_checked_like_the_rows_it_shows(
    field: Field, from_text: bool, data: st.DataObject
) -> None:
    kinds: list[tuple[pa.DataType, list[Any]]] = [
        (pa.int32(), [1, None]),
        (pa.float64(), [1.0, 1.5, math.nan, math.inf, None]),
        (pa.bool_(), [True, False, None]),
        (pa.string(), ["a", "z", "7", "true", "2026-01-31", None]),
        (pa.dictionary(pa.int8(), pa.string()), ["a", "z", "7", None]),
        (pa.dictionary(pa.int64(), pa.large_string()), ["a", "z", "7", None]),
        (pa.dictionary(pa.uint16(), pa.int64()), [1, 7, None]),
        (pa.timestamp("ns"), [1001, -1, None]),
        (pa.list_(pa.float64()), [[1.0, 2.0], [1.0], [], None]),
        (pa.list_(pa.float64(), 2), [[1.0, 2.0], [math.nan, 1.0], None]),
    ]
    kind, values = data.draw(st.sampled_from(kinds))
    whole = data.draw(st.lists(st.sampled_from(values), max_size=20))
    start = data.draw(st.integers(0, len(whole)))
    part = whole[start : start + 10]
    sliced = pa.array(whole, kind, from_pandas=False).slice(start, 10)
    alone = pa.array(part, kind, from_pandas=False)
    assert check(field, sliced, from_text=from_text) == check(field, alone, from_text=from_text)


@pytest.mark.parametrize(
    ("field", "kind", "values"),
    [
        (FLOAT, pa.float64(), np.array([math.inf, 1.0])),
        (FLOAT, pa.float64(), np.array([math.nan, 1.0])),
        (FLOAT, pa.float32(), np.array([math.inf, 1.0], np.float32)),
        (FLOAT, pa.int64(), np.array([2**63 - 1, 1])),
        (FLOAT32, pa.float64(), np.array([1e300, 1.0])),
        (FLOAT32, pa.uint64(), np.array([2**64 - 1, 1], np.uint64)),
        (INT, pa.uint64(), np.array([2**64 - 1, 1], np.uint64)),
        (INT, pa.float64(), np.array([0.5, 1.0])),
        (INT, pa.float32(), np.array([math.nan, 1.0], np.float32)),
    ],
)
def test_what_stands_in_memory_under_a_null_is_no_value(
    field: Field, kind: pa.DataType, values: Any
) -> None:
    memory = [pa.py_buffer(bytes([0b10])), pa.py_buffer(values)]
    column = pa.Array.from_buffers(kind, 2, memory)
    assert check(nullable(field), column) == ([None, 1], [])


def test_a_string_under_a_null_is_no_unknown_category() -> None:
    whole = pa.array(["z", "a"])
    column = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(bytes([0b10])), *whole.buffers()[1:]]
    )
    assert check(nullable(PLAN), column) == ([None, "a"], [])


# What else fits a field.


@pytest.mark.parametrize(
    ("field", "column", "expected"),
    [
        (INT, pa.array([-(2**63), 2**63 - 1]), [-(2**63), 2**63 - 1]),
        (INT, pa.array([2**63 - 1], pa.uint64()), [2**63 - 1]),
        (INT, pa.array([-128], pa.int8()), [-128]),
        (INT, pa.array([3, 3]).dictionary_encode(), [3, 3]),
        (INT, pa.array(np.array([2.0], np.float16)), [2]),
        (FLOAT, pa.array(np.array([0.5], np.float16)), [0.5]),
        (FLOAT, pa.array([0.1], pa.float32()), [float(np.float32(0.1))]),
        (FLOAT, pa.array([Decimal("0.5"), Decimal(-3)]), [0.5, -3.0]),
        (BOOL, pa.array([True, False]), [True, False]),
        (TEXT, pa.array(["é", ""], pa.large_string()), ["é", ""]),
        (
            TEXT,
            pa.array(["é", "a longer text than 12 bytes"], pa.string_view()),
            ["é", "a longer text than 12 bytes"],
        ),
        (PLAN, pa.array(["b", "a"], pa.large_string()), ["b", "a"]),
        (LOCAL, pa.array([date(2026, 1, 31)], pa.date32()), [datetime(2026, 1, 31)]),
        (LOCAL, pa.array([date(2026, 1, 31)], pa.date64()), [datetime(2026, 1, 31)]),
        (LOCAL, pa.array([1], pa.timestamp("s")), [datetime(1970, 1, 1, 0, 0, 1)]),
        (LOCAL, pa.array([1], pa.timestamp("ms")), [datetime(1970, 1, 1, 0, 0, 0, 1000)]),
        (LOCAL, pa.array([1999], pa.timestamp("ns")), [datetime(1970, 1, 1, 0, 0, 0, 1)]),
        (LOCAL, pa.array([-1], pa.timestamp("ns")), [datetime(1969, 12, 31, 23, 59, 59, 999999)]),
        (LOCAL, pa.array(["2026-01-31T00:00:00"]), [datetime(2026, 1, 31)]),
        (LOCAL, pa.array(["2026-01-31"], pa.large_string()), [datetime(2026, 1, 31)]),
        (ZONED, pa.array(["2026-01-31T01:00+01:00"]), [datetime(2026, 1, 31, tzinfo=UTC)]),
        (
            ZONED,
            pa.array([-1], pa.timestamp("ns", "Asia/Kolkata")),
            [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)],
        ),
        (PAIR, pa.array([[1, 2]]), [[1.0, 2.0]]),
        (PAIR, pa.array([[1, 2]], pa.large_list(pa.int8())), [[1.0, 2.0]]),
        (PAIR, pa.array([[0.5, 2]], pa.list_(pa.float32(), 2)), [[0.5, 2.0]]),
        (
            PAIR,
            pa.array([[0.5, 2]], pa.list_(pa.field("element", pa.float64(), nullable=False), 2)),
            [[0.5, 2.0]],
        ),
    ],
)
def test_a_near_type_becomes_the_canonical_one(
    field: Field, column: pa.Array, expected: list[Any]
) -> None:
    assert check(field, column) == (expected, [])


def test_a_columns_own_tensor_type_is_unwrapped() -> None:
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert check(PAIR, tensors[1:]) == ([[3.0, 4.0]], [])


def test_every_float_of_half_precision_is_judged_by_its_value() -> None:
    column = pa.array(np.array([1.5, math.nan, math.inf, 2.0], np.float16))
    found, reasons = check(nullable(INT), column)
    assert found == [None, 2]
    assert reasons == [
        "expected int64, got number 1.5. Send a whole number.",
        "expected int64, got Infinity. Send a whole number.",
    ]


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 2), pa.list_(pa.float64())], ids=str)
def test_one_bad_tensor_does_not_touch_its_neighbours(kind: pa.DataType) -> None:
    column = pa.array([[1, 2], [math.inf, 1], None, [math.nan, 1], [None, 1], [3, 4]], kind)
    found, reasons = check(nullable(PAIR), column)
    assert found == [[1.0, 2.0], None, [3.0, 4.0]]
    assert [reason.partition(", got ")[2] for reason in reasons] == [
        "Infinity. Send a finite number.",
        "one with NaN. Send finite numbers.",
        "null. Send a number.",
    ]


@pytest.mark.parametrize("number", [math.inf, math.nan, None])
def test_a_lone_bad_number_of_a_tensor_is_found(number: float | None) -> None:
    column = pa.array([[1, 2], [1, number]], pa.list_(pa.float64(), 2))
    found, reasons = check(PAIR, column)
    assert found == [[1.0, 2.0]]
    assert len(reasons) == 1


@pytest.mark.parametrize("field", [FLOAT, FLOAT32])
def test_whole_numbers_fit_a_float_up_to_a_limit_on_either_side(field: Field) -> None:
    limit = 2**53
    for inside, outside in ((limit, limit + 1), (-limit, -limit - 1)):
        found, reasons = check(field, pa.array([inside, outside]))
        assert found == [inside]
        assert f"that holds the value exactly, got integer {outside}." in reasons[0]


def test_nulls_among_the_values_of_a_dictionary_are_nulls() -> None:
    codes, values = pa.array([0, 1, None], pa.int8()), pa.array(["a", None])
    column = pa.DictionaryArray.from_arrays(codes, values)
    assert check(nullable(PLAN), column) == (["a", None, None], [])
    assert check(PLAN, column)[0] == ["a"]


def test_categories_may_be_none_at_all() -> None:
    nothing = Field(name="x", type="string", categories=(), nullable=True)
    found, reasons = check(nothing, pa.array([None, "a"]))
    assert found == [None]
    assert len(reasons) == 1


# Text as the source of all values (CSV).


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (FLOAT32, "0.1", float(np.float32(0.1))),
        (FLOAT, "1.", 1.0),
        (FLOAT, "+1e3", 1000.0),
        (FLOAT, " -0 ", -0.0),
        (FLOAT, "\t7", 7.0),
        (INT, "007", 7),
        (INT, "-12", -12),
        (INT, "+12", 12),
        (INT, "+1.5e1", 15),
        (INT, "9223372036854775807", 2**63 - 1),
        (BOOL, " TRUE ", True),
        (BOOL, "faLse", False),
        (TEXT, " 12 ", " 12 "),
        (PLAN, "a", "a"),
        (LOCAL, "2026-01-31", datetime(2026, 1, 31)),
    ],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_text_is_read_as_its_field_declares(
    field: Field, text: str, value: Any, kind: pa.DataType
) -> None:
    for column in (pa.array([text], kind), pa.array([text], kind).dictionary_encode()):
        found, reasons = check(field, column, from_text=True)
        assert (repr(found), reasons) == (repr([value]), [])


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (FLOAT32, "1e39"),
        (FLOAT, "1e400"),
        (FLOAT, "-inf"),
        (FLOAT, "1 000"),
        (FLOAT, "1_000"),
        (FLOAT, "--1"),
        (FLOAT, "."),
        (FLOAT, "\u0661"),
        (FLOAT, "0X1F"),
        (INT, "9007199254740994.0"),
        (INT, "9223372036854775808"),
        (INT, "1e400"),
        (INT, "true"),
        (INT, "0x1f"),
        (INT, "0X1F"),
        (BOOL, "yes"),
        (BOOL, "0"),
        (BOOL, ""),
    ],
)
def test_text_that_does_not_read_as_its_field_is_set_aside_alone(field: Field, text: str) -> None:
    good = "true" if field is BOOL else "1"
    found, reasons = check(field, pa.array([good, text, good]), from_text=True)
    assert found == [1, 1]
    assert reasons == [reasons[0]]
    assert reasons[0].startswith(f"expected {field.type}, got string {text!r}. Send ")


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=5))
def test_a_bad_cell_does_not_change_how_its_neighbours_are_read(
    values: list[float | None],
) -> None:
    texts = [None if value is None else repr(value) for value in values]
    field = nullable(FLOAT)
    alone = check(field, pa.array(texts, pa.string()), from_text=True)
    beside = check(field, pa.array([*texts, "broken"], pa.string()), from_text=True)
    assert repr(alone) == repr((values, []))
    assert repr(beside[0]) == repr(values)
    assert beside[1] == ["expected float64, got string 'broken'. Send a number."]


@given(values=st.lists(st.integers(-(10**18) + 1, 10**18 - 1) | st.none(), max_size=5))
def test_a_bad_cell_does_not_change_how_whole_numbers_beside_it_are_read(
    values: list[int | None],
) -> None:
    texts = [None if value is None else str(value) for value in values]
    column = pa.array([*texts, "0.5"], pa.string())
    assert check(nullable(INT), column, from_text=True) == (
        values,
        ["expected int64, got string '0.5'. Send a whole number."],
    )


@pytest.mark.parametrize("field", [FLOAT, FLOAT32, INT])
@pytest.mark.parametrize("others", [[], ["broken"]])
def test_nan_and_no_text_at_all_are_nulls_also_beside_a_bad_cell(
    field: Field, others: list[str]
) -> None:
    column = pa.array(["NaN", None, "nan", " nan ", "1", *others])
    found, reasons = check(nullable(field), column, from_text=True)
    assert found == [None, None, None, None, 1]
    assert len(reasons) == len(others)
    assert check(field, column, from_text=True)[0] == [1]


def test_no_text_is_neither_true_nor_false() -> None:
    column = pa.array([None, "true", None, "false"])
    assert check(nullable(BOOL), column, from_text=True) == ([None, True, None, False], [])
    assert check(BOOL, column, from_text=True)[0] == [True, False]


@given(texts=st.lists(st.text("0123456789+-.eE xnaNif", max_size=6), min_size=1, max_size=4))
def test_any_text_is_read_or_set_aside(texts: list[str]) -> None:
    for field in (INT, FLOAT, FLOAT32, BOOL, LOCAL):
        found, reasons = check(field, pa.array(texts), from_text=True)
        assert len(found) + len(reasons) == len(texts)
        assert None not in found


def test_numbers_that_come_beside_text_need_no_reading() -> None:
    assert check(FLOAT, pa.array([1, 2]), from_text=True) == ([1.0, 2.0], [])
    assert check(BOOL, pa.array([True]), from_text=True) == ([True], [])


# Canonical columns.


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        (BOOL, pa.bool_()),
        (INT, pa.int64()),
        (FLOAT32, pa.float32()),
        (FLOAT, pa.float64()),
        (PLAN, pa.string()),
        (LOCAL, pa.timestamp("us")),
        (ZONED, pa.timestamp("us", "UTC")),
        (PAIR, pa.list_(pa.float64(), 2)),
    ],
)
def test_every_field_has_one_canonical_type(field: Field, kind: pa.DataType) -> None:
    assert arrow_type(field) == kind
    assert arrow_schema(Signature(fields=(field,))) == pa.schema([("x", kind)])


@pytest.mark.parametrize(
    ("field", "values", "shown"),
    [
        (BOOL, [True, None, False], [True, None, False]),
        (INT, [2**63 - 1, None, -(2**63)], [2**63 - 1, None, -(2**63)]),
        (FLOAT32, [0.5, None], [0.5, None]),
        (FLOAT, [None, 0.1], [None, 0.1]),
        (TEXT, ["", None, "é"], ["", None, "é"]),
        (LOCAL, [None, 1], [None, datetime(1970, 1, 1, 0, 0, 0, 1)]),
        (ZONED, [-1, None], [datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), None]),
        (PAIR, [[1.0, 2.0], None, [3.0, 4.0]], [[1.0, 2.0], None, [3.0, 4.0]]),
        (Field(name="x", type="tensor", length=0), [[], []], [[], []]),
    ],
)
def test_rows_of_canonical_values_make_columns(
    field: Field, values: list[Any], shown: list[Any]
) -> None:
    signature = Signature(fields=(field,))
    columns = columns_of(signature, [[value] for value in values])
    columns.validate(full=True)
    assert columns.schema == arrow_schema(signature)
    assert columns.column(0).to_pylist() == shown
    assert columns.column(0).null_count == values.count(None)


def test_the_sign_of_zero_is_kept() -> None:
    for field in (FLOAT, FLOAT32):
        made = columns_of(Signature(fields=(field,)), [[-0.0]]).column(0)
        for values in (made.to_pylist(), check(field, made)[0], check(field, pa.array([-0.0]))[0]):
            assert str(values) == "[-0.0]"


def test_no_rows_make_empty_columns() -> None:
    fields = (BOOL, INT, FLOAT32, FLOAT, TEXT, LOCAL, ZONED, PAIR)
    signature = Signature(
        fields=tuple(
            Field(name=f"x{index}", type=field.type, zoned=field.zoned, length=field.length)
            for index, field in enumerate(fields)
        )
    )
    columns = columns_of(signature, [])
    columns.validate(full=True)
    assert (columns.num_rows, columns.schema) == (0, arrow_schema(signature))


def test_each_column_takes_its_own_place_of_every_row() -> None:
    columns = columns_of(AGE_AND_PLAN, [[1, "a"], (2, "b")])
    assert columns.to_pydict() == {"age": [1, 2], "plan": ["a", "b"]}
