"""The types that columns of a run have in tables: of Delta, and of databases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pyarrow as pa

INSTANT = pa.timestamp("us", "UTC")
TIME = pa.time64("us")
SAME = {
    kind: kind
    for kind in (
        pa.bool_(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.float32(),
        pa.float64(),
        pa.string(),
        pa.binary(),
        pa.date32(),
    )
}
WIDER = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
}
PLAIN = SAME | WIDER
MAX_DIGITS = 38


def plain_type(kind: pa.DataType) -> pa.DataType | None:
    """The type, of the few that all tables know, that holds every value of another; or None.

    Instants and times of day are to the microsecond: what is finer is cut off.
    """
    if kind in PLAIN:
        return PLAIN[kind]
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return INSTANT if kind.tz else pa.timestamp("us")
    if pa.types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if kind.precision <= MAX_DIGITS else None
    return _other(kind)


def _other(kind: pa.DataType) -> pa.DataType | None:
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_time(kind):
        return TIME
    if pa.types.is_struct(kind):
        fields = [(kind.field(at).name, plain_type(kind.field(at).type)) for at in range(len(kind))]
        known = [pa.field(name, found) for name, found in fields if found is not None]
        return pa.struct(known) if known and len(known) == len(fields) else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        value = plain_type(kind.value_type)
        return None if value is None else pa.list_(value)
    return None


@dataclasses.dataclass(frozen=True)
class Dialect:
    """What a database calls types.

    Attributes:
        names: Of the plain types.
        decimal: Of decimals, with places for digits in all and behind the point; empty if they
            are kept as text.
        lists: Whether it has lists.
        texts: Types that are kept as text.
    """

    names: Mapping[pa.DataType, str]
    decimal: str
    lists: bool
    texts: frozenset[pa.DataType] = frozenset()


@dataclasses.dataclass(frozen=True)
class TableColumn:
    """A column of a table of a database: the type it is sent in, and the database's own."""

    name: str
    type: pa.DataType
    sql: str


POSTGRESQL = Dialect(
    {
        pa.bool_(): "boolean",
        pa.int16(): "smallint",
        pa.int32(): "integer",
        pa.int64(): "bigint",
        pa.float32(): "real",
        pa.float64(): "double precision",
        pa.string(): "text",
        pa.binary(): "bytea",
        pa.date32(): "date",
        TIME: "time without time zone",
        pa.timestamp("us"): "timestamp without time zone",
        INSTANT: "timestamp with time zone",
    },
    decimal="numeric({},{})",
    lists=True,
)
DUCKDB = Dialect(
    {
        pa.bool_(): "BOOLEAN",
        pa.int16(): "SMALLINT",
        pa.int32(): "INTEGER",
        pa.int64(): "BIGINT",
        pa.float32(): "FLOAT",
        pa.float64(): "DOUBLE",
        pa.string(): "VARCHAR",
        pa.binary(): "BLOB",
        pa.date32(): "DATE",
        TIME: "TIME",
        pa.timestamp("us"): "TIMESTAMP",
        INSTANT: "TIMESTAMP WITH TIME ZONE",
    },
    decimal="DECIMAL({},{})",
    lists=True,
)
SQLITE = Dialect(
    {
        **dict.fromkeys((pa.bool_(), pa.int16(), pa.int32(), pa.int64()), "INTEGER"),
        **dict.fromkeys((pa.float32(), pa.float64()), "REAL"),
        **dict.fromkeys((pa.string(), pa.date32(), pa.timestamp("us"), INSTANT), "TEXT"),
        pa.binary(): "BLOB",
    },
    decimal="",
    lists=False,
    texts=frozenset({TIME}),
)


def table_column(name: str, kind: pa.DataType, dialect: Dialect) -> TableColumn | None:
    """How a database has a column; None if it can't."""
    plain = plain_type(kind)
    if plain is None:
        return None
    if plain in dialect.texts or (pa.types.is_decimal(plain) and not dialect.decimal):
        plain = pa.string()
    sql = _sql(plain, dialect)
    return None if sql is None else TableColumn(name, plain, sql)


def _sql(plain: pa.DataType, dialect: Dialect) -> str | None:
    if pa.types.is_decimal(plain):
        return dialect.decimal.format(plain.precision, plain.scale)
    if pa.types.is_list(plain) and dialect.lists:
        # Of lists in lists PostgreSQL says no more than of lists.
        value = None if pa.types.is_list(plain.value_type) else _sql(plain.value_type, dialect)
        return value and f"{value}[]"
    return dialect.names.get(plain)
