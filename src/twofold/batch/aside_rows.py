"""Rows that a run set aside, as they are handed out for mending: with number, field and reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from twofold.batch.mended import LINE_NOTE, NOTES, ROW
from twofold.batch.quarantine import SCHEMA
from twofold.errors import InvalidInput, problem
from twofold.model import arrow

NOT_JSON = (msgspec.MsgspecError, ValueError, RecursionError)

Note = Mapping[str, Any]
"""The `row`, `field` and `reason` of a row."""

_encode = msgspec.json.Encoder(enc_hook=str).encode
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_numbered(names: Collection[str], where: str) -> None:
    """Check that the number of a row has its name for itself.

    Raises:
        InvalidInput: A column is called so.
    """
    if ROW in names:
        fix = "Rename that column and run again; then rows can be mended."
        got = "a column of the input"
        raise InvalidInput(problem(f"{where}: {ROW}", "a name that only numbers rows", got, fix))


def noted_schema(columns: pa.Schema) -> pa.Schema:
    """Number and notes, then the columns; one that is called like a note takes its place."""
    names = [ROW, *(name for name in NOTES if name in SCHEMA.names and name not in columns.names)]
    return pa.schema([*(SCHEMA.field(name) for name in names), *columns])


def noted_table(notes: pa.Table, columns: pa.Table, schema: pa.Schema) -> pa.Table:
    """Put notes and columns side by side, in the types of the schema.

    Args:
        notes: Rows of a quarantine.
        columns: The same rows as the input has them; what they lack is null.
        schema: That of `noted_schema`.
    """
    found: list[pa.Array] = []
    for field in schema:
        if field.name in columns.column_names:
            column = arrow.decoded(arrow.one_chunk(columns.column(field.name)))
            found.append(column if column.type == field.type else column.cast(field.type))
        elif field.name in notes.column_names and SCHEMA.field(field.name).equals(field):
            found.append(arrow.one_chunk(notes.column(field.name)))
        else:
            found.append(pa.nulls(notes.num_rows, field.type))
    return pa.Table.from_arrays(found, schema=schema)


def table_lines(notes: pa.Table, columns: pa.Table) -> Iterator[bytes]:
    """Write the same rows as lines of JSON."""
    schema = noted_schema(columns.schema)
    table = noted_table(notes, columns, schema)
    values = [_values(arrow.one_chunk(column)) for column in table.columns]
    for row in zip(*values, strict=True):
        yield _encode(dict(zip(schema.names, row, strict=True))) + b"\n"


def noted_line(line: bytes | None, note: Note, beside: Mapping[str, Any], where: str) -> bytes:
    """Put notes before the members of a line, which stay as they were written.

    Args:
        line: What the input has; None if it was too long to be read.
        note: Of this row.
        beside: Columns of its folders, which the line may have, too.
        where: How messages call the input.

    Raises:
        InvalidInput: A member has the name of the row's number.
    """
    members = members_of(line)
    added = {name: note[name] for name in (ROW, "field", "reason")} | dict(beside)
    if line is None or members is None:
        if line is not None:
            added[LINE_NOTE] = line.decode(errors="replace").strip()
        return _encode(added) + b"\n"
    check_numbered(members, where)
    head = _encode({name: value for name, value in added.items() if name not in members})
    inner = line.strip()[1:-1].strip()
    return head[:-1] + (b"," + inner if inner else b"") + b"}\n"


def members_of(line: bytes | None) -> dict[str, Any] | None:
    """The members of a line; None if it isn't an object."""
    try:
        found = None if line is None else msgspec.json.decode(line)
    except NOT_JSON:
        return None
    return found if isinstance(found, dict) else None  # type: ignore[return-value] - JSON


def line_texts(lines: Sequence[bytes | None], names: Sequence[str], where: str) -> pa.Table:
    """Members of lines as columns of text: texts as they are, other values as they were written.

    Raises:
        InvalidInput: As `noted_line`.
    """
    columns: dict[str, list[str | None]] = {name: [] for name in names}
    for line in lines:
        members = members_of(line)
        check_numbered(members or (), where)
        written = _raw(line) if line is not None and members else {}
        for name, column in columns.items():
            value = members.get(name) if members else None
            is_text = value is None or isinstance(value, str)
            column.append(value if is_text else bytes(written[name]).decode())
    return pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):  # Python knows no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    try:
        return column.to_pylist()
    except ValueError:
        return column.cast(pa.string()).to_pylist()
