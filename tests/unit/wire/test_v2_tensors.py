from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import pytest

from twofold.errors import InvalidInput
from twofold.model.signature import Field, Signature
from twofold.wire.statuses import WireError
from twofold.wire.v2_request import read_head
from twofold.wire.v2_tensors import Tensors

MIXED = Signature(
    fields=(
        Field(name="age", type="int64"),
        Field(name="income", type="float64", nullable=True),
        Field(name="plan", type="string"),
    ),
    ignored=("note",),
)
NUMBERS = Signature(
    fields=(
        Field(name="a", type="float64", nullable=True),
        Field(name="b", type="int64"),
        Field(name="c", type="bool"),
    )
)
IMAGE = Signature(fields=(Field(name="image", type="tensor", length=2),))
MAX_ROWS = 3


def given(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> Any:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def raw(name: str, datatype: str, size: int, shape: list[int]) -> Any:
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def rows(signature: Signature, inputs: list[Any], body: bytes = b"") -> list[list[Any]]:
    head = read_head(msgspec.json.encode({"inputs": inputs}))
    layout = Tensors(signature, max_rows=MAX_ROWS).layout(head.inputs)
    found = [list(row) for row in layout.rows(b"{}" + body, 2)]
    assert layout.count == len(found)
    return found


AGE, INCOME, PLAN = (
    given("age", "INT64", [1, 2]),
    given("income", "FP64", [0.5, None]),
    given("plan", "BYTES", ["pro", "basic"]),
)


def test_fields_come_in_any_order_and_nested_or_not() -> None:
    expected = [[1, 0.5, "pro"], [2, None, "basic"]]
    assert rows(MIXED, [AGE, INCOME, PLAN]) == expected
    assert rows(MIXED, [PLAN, AGE, INCOME]) == expected
    nested = [
        given("plan", "BYTES", [["pro"], ["basic"]], [2, 1]),
        given("income", "FP64", [[0.5], [None]], [2]),
        given("age", "INT64", [1, 2], [2, 1]),
    ]
    assert rows(MIXED, nested) == expected


def test_names_that_the_model_ignores_are_dropped() -> None:
    more = [raw("note", "FP64", 3, [7]), AGE, INCOME, PLAN]
    assert rows(MIXED, more, b"???") == [[1, 0.5, "pro"], [2, None, "basic"]]
    ignoring = msgspec.structs.replace(NUMBERS, extra_fields="ignore")
    inputs = [
        raw("c", "BOOL", 1, [1]),
        raw("x", "FP64", 3, [7]),
        raw("b", "INT8", 1, [1, 1]),
        raw("a", "FP32", 4, [1]),
    ]
    body = b"\1???\5" + struct.pack("<f", 0.5)
    assert repr(rows(ignoring, inputs, body)) == "[[0.5, 5, True]]"


def test_one_row_of_raw_numbers_is_read_like_many() -> None:
    inputs = [raw("b", "INT64", 8, [1]), raw("a", "FP64", 8, [1]), raw("c", "BOOL", 1, [1])]
    body = struct.pack("<qdB", 7, math.nan, 1)
    assert repr(rows(NUMBERS, inputs, body)) == "[[None, 7, True]]"
    inputs = [raw("b", "INT64", 16, [2]), raw("a", "FP64", 16, [2]), raw("c", "BOOL", 2, [2])]
    body = struct.pack("<2q2d2B", 7, 8, math.nan, 0.5, 1, 0)
    assert repr(rows(NUMBERS, inputs, body)) == "[[None, 7, True], [0.5, 8, False]]"
    with pytest.raises(InvalidInput, match=r"inputs\.c: expected bytes 0 or 1"):
        rows(NUMBERS, inputs, body[:-1] + b"\2")
    inputs = [raw("b", "INT64", 8, [1]), raw("c", "BOOL", 1, [1]), raw("a", "FP64", 8, [1])]
    with pytest.raises(InvalidInput, match=r"inputs\.c: expected bytes 0 or 1"):
        rows(NUMBERS, inputs, struct.pack("<qBd", 7, 2, 0.5))


def test_raw_texts_and_json_may_be_mixed() -> None:
    plan = raw("plan", "BYTES", 12, [2])
    body = b"\3\0\0\0pro\1\0\0\0b"
    assert rows(MIXED, [plan, AGE, INCOME], body) == [[1, 0.5, "pro"], [2, None, "b"]]


def test_all_fields_in_one_tensor_are_columns_in_the_order_of_the_signature() -> None:
    expected = "[[0.5, 2, True], [None, 3, False]]"
    values = [0.5, 2, 1, None, 3, 0]
    assert repr(rows(NUMBERS, [given("x", "FP64", values, [2, 3])])) == expected
    nested = given("x", "FP32", [values[:3], values[3:]], [2, 3])
    assert repr(rows(NUMBERS, [nested])) == expected
    body = struct.pack("<6f", 0.5, 2, 1, math.nan, 3, 0)
    assert repr(rows(NUMBERS, [raw("x", "FP32", 24, [2, 3])], body)) == expected
    whole = given("x", "INT32", [1, 2, 1], [1, 3])
    assert repr(rows(NUMBERS, [whole])) == "[[1, 2, True]]"
    odd = given("x", "FP64", [1, 2.5, 2], [1, 3])
    assert repr(rows(NUMBERS, [odd])) == "[[1.0, 2.5, 2.0]]"


def test_floats_in_json_have_the_bits_of_their_datatype() -> None:
    single = 0.10000000149011612
    inputs = [
        given("age", "INT64", [1]),
        given("income", "FP32", [0.1]),
        given("plan", "BYTES", [""]),
    ]
    assert rows(MIXED, inputs) == [[1, single, ""]]
    assert rows(NUMBERS, [given("x", "FP32", [0.1, 2, 1], [1, 3])])[0][0] == single
    assert rows(IMAGE, [given("image", "FP32", [0.1, 0.5], [1, 2])]) == [[[single, 0.5]]]


def test_tensor_of_a_model_that_takes_one_may_have_any_name() -> None:
    expected = [[[1.0, 2.0]], [[3.0, 4.0]]]
    for name in ("image", "input-0"):
        assert rows(IMAGE, [given(name, "FP64", [1, 2, 3, 4], [2, 2])]) == expected
        assert rows(IMAGE, [given(name, "FP64", [[1, 2], [3, 4]], [2, 2])]) == expected
        body = struct.pack("<4d", 1, 2, 3, 4)
        assert rows(IMAGE, [raw(name, "FP64", 32, [2, 2])], body) == expected


@pytest.mark.parametrize(
    ("signature", "inputs", "words"),
    [
        (MIXED, [], r"inputs: expected a tensor per field \(age, income, plan\), got 0 tensors"),
        (Signature(fields=()), [AGE], "inputs: expected a field to fill, got 1 tensors"),
        (
            MIXED,
            [AGE, PLAN],
            r"inputs\.income: expected a tensor of shape \[rows\] \(float64\), got nothing\. Send",
        ),
        (MIXED, [given("note", "INT8", [1])], r"inputs\.age: .* got nothing\. Send age\."),
        (IMAGE, [PLAN, AGE], r"inputs\.plan: expected only the model's fields \(image\)"),
        (MIXED, [AGE, INCOME, PLAN, AGE], r"inputs\.age: expected one tensor, got several"),
        (MIXED, [AGE, INCOME, AGE], r"inputs\.age: expected one tensor, got several"),
        (
            MIXED,
            [AGE, INCOME, PLAN, given("agee", "INT64", [1, 2])],
            r"inputs\.agee: expected only the model's fields \(age, income, plan\), got a field",
        ),
        (
            MIXED,
            [given("x", "FP64", [1, 2, 3], [1, 3])],
            r"inputs\.x: expected a tensor per field \(age, income, plan\), got one that is no",
        ),
        (
            MIXED,
            [AGE, given("income", "FP64", [0.5]), PLAN],
            r"inputs\.income: expected 2 rows like the other inputs, got 1\. Send one value per",
        ),
        (
            MIXED,
            [given("age", "INT64", [1, 2], [1, 2]), INCOME, PLAN],
            r"inputs\.age\.shape: expected \[rows\] or \[rows, 1\], got \[1, 2\]\. Send int64 for",
        ),
        (
            MIXED,
            [given("age", "INT64", [1], [1] * 9), INCOME, PLAN],
            r"inputs\.age\.shape: .* got 9 dimensions",
        ),
        (
            MIXED,
            [given("age", "INT64", [1], [1, 10**30]), INCOME, PLAN],
            r"inputs\.age\.shape: .* got \[1, more than 2\^53\]",
        ),
        (
            IMAGE,
            [given("image", "FP64", [1, 2], [2])],
            r"inputs\.image\.shape: expected \[rows, 2\], got \[2\]\. Send a list of 2 numbers for",
        ),
        (
            NUMBERS,
            [given("x", "FP64", [1, 2, 3, 4], [1, 4])],
            r"inputs\.x\.shape: expected \[rows, 3\], a column per field \(a, b, c\), got \[1, 4\]",
        ),
        (
            NUMBERS,
            [given("x", "FP64", [1, 2, 3])],
            r"inputs\.x\.shape: expected \[rows, 3\], .* got \[3\]",
        ),
        (
            NUMBERS,
            [{"name": "x", "datatype": "FP64", "shape": [0, 3], "data": []}],
            r"inputs\.x\.shape: expected one row or more, got none",
        ),
        (
            MIXED,
            [{"name": "age", "datatype": "INT64", "shape": [0], "data": []}, INCOME, PLAN],
            r"inputs\.age\.shape: expected one row or more, got none",
        ),
        (
            MIXED,
            [given("age", "INT64", [1, 2, 3], [2]), INCOME, PLAN],
            r"inputs\.age\.data: expected 2 values \(shape \[2\]\), got 3",
        ),
        (
            NUMBERS,
            [given("x", "FP64", [[1, 2], [3, 4], [5, 6]], [2, 3])],
            r"inputs\.x\.data: expected 2 lists of 3 \(shape \[2, 3\]\), got 3",
        ),
        (
            NUMBERS,
            [given("x", "FP64", [[1, 2, 3], [4, 5]], [2, 3])],
            r"inputs\.x\.data\[1\]: expected 3 values \(shape \[2, 3\]\), got 2",
        ),
        (
            NUMBERS,
            [given("x", "FP64", [[1, 2, 3], 4], [2, 3])],
            r"inputs\.x\.data\[1\]: expected a list of 3 like the first .* got number 4\.0",
        ),
        (
            NUMBERS,
            [{"name": "x", "datatype": "FP64", "shape": [1, 3]}],
            r"inputs\.x: expected data or binary_data_size, got neither",
        ),
        (
            NUMBERS,
            [raw("x", "FP64", 24, [1, 3]) | {"data": [1, 2, 3]}],
            r"inputs\.x: expected data or binary_data_size, got both",
        ),
        (
            NUMBERS,
            [raw("x", "FP64", 23, [1, 3])],
            r"binary_data_size: expected 24 bytes \(3 values of FP64\), got 23",
        ),
        (
            MIXED,
            [
                raw("age", "INT64", 9, [1]),
                raw("income", "FP64", 8, [1]),
                given("plan", "BYTES", [""]),
            ],
            r"inputs\.age\.parameters\.binary_data_size: expected 8 bytes \(1 values of INT64\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(signature: Signature, inputs: list[Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        rows(signature, inputs)


@pytest.mark.parametrize("count", [MAX_ROWS + 1, 10**12, 10**30])
def test_too_many_rows_are_refused_by_their_shape(count: int) -> None:
    for signature, inputs in (
        (MIXED, [given("age", "INT64", [1], [count]), INCOME, PLAN]),
        (MIXED, [raw("age", "INT64", 8, [count, 1]), INCOME, PLAN]),
        (NUMBERS, [raw("x", "FP32", 8, [count, 3])]),
        (IMAGE, [given("y", "FP32", [], [count, 2])]),
    ):
        with pytest.raises(WireError, match="shape: expected at most 3 rows, got ") as caught:
            rows(signature, inputs)
        assert caught.value.code == "too_many_rows"


def test_place_of_a_value_is_told_as_the_caller_wrote_it() -> None:
    def place(signature: Signature, inputs: list[Any]) -> str:
        head = read_head(msgspec.json.encode({"inputs": inputs}))
        names = signature.names
        return Tensors(signature, max_rows=3).layout(head.inputs).place(1, names[0])

    assert place(MIXED, [AGE, INCOME, PLAN]) == "inputs.age.data[1]"
    mixed = [AGE, INCOME, raw("plan", "BYTES", 2, [2])]
    assert place(MIXED, mixed) == "inputs.age.data[1]"
    assert place(NUMBERS, [raw("x", "INT8", 6, [2, 3])]) == "inputs.x.data[1].a"
    assert place(NUMBERS, [given("x", "INT8", [1, 1, 1], [1, 3])]) == "inputs.x.data[1].a"
    assert place(NUMBERS, [raw(n, "INT8", 1, [1]) for n in "abc"]) == "inputs.a.data[1]"
    assert place(IMAGE, [given("y", "FP64", [1, 2], [1, 2])]) == "inputs.y.data[1]"
