"""One row: its canonical values, and the words of what is wrong with it."""

from __future__ import annotations

import enum
import math
import re
import struct
from collections import ChainMap, OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import InvalidInput
from twofold.model.rows import (
    FieldProblem,
    RowCheck,
    check_row,
    describe,
    extra_field,
    field_check,
)
from twofold.model.signature import Field, Signature

AGE_AND_PLAN = Signature(
    fields=(
        Field(name="age", type="int64"),
        Field(name="plan", type="string", nullable=True),
    ),
    ignored=("id",),
)
MICROS_OF_2026 = 1_767_225_600_000_000


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


def refusal(row: Any, signature: Signature = AGE_AND_PLAN, **options: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        check_row(signature, row, **options)
    return str(caught.value)


def problem_of(field: Field, value: Any) -> str:
    with pytest.raises(FieldProblem) as caught:
        field_check(field)(value)
    assert refusal([value], Signature(fields=(field,))) == f"row.{field.name}: {caught.value}"
    return str(caught.value)


def canonical_of(field: Field, value: Any) -> Any:
    """The canonical value, which the whole row's way must give alike."""
    (found,) = check_row(Signature(fields=(field,)), {field.name: value})
    alone = field_check(field)(value)
    assert (repr(found), type(found)) == (repr(alone), type(alone))
    return found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "boolean true"),
        (False, "boolean false"),
        (0, "integer 0"),
        (-7, "integer -7"),
        (10**30, f"integer 1{'0' * 30}"),
        (10**30 + 1, "integer beyond 10^30"),
        (-(10**400), "integer beyond 10^30"),
        (1.5, "number 1.5"),
        (-0.0, "number -0.0"),
        (1e300, "number 1e+300"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("", "string ''"),
        ("it's", 'string "it\'s"'),
        ("a\nb", r"string 'a\nb'"),
        ("x" * 60, f"string '{'x' * 60}'"),
        ("x" * 61, f"string '{'x' * 60}...'"),
        ({"a": 1}, "an object"),
        ([], "a list of 0"),
        ((1, 2), "a list of 2"),
        (date(2026, 1, 31), "a date"),
        (Decimal(1), "a Decimal"),
        ({1}, "a set"),
    ],
)
def test_what_came_is_described_in_the_words_of_json(value: Any, words: str) -> None:
    assert describe(value) == words


@pytest.mark.parametrize("type_", ["bool", "int64", "float32", "float64", "string", "timestamp"])
def test_an_integer_too_long_for_python_to_print_is_refused_like_others(type_: Any) -> None:
    words = problem_of(Field(name="x", type=type_), 10**5000)
    assert ", got integer beyond 10^30. " in words


def test_a_problem_of_a_field_has_its_three_parts() -> None:
    with pytest.raises(FieldProblem) as caught:
        field_check(Field(name="x", type="bool"))(1)
    error = caught.value
    assert (error.expected, error.got, error.fix) == ("bool", "integer 1", "Send true or false.")
    assert str(error) == "expected bool, got integer 1. Send true or false."


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (Field(name="x", type="bool"), "true", "bool, got string 'true'. Send true or false."),
        (Field(name="x", type="int64"), "1", "int64, got string '1'. Send a whole number."),
        (Field(name="x", type="int64"), [1], "int64, got a list of 1. Send a whole number."),
        (Field(name="x", type="int64"), 1.5, "int64, got number 1.5. Send a whole number."),
        (Field(name="x", type="float32"), {}, "float32, got an object. Send a number."),
        (Field(name="x", type="float64"), "1", "float64, got string '1'. Send a number."),
        (Field(name="x", type="string"), 12, "string, got integer 12. Send text."),
        (Field(name="x", type="string"), ["a"], "string, got a list of 1. Send text."),
        (
            Field(name="x", type="timestamp"),
            "yesterday",
            "an ISO 8601 timestamp without time zone, got string 'yesterday'. Send such a text.",
        ),
        (
            Field(name="x", type="timestamp", zoned=True),
            5,
            "an ISO 8601 timestamp with time zone, got integer 5. Send such a text.",
        ),
        (
            Field(name="x", type="tensor", length=2),
            "1,2",
            "a list of 2 numbers, got string '1,2'. Send exactly 2 numbers.",
        ),
        (
            Field(name="x", type="tensor", length=2),
            [1, 2, 3],
            "a list of 2 numbers, got a list of 3. Send exactly 2 numbers.",
        ),
        (
            Field(name="x", type="tensor", length=2),
            [1, "2"],
            "a list of 2 numbers, got string '2'. Send a number.",
        ),
        (
            Field(name="x", type="tensor", length=2),
            [1, None],
            "a list of 2 numbers, got null. Send a number.",
        ),
        (
            Field(name="x", type="tensor", length=2),
            [math.nan, 1],
            "a list of 2 numbers, got one with NaN. Send finite numbers.",
        ),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_to_send(
    field: Field, value: Any, words: str
) -> None:
    assert problem_of(field, value) == f"expected {words}"


@pytest.mark.parametrize(
    ("type_", "value", "words"),
    [
        ("int64", 2**63, "an int64 (64 bits), got integer 9223372036854775808. Send a smaller"),
        ("int64", -(2**63) - 1, "an int64 (64 bits), got integer -9223372036854775809. Send a"),
        ("int64", 10**400, "an int64 (64 bits), got integer beyond 10^30. Send a smaller number."),
        ("int64", 2.0**53 + 2, "int64, got number 9007199254740994.0. Send a whole number."),
        ("int64", math.inf, "int64, got Infinity. Send a whole number."),
        ("float64", 2**53 + 1, "float64 that holds the value exactly, got integer 900719925474099"),
        ("float64", -(2**53) - 1, "float64 that holds the value exactly, got integer -9007199254"),
        ("float64", 10**400, "float64 that holds the value exactly, got integer beyond 10^30. "),
        ("float64", -math.inf, "a finite float64, got -Infinity. Send a finite number."),
        ("float32", math.inf, "a finite float32, got Infinity. Send a finite number."),
        ("float32", 1e39, "a number within the range of float32, got number 1e+39. Send a smaller"),
        ("float32", 2**53 + 1, "float32 that holds the value exactly, got integer 90071992547409"),
    ],
)
def test_a_number_that_its_type_cannot_hold_is_refused(type_: Any, value: Any, words: str) -> None:
    assert problem_of(Field(name="x", type=type_), value).startswith(f"expected {words}")


@pytest.mark.parametrize(
    ("type_", "value", "canonical"),
    [
        ("int64", 2**63 - 1, 2**63 - 1),
        ("int64", -(2**63), -(2**63)),
        ("int64", 3.0, 3),
        ("int64", -0.0, 0),
        ("int64", 2.0**53, 2**53),
        ("int64", Level.HIGH, 3),
        ("int64", np.int8(-3), -3),
        ("int64", np.uint64(7), 7),
        ("int64", np.float32(4), 4),
        ("int64", Decimal("4.0"), 4),
        ("float64", 3, 3.0),
        ("float64", -(2**53), -9007199254740992.0),
        ("float64", Level.HIGH, 3.0),
        ("float64", np.float64(1.5), 1.5),
        ("float64", np.float32(0.1), 0.10000000149011612),
        ("float64", np.int32(2), 2.0),
        ("float64", Decimal("0.1"), 0.1),
        ("float32", 0.1, 0.10000000149011612),
        ("float32", 16_777_217, 16_777_216.0),
        ("float32", 3.4028235e38, 3.4028234663852886e38),
        ("float32", 1e-50, 0.0),
        ("bool", np.bool_(True), True),  # noqa: FBT003 - the value under test
        ("string", Text("a"), "a"),
        ("string", np.str_("a"), "a"),
        ("string", "", ""),
    ],
)
def test_a_value_becomes_plain_and_canonical(type_: Any, value: Any, canonical: Any) -> None:
    found = canonical_of(Field(name="x", type=type_), value)
    assert found == canonical
    assert type(found) is type(canonical)


def test_the_sign_of_zero_is_kept() -> None:
    for type_ in ("float64", "float32"):
        found = canonical_of(Field(name="x", type=type_), -0.0)
        assert math.copysign(1, found) == -1  # type: ignore[arg-type]


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_finite_float_comes_through_with_its_bits(value: float) -> None:
    found = canonical_of(Field(name="x", type="float64"), value)
    assert struct.pack("<d", found) == struct.pack("<d", value)


@given(value=st.floats(-3.4028234663852886e38, 3.4028234663852886e38))
def test_a_float32_is_the_one_nearest(value: float) -> None:
    found = canonical_of(Field(name="x", type="float32"), value)
    assert struct.pack("<d", found) == struct.pack("<d", float(np.float32(value)))


@pytest.mark.parametrize("type_", ["bool", "int64", "float32", "float64", "string", "timestamp"])
@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "null"), (math.nan, "NaN"), (np.float32("nan"), "NaN"), (Decimal("nan"), "NaN")],
)
def test_a_missing_value_is_null_where_null_is_admitted(type_: Any, value: Any, words: str) -> None:
    assert canonical_of(Field(name="x", type=type_, nullable=True), value) is None
    field = Field(name="income", type=type_)
    assert problem_of(field, value) == (
        f"expected {field.expects}, got {words}. "
        "Send a value, or pack the model with --nullable income."
    )


def test_few_known_strings_are_all_shown() -> None:
    field = Field(name="x", type="string", categories=tuple("abcdefgh"))
    assert canonical_of(field, "h") == "h"
    assert problem_of(field, "z") == (
        "expected one of 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', got 'z'. "
        "Send a known value, or pack the model with --unknown-categories allow."
    )


def test_of_many_known_strings_the_others_are_counted() -> None:
    field = Field(name="x", type="string", categories=tuple("abcdefghij"))
    assert problem_of(field, "z").startswith(
        "expected one of 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' and 2 more, got 'z'."
    )


@pytest.mark.parametrize("text", ["A", " a", "a ", "", "á"])
def test_a_string_is_known_only_as_it_was_seen(text: str) -> None:
    assert f"got {text!r}." in problem_of(Field(name="x", type="string", categories=("a",)), text)


def test_any_string_passes_where_unknown_ones_are_allowed_or_text_is_free() -> None:
    allowing = Field(name="x", type="string", categories=("a",), unknown_categories="allow")
    for field in (allowing, Field(name="x", type="string")):
        assert canonical_of(field, "z") == "z"
        assert problem_of(field, 1) == "expected string, got integer 1. Send text."


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("1970-01-01", 0),
        ("2026-01-01T00:00:00", MICROS_OF_2026),
        ("2026-01-01 00:00:00.000001", MICROS_OF_2026 + 1),
        ("1969-12-31T23:59:59.999999", -1),
        ("0001-01-01", -62_135_596_800_000_000),
        ("9999-12-31T23:59:59.999999", 253_402_300_799_999_999),
        (datetime(2026, 1, 1), MICROS_OF_2026),
        (date(2026, 1, 1), MICROS_OF_2026),
        (np.datetime64("2026-01-01"), MICROS_OF_2026),
        (np.datetime64("2026-01-01T00:00:00.000001"), MICROS_OF_2026 + 1),
    ],
)
def test_a_timestamp_becomes_microseconds_since_1970(value: Any, micros: int) -> None:
    assert canonical_of(Field(name="x", type="timestamp"), value) == micros


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00+01:00",
        "2025-12-31T19:00-05:00",
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
    ],
)
def test_one_instant_in_any_zone_is_one_value(value: Any) -> None:
    assert canonical_of(Field(name="x", type="timestamp", zoned=True), value) == MICROS_OF_2026


@pytest.mark.parametrize("value", ["2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)])
def test_a_zone_that_is_not_declared_is_to_be_left_out(value: Any) -> None:
    assert problem_of(Field(name="x", type="timestamp"), value) == (
        "expected an ISO 8601 timestamp without time zone, got one with a time zone. Leave it out."
    )


@pytest.mark.parametrize("value", ["2026-01-01", datetime(2026, 1, 1), date(2026, 1, 1)])
def test_a_zone_that_is_declared_is_asked_for(value: Any) -> None:
    assert problem_of(Field(name="x", type="timestamp", zoned=True), value) == (
        "expected an ISO 8601 timestamp with time zone, got one without time zone. "
        "Send the offset, as in 2026-01-31T12:00:00Z."
    )


FIRST_MICROS, LAST_MICROS = -62_135_596_800_000_000, 253_402_300_799_999_999


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        ("0001-01-01T00:00:00Z", FIRST_MICROS),
        ("0001-01-01T14:00:00+14:00", FIRST_MICROS),
        ("0001-01-01T00:00:00-14:00", FIRST_MICROS + 14 * 3_600_000_000),
        ("9999-12-31T23:59:59.999999Z", LAST_MICROS),
        ("9999-12-31T09:59:59.999999-14:00", LAST_MICROS),
        (
            pd.Timestamp("9999-12-31T23:00:00Z").tz_convert("Asia/Tokyo"),
            LAST_MICROS - 3_599_999_999,
        ),
    ],
)
def test_the_first_and_the_last_time_in_utc_are_admitted(value: Any, micros: int) -> None:
    assert canonical_of(Field(name="x", type="timestamp", zoned=True), value) == micros


OUT_OF_UTC = (
    "expected an ISO 8601 timestamp with time zone, within the years 1 to 9999 of UTC, got {}. "
    "Send a time within these years."
)


@pytest.mark.parametrize("earliest", ["0001-01-01T00:00:00+14:00", "0001-01-01T13:59:59+14:00"])
def test_a_time_that_is_before_all_years_in_utc_is_refused(earliest: str) -> None:
    field = Field(name="x", type="timestamp", zoned=True)
    assert problem_of(field, earliest) == OUT_OF_UTC.format(f"string {earliest!r}")
    as_datetime = datetime.fromisoformat(earliest)
    assert problem_of(field, as_datetime) == OUT_OF_UTC.format("one before them")


@pytest.mark.parametrize("latest", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:00-00:01"])
def test_a_time_that_is_after_all_years_in_utc_is_refused(latest: str) -> None:
    field = Field(name="x", type="timestamp", zoned=True)
    assert problem_of(field, latest) == OUT_OF_UTC.format(f"string {latest!r}")
    as_datetime = datetime.fromisoformat(latest)
    assert problem_of(field, as_datetime) == OUT_OF_UTC.format("one after them")


FAR = [
    (np.datetime64("10000-01-01"), "after"),
    (np.datetime64("10000-01-01T00:00", "us"), "after"),
    (np.datetime64("0000-12-31"), "before"),
    (np.datetime64(10**15, "s"), "after"),
    (np.datetime64(10**18, "Y"), "after"),
    (np.datetime64(-(2**63) + 1, "us"), "before"),
    (pd.Timestamp(np.datetime64("20000-01-01", "s")), "after"),
    (pd.Timestamp(np.datetime64("-0500-01-01", "s")), "before"),
]


@pytest.mark.parametrize(("value", "side"), FAR)
def test_a_time_of_a_library_beyond_all_years_is_refused(value: Any, side: str) -> None:
    assert problem_of(Field(name="x", type="timestamp"), value) == (
        "expected an ISO 8601 timestamp without time zone, within the years 1 to 9999, "
        f"got one {side} them. Send a time within these years."
    )
    assert problem_of(Field(name="x", type="timestamp", zoned=True), value) == (
        "expected an ISO 8601 timestamp with time zone, got one without time zone. "
        "Send the offset, as in 2026-01-31T12:00:00Z."
    )
    assert problem_of(Field(name="x", type="int64"), value) == (
        "expected int64, got a datetime. Send a whole number."
    )


def test_a_zoned_time_of_a_library_beyond_all_years_is_refused() -> None:
    value = pd.Timestamp(np.datetime64("20000-01-01", "s")).tz_localize("UTC")
    found = problem_of(Field(name="x", type="timestamp", zoned=True), value)
    assert found == OUT_OF_UTC.format("one after them")
    assert "got one with a time zone" in problem_of(Field(name="x", type="timestamp"), value)


@pytest.mark.parametrize("value", ["", "2026-02-30", "2026-13-01", "31.01.2026", " 2026-01-01"])
def test_a_text_that_is_no_timestamp_is_shown(value: str) -> None:
    assert f"got string {value!r}." in problem_of(Field(name="x", type="timestamp"), value)


@pytest.mark.parametrize(
    "value", [[1, 2.5], (1, 2.5), np.array([1, 2.5]), np.array([1, 2.5], np.float32)]
)
def test_a_tensor_becomes_a_list_of_floats(value: Any) -> None:
    found = canonical_of(Field(name="x", type="tensor", length=2), value)
    assert found == [1.0, 2.5]
    assert isinstance(found, list)
    assert {type(item) for item in found} == {float}


@pytest.mark.parametrize(
    ("item", "ending"),
    [
        (math.inf, "got Infinity. Send a finite number."),
        (True, "got boolean true. Send a number."),
        (2**53 + 1, "Send an integer within 2^53, or a number with a decimal point."),
        ([1.0], "got a list of 1. Send a number."),
    ],
)
def test_every_number_of_a_tensor_is_checked(item: Any, ending: str) -> None:
    assert problem_of(Field(name="x", type="tensor", length=2), [1, item]).endswith(ending)


def test_a_missing_tensor_is_null_where_null_is_admitted() -> None:
    field = Field(name="x", type="tensor", length=2, nullable=True)
    assert canonical_of(field, None) is None
    assert canonical_of(Field(name="x", type="tensor", length=0), []) == []


@pytest.mark.parametrize(
    "row",
    [
        {"plan": "a", "age": 5},
        OrderedDict(plan="a", age=5),
        MappingProxyType({"age": 5, "plan": "a"}),
        ChainMap({"age": 5}, {"plan": "a", "age": 6}),
        {"id": "C1", "plan": "a", "age": 5},
        [5, "a"],
        (5, "a"),
        np.array([5, "a"], object),
    ],
)
def test_a_row_is_an_object_by_name_or_a_list_in_order(row: Any) -> None:
    assert check_row(AGE_AND_PLAN, row) == [5, "a"]


def test_a_row_is_left_as_it_came() -> None:
    row = {"plan": math.nan, "age": 5.0, "id": 1}
    assert check_row(AGE_AND_PLAN, row) == [5, None]
    assert list(row) == ["plan", "age", "id"]
    assert type(row["age"]) is float


def test_a_field_that_is_missing_is_asked_for() -> None:
    assert refusal({"plan": "a"}) == "row.age: expected int64, got nothing. Send age."
    assert refusal({"age": 5}) == (
        "row.plan: expected string, got nothing. Send plan, null if it is not known."
    )


def test_a_field_that_is_not_the_models_is_refused() -> None:
    assert refusal({"age": 5, "plan": "a", "city": "Bern"}) == (
        "row.city: expected only the model's fields (age, plan), got a field it does not have. "
        "Remove it, or pack the model with --extra-fields ignore."
    )


def test_names_that_are_dropped_may_come_beside_ones_that_may_not() -> None:
    assert refusal({"id": 1, "age": 5, "plan": "a", "city": 1}).startswith("row.city: ")
    lenient = Signature(fields=AGE_AND_PLAN.fields, extra_fields="ignore")
    assert check_row(lenient, {"age": 5, "city": 1, "plan": "a", 7: 7}) == [5, "a"]


def test_names_tell_upper_from_lower_case() -> None:
    assert refusal({"Age": 5, "plan": "a"}).startswith("row.age: expected int64, got nothing.")


def test_a_name_that_is_no_text_is_shown_as_one() -> None:
    assert refusal({"age": 5, "plan": "a", 7: 1}).startswith("row.7: expected only ")


def test_of_many_fields_only_the_first_are_listed() -> None:
    fields = tuple(Field(name=name, type="int64") for name in "abcdefghi")
    signature = Signature(fields=fields)
    assert str(extra_field(signature, "z", "row")).startswith(
        "row.z: expected only the model's fields (a, b, c, d, e, f, g, h, ...), got"
    )
    assert refusal([1], signature) == (
        "row: expected 9 values, got 1. "
        "Send one value per field, in this order: a, b, c, d, e, f, g, h, ...."
    )


def test_a_long_or_broken_name_does_not_break_the_message() -> None:
    error = extra_field(AGE_AND_PLAN, "a\nb" + "x" * 100, "row")
    assert error.field == "a\\nb" + "x" * 57 + "..."
    assert str(error).startswith(f"row.{error.field}: expected")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"age": "x", "plan": 5, "city": 1}, "age"),
        ({"plan": 5, "city": 1}, "age"),
        ({"city": 1, "plan": 5, "age": 1}, "plan"),
        ({"city": 1, "plan": "a", "age": 1}, "city"),
        (["x", 5], "age"),
        ([1, 5], "plan"),
    ],
)
def test_the_first_problem_in_the_order_of_the_signature_is_told(row: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_row(AGE_AND_PLAN, row)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"row.{field}: ")


@pytest.mark.parametrize("row", [[], [1], [1, "a", 2], (1,)])
def test_a_list_of_another_length_is_refused_with_the_order(row: Any) -> None:
    assert refusal(row) == (
        f"row: expected 2 values, got {len(row)}. "
        "Send one value per field, in this order: age, plan."
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("ab", "string 'ab'"),
        ("", "string ''"),
        (None, "null"),
        (5, "integer 5"),
        (True, "boolean true"),
        (1.5, "number 1.5"),
        (iter([5, "a"]), "a list_iterator"),
    ],
)
def test_what_is_no_row_is_refused_with_what_one_is(row: Any, words: str) -> None:
    assert refusal(row) == (
        f"row: expected one row, got {words}. "
        "Send an object by field name, or a list in the signature's order."
    )


@pytest.mark.parametrize(
    ("row", "place"),
    [({"age": "x", "plan": None}, "rows[3].age"), ({}, "rows[3].age"), ([1], "rows[3]")],
)
def test_a_message_names_the_row_as_the_caller_does(row: Any, place: str) -> None:
    assert re.match(re.escape(place) + ": expected ", refusal(row, where="rows[3]"))


NEXT_TO_LIMITS = [
    sign * (limit + step)
    for limit in (0, 2**24, 2**53, 2**63, 10**30)
    for step in (-1, 0, 1)
    for sign in (1, -1)
]
ANYTHING = [
    *NEXT_TO_LIMITS,
    *map(float, NEXT_TO_LIMITS),
    *(None, True, "a", "z", "1", "\ud800", [], {}),
    *(math.nan, math.inf, -math.inf, -0.0, 0.5, 0.1, 1e-50, 1e39, 3.4028235e38, 1e300),
    *(np.float32(0.1), np.int64(5), np.bool_(0), Level.HIGH, Text("a"), Decimal("0.5")),
]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize(
    "field",
    [
        *(Field(name="x", type=kind) for kind in ("bool", "int64", "float32", "float64")),
        Field(name="x", type="string"),
        Field(name="x", type="string", categories=("a", "b")),
        Field(name="x", type="string", categories=("b",), unknown_categories="allow"),
    ],
    ids=lambda field: f"{field.type} {field.categories} {field.unknown_categories}",
)
def test_the_quick_way_through_the_checks_leads_where_the_long_one_does(
    field: Field, nullable: bool
) -> None:
    signature = Signature(fields=(msgspec.structs.replace(field, nullable=nullable),))
    quick, long = RowCheck(signature), RowCheck(signature)
    long._read = None
    rows = [row for value in ANYTHING for row in ({"x": value}, [value], (value,))]
    differing = [row for row in rows if answer(quick, row) != answer(long, row)]
    assert differing == []


@pytest.mark.parametrize(
    "row", [{}, {"age": 1}, {"age": 1, "city": "a"}, {"age": 1, "plan": "a", "id": 3}, [], [1], ()]
)
def test_a_row_of_other_fields_finds_no_quicker_way(row: Any) -> None:
    quick, long = RowCheck(AGE_AND_PLAN), RowCheck(AGE_AND_PLAN)
    long._read = None
    assert answer(quick, row) == answer(long, row)


def answer(check: RowCheck, row: Any) -> str:
    try:
        return repr(check(row))
    except InvalidInput as error:
        return str(error)


def test_a_check_made_once_holds_no_memory_of_earlier_rows() -> None:
    check = RowCheck(AGE_AND_PLAN)
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"^a\.age: expected int64, got nothing\."):
            check({"plan": "a"}, where="a")
        assert check({"age": 1, "plan": None}, where="b") == [1, None]


def test_signatures_that_differ_only_in_nullability_are_not_mixed_up() -> None:
    strict = Signature(fields=(Field(name="x", type="float64"),))
    lenient = Signature(fields=(Field(name="x", type="float64", nullable=True),))
    assert check_row(lenient, {"x": None}) == [None]
    assert refusal({"x": None}, strict).startswith("row.x: expected float64, got null.")
    assert check_row(lenient, {"x": None}) == [None]
