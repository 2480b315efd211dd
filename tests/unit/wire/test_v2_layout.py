from __future__ import annotations

import math
import struct
from typing import Any

import msgspec
import pytest

from twofold.errors import InvalidInput
from twofold.model.signature import Field
from twofold.wire.v2_datatypes import DATATYPES
from twofold.wire.v2_layout import (
    Columns,
    Given,
    Record,
    Table,
    flat,
    is_raw,
    many,
    part,
    shown_shape,
    shown_size,
    table_rows,
)
from twofold.wire.v2_request import Tensor, read_head

ALL = frozenset(DATATYPES)


def tensor(datatype: str, shape: list[int], name: str = "x", **more: Any) -> Tensor:
    about = {"name": name, "datatype": datatype, "shape": shape, **more}
    return read_head(msgspec.json.encode({"inputs": [about]})).inputs[0]


def raw(datatype: str, shape: list[int], size: int, name: str = "x") -> Tensor:
    return tensor(datatype, shape, name, parameters={"binary_data_size": size})


def test_table_is_cut_into_rows_and_its_columns_are_turned() -> None:
    assert table_rows([1, 2, 3, 4], 2, []) == [[1, 2], [3, 4]]
    assert table_rows((1, 2), 1, []) == ((1, 2),)
    assert table_rows((1, 2, 3, 4), 2, [(1, str)]) == [[1, "2"], [3, "4"]]
    assert table_rows((1, 2), 1, [(0, str), (1, bool)]) == [["1", True]]


def test_raw_table_is_read_from_where_its_json_ends() -> None:
    body = b"{}" + struct.pack("<4f", 0.5, math.nan, 1, 2)
    table = Table(raw("FP32", [2, 2], 16), 2, 2, [])
    assert table.rows(body, 2) == [[0.5, None], [1.0, 2.0]]
    one = Table(raw("FP32", [1, 2], 8), 1, 2, [])
    assert [list(row) for row in one.rows(body, 10)] == [[1.0, 2.0]]
    turned = Table(raw("FP32", [1, 2], 8), 1, 2, [(1, int)])
    assert repr(turned.rows(body, 10)) == "[[1.0, 2]]"


def test_columns_lie_behind_one_another_or_are_given() -> None:
    number, vector = Field(name="x", type="float64"), Field(name="y", type="tensor", length=2)
    given_text = tensor("BYTES", [2], data=["a", "b"])
    columns = Columns(
        [
            part((raw("INT8", [2], 2), 8), number, 2, ALL),
            part((raw("INT16", [2, 2], 8), 0), vector, 2, ALL),
            part((given_text, 10), number, 2, ALL),
        ],
        2,
    )
    body = b"{}" + struct.pack("<4h2b", 1, 2, 3, 4, 5, 6)
    assert columns.rows(body, 2) == [(5, [1, 2], "a"), (6, [3, 4], "b")]


def test_record_is_read_in_any_order_and_past_what_is_not_used() -> None:
    a, b, c = raw("INT8", [1], 1, "a"), raw("FP64", [1], 8, "b"), raw("BOOL", [1], 1, "c")
    body = b"{}" + struct.pack("<dxxxBb", 0.5, 1, 7)
    # In the order of the fields: c before b before a.
    record = Record([(c, 11), (b, 0), (a, 12)])
    assert repr(list(record.rows(body, 2)[0])) == "[True, 0.5, 7]"
    body = b"{}" + struct.pack("<dxxxBb", math.nan, 0, 7)
    assert list(record.rows(body, 2)[0]) == [False, None, 7]
    with pytest.raises(InvalidInput, match=r"inputs\.c: expected bytes 0 or 1"):
        record.rows(b"{}" + struct.pack("<dxxxBb", 0.5, 3, 7), 2)
    with pytest.raises(InvalidInput, match=r"expected 1 bytes \(1 values of INT8\), got 2"):
        Record([(raw("INT8", [1], 2), 0)])


def test_json_numbers_are_rounded_where_the_field_does_not_round() -> None:
    sent = tensor("FP32", [1], data=[0.1])
    field = Field(name="x", type="float64")
    for exact, value in (ALL, 0.1), (ALL - {"FP32"}, 0.10000000149011612):
        read, _, _ = part((sent, 0), field, 1, exact)
        assert list(read(b"", 0)) == [value]


def test_values_are_flat_or_nested_like_the_shape() -> None:
    assert flat(tensor("INT8", [2, 2], data=[1, 2, 3, 4]), 4) == [1, 2, 3, 4]
    assert flat(tensor("INT8", [2, 2], data=[[1, 2], [3, 4]]), 4) == [1, 2, 3, 4]
    assert flat(tensor("INT8", [1, 2], data=[[1, 2]]), 2) == [1, 2]
    assert flat(tensor("INT8", [2], data=[[1], [2]]), 2) == [1, 2]
    with pytest.raises(InvalidInput, match=r"inputs\.x\.data: expected 4 values .*, got 0\."):
        flat(tensor("INT8", [2, 2], data=[]), 4)


def test_raw_is_what_has_a_size_known_from_its_shape() -> None:
    assert is_raw(raw("INT8", [1], 1))
    assert not is_raw(raw("BYTES", [1], 5))
    assert not is_raw(tensor("INT8", [1], data=[1]))


def test_values_are_placed_as_the_caller_wrote_them() -> None:
    given, table = Given([(1,)], None), Given([(1,)], "input-0")
    assert (given.count, given.rows(b"", 0)) == (1, [(1,)])
    assert given.place(3, "age") == "inputs.age.data[3]"
    assert table.place(3, "age") == "inputs.input-0.data[3].age"
    assert Columns([], 0, alias="image").place(3, "age") == "inputs.image.data[3]"


def test_words_for_sizes_are_short() -> None:
    assert (many(1, "row"), many(2, "row")) == ("1 row", "2 rows")
    assert (shown_shape([1, 2]), shown_shape([1] * 9)) == ("[1, 2]", "9 dimensions")
    assert (shown_size(5), shown_size(10**5000)) == ("5", "more than 2^53")
