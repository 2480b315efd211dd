"""The types of columns in tables."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from twofold.batch.table_types import DUCKDB, POSTGRESQL, SQLITE, plain_type, table_column

VALUES: list[tuple[pa.DataType, Any]] = [
    (pa.int8(), -128),
    (pa.uint8(), 255),
    (pa.uint16(), 65_535),
    (pa.uint32(), 2**32 - 1),
    (pa.uint64(), 2**64 - 1),
    (pa.float16(), 1.5),
    (pa.large_string(), "ä"),
    (pa.string_view(), "ä"),
    (pa.dictionary(pa.int8(), pa.string()), "ä"),
    (pa.large_binary(), b"\0"),
    (pa.binary(2), b"\0\1"),
    (pa.date64(), dt.date(2026, 1, 31)),
    (pa.time32("s"), dt.time(12, 30)),
    (pa.timestamp("ms"), dt.datetime(2026, 1, 31)),
    (pa.timestamp("ns", "Europe/Berlin"), dt.datetime(2026, 1, 31, tzinfo=dt.UTC)),
    (pa.decimal128(10, 2), Decimal("1.25")),
    (pa.list_(pa.uint8()), [255]),
    (pa.list_(pa.float16(), 2), [1.0, 2.0]),
    (pa.struct([("a", pa.list_(pa.int8()))]), {"a": [1]}),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=str)
def test_a_plain_type_holds_the_same_values(kind: pa.DataType, value: Any) -> None:
    plain = plain_type(kind)
    assert plain is not None
    assert plain_type(plain) == plain
    assert pa.array([value, None], kind).cast(plain).to_pylist() == [value, None]


@pytest.mark.parametrize(
    "kind",
    [
        pa.null(),
        pa.duration("s"),
        pa.decimal256(50, 2),
        pa.map_(pa.string(), pa.int8()),
        pa.list_(pa.duration("s")),
        pa.struct([("a", pa.null())]),
        pa.struct([]),
    ],
    ids=str,
)
def test_what_no_table_has_has_no_plain_type(kind: pa.DataType) -> None:
    assert plain_type(kind) is None
    assert table_column("x", kind, POSTGRESQL) is None


def test_each_database_has_words_of_its_own() -> None:
    def words(kind: pa.DataType) -> list[str | None]:
        found = [table_column("x", kind, dialect) for dialect in (POSTGRESQL, DUCKDB, SQLITE)]
        return [column and column.sql for column in found]

    instant = "timestamp with time zone"
    assert words(pa.uint8()) == ["smallint", "SMALLINT", "INTEGER"]
    assert words(pa.timestamp("ms", "UTC")) == [instant, instant.upper(), "TEXT"]
    assert words(pa.decimal128(7, 3)) == ["numeric(7,3)", "DECIMAL(7,3)", "TEXT"]
    assert words(pa.list_(pa.float64())) == ["double precision[]", "DOUBLE[]", None]
    assert words(pa.list_(pa.list_(pa.float64()))) == [None, None, None]
    assert words(pa.struct([("a", pa.int64())])) == [None, None, None]


def test_what_sqlite_has_no_type_for_is_text_that_loses_nothing() -> None:
    for kind in (pa.uint64(), pa.decimal128(30, 10), pa.time64("us")):
        column = table_column("x", kind, SQLITE)
        assert column is not None
        assert column.type == pa.string()
