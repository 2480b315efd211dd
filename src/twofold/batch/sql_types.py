"""Types that databases have and files don't: numbers without a limit, UUIDs, enums."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from twofold.model import arrow

NUMERIC = "numeric"
MONEY_KEY = b"POSTGRESQL:type"
DASHES = (8, 13, 18, 23)
UUID_CHARS = 36
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def plain_schema(schema: pa.Schema, numbers: Collection[str]) -> pa.Schema:
    """The types in which columns are kept.

    Args:
        schema: As the database has them. What no file can hold stays as it is.
        numbers: Columns that the model takes numbers from: of NUMERIC these are the nearest
            float64, the others text, which loses nothing.
    """
    fields: list[pa.Field] = []
    for field in schema:
        kind = _plain(field.type)
        if _is_numeric(field.type) and field.name in numbers:
            kind = pa.float64()
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def plain_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Bring columns to those types.

    Raises:
        ArrowException: A value can't be.
    """
    columns = [
        _converted(column, kind) for column, kind in zip(batch.columns, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain(kind: pa.DataType) -> pa.DataType:
    if isinstance(kind, pa.UuidType):
        return pa.string()
    if isinstance(kind, pa.OpaqueType):
        return pa.string() if pa.types.is_string(kind.storage_type) else kind
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return kind


def _is_numeric(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.OpaqueType) and kind.type_name == NUMERIC


def _converted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if isinstance(column.type, pa.UuidType):
        return uuid_texts(column.storage)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return column if column.type == kind else column.cast(kind)


def unreadable(schema: pa.Schema, columns: Collection[str]) -> dict[str, str]:
    """Of these columns, those that no file has as the database means them, and their types.

    Args:
        schema: As the database has them: `inet`, `timetz` and others are bytes for it alone,
            of an interval the months have no length, and `money` comes as a number of cents.
        columns: Those that are read.
    """
    found: dict[str, str] = {}
    for field in schema:
        kind = _unreadable(field.type)
        if (field.metadata or {}).get(MONEY_KEY) == b"money":
            kind = "money"
        if kind is not None and field.name in columns:
            found[field.name] = kind
    return found


def _unreadable(kind: pa.DataType) -> str | None:
    if isinstance(kind, pa.OpaqueType) and not pa.types.is_string(kind.storage_type):
        return kind.type_name
    if pa.types.is_interval(kind):
        return "interval"
    if pa.types.is_union(kind):
        return "union"
    inner = (kind.field(index).type for index in range(kind.num_fields))
    return next(filter(None, map(_unreadable, inner)), None)


def uuid_texts(column: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Write UUIDs, 16 bytes each, as text."""
    count = len(column)
    column = pa.concat_arrays([column])  # without an offset
    raw = np.frombuffer(column.buffers()[1], np.uint8, count * 16).reshape(count, 16)
    texts = np.full((count, UUID_CHARS), ord("-"), np.uint8)
    places = [place for place in range(UUID_CHARS) if place not in DASHES]
    texts[:, places[0::2]] = HEX[raw >> 4]
    texts[:, places[1::2]] = HEX[raw & 15]
    offsets = np.arange(count + 1, dtype=np.int64) * UUID_CHARS
    made = pa.Array.from_buffers(
        pa.large_string(), count, [None, pa.py_buffer(offsets), pa.py_buffer(texts.tobytes())]
    ).cast(pa.string())
    if not column.null_count:
        return made
    return made.take(arrow.from_numbers(np.arange(count), arrow.null_mask(column)))
