"""Lines of JSON as columns: what a row is refused for in real time, it is refused for here.

Rules of this file: `_quick` lets Arrow read all lines at once, and gives up wherever Arrow might
see another row than real time does. Then each line is parsed and checked as a request is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import json as arrow_json

from twofold.batch.chunks import Broken, Rows
from twofold.batch.read_jsonl import LINE
from twofold.errors import InvalidInput
from twofold.model import arrow
from twofold.model.columns import arrow_type
from twofold.model.members import name_twice
from twofold.model.rows import FieldProblem, RowCheck, describe, field_check
from twofold.model.signature import MAX_EXACT_INT, Field, Signature
from twofold.model.tables import one_batch

FLOATS = ("float32", "float64")
TENSOR = pa.list_(pa.float64())
ESCAPED = re.compile(rb"\\.")
ZERO = re.compile(rb"-0[^.0-9eE]")
"""The whole number that is written with a sign and has none."""
MAX_QUICK_BYTES = 1 << 30
"""Arrow counts the bytes it reads at once by 32 bits."""
ONE_OBJECT = "Write one JSON object a line, or leave the line out."
MEMBER_TYPES = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    type(None): pa.null(),
}
NOT_JSON = (msgspec.MsgspecError, ValueError, RecursionError)


class _BadLineError(Exception):
    """A line isn't an object of which each member has its own name."""


class JsonLines:
    """How lines become columns.

    Attributes:
        schema: The columns: what is copied and the model's fields, each once. What is copied and
            no field is text: that of a text value, else the JSON as it was written.
    """

    def __init__(
        self, signature: Signature, copied: Sequence[str], folders: Collection[str]
    ) -> None:
        """Prepare the checks.

        Args:
            signature: The model's.
            copied: Columns that go to the output unchanged.
            folders: Columns whose values stand in the names of the folders; no line need have
                them, and where it has, it must agree.
        """
        fields = tuple(field for field in signature.fields if field.name not in folders)
        self._fields = {field.name: field for field in fields}
        self._signature = msgspec.structs.replace(signature, fields=fields)
        self._copied = [name for name in copied if name not in folders]
        self._folders = tuple(folders)
        self._check = RowCheck(self._signature)
        names = dict.fromkeys([*self._copied, *self._fields])
        self.schema = pa.schema([(name, self._type(name)) for name in names])

    def _type(self, name: str) -> pa.DataType:
        field = self._fields.get(name)
        return pa.string() if field is None else read_type(field)

    def parse(self, rows: Rows) -> Rows:
        """Make columns of the column of lines; columns beside it are kept.

        Returns:
            As many rows, broken where a line can't be read or doesn't fit.
        """
        at = rows.columns.schema.get_field_index(LINE)
        beside = rows.columns.remove_column(at)
        lines = rows.columns.column(at)
        read = None if rows.broken else self._quick(lines)
        found = Rows(read) if read is not None else self._one_by_one(lines, beside, rows.broken)
        columns = [*found.columns.columns, *beside.columns]
        names = [*self.schema.names, *beside.schema.names]
        return Rows(pa.RecordBatch.from_arrays(columns, names=names), found.broken)

    def _quick(self, lines: pa.Array) -> pa.RecordBatch | None:
        """Read lines that are all alike and plainly right; None if they may not be."""
        count = len(lines)
        text = _text_of(lines)
        kinds = self._kinds(lines[0].as_py()) if _has_one_object_a_line(text, count) else None
        read = None if kinds is None else _read(text, kinds)
        if read is None or read.num_rows != count or not _has_all_members(text, read):
            return None
        if not all(_is_exact(column) for column in read.columns):
            return None
        columns: list[pa.Array] = []
        for field in self.schema:
            at = read.schema.get_field_index(field.name)
            column = read.column(at) if at >= 0 else pa.nulls(count, field.type)
            if column.type == pa.int64() and field.type != pa.int64() and ZERO.search(text):
                return None  # it may be a key that is written so, and no longer would be
            columns.append(column.cast(field.type))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _kinds(self, line: bytes) -> dict[str, pa.DataType] | None:
        """The types in which to read lines that are like this one."""
        try:
            row = self._parsed(line)
        except _BadLineError:
            return None
        if not row.keys() >= self._fields.keys() or not row.keys().isdisjoint(self._folders):
            return None
        kinds: dict[str, pa.DataType] = {}
        known = {*self._signature.ignored, *self._copied}
        for name, value in row.items():
            kind = MEMBER_TYPES.get(type(value))
            if name in self._fields:
                kind = read_type(self._fields[name])
            elif name not in known and self._signature.extra_fields == "refuse":
                return None
            elif name in self._copied and kind == pa.float64():
                return None  # only the line itself has the number as it was written
            if kind is None:
                return None
            kinds[name] = kind
        return kinds

    def _one_by_one(
        self, lines: pa.Array, beside: pa.RecordBatch, broken: Sequence[Broken]
    ) -> Rows:
        found = {item.row: item for item in broken}
        columns: dict[str, list[Any]] = {name: [] for name in self.schema.names}
        folders = {name: beside.column(name) for name in beside.schema.names}
        for row, line in enumerate(lines):
            values: dict[str, Any] = {}
            if row not in found:
                text: bytes = line.as_py()
                try:
                    members = self._parsed(text)
                    values = self._copies(members, text)
                    same = {name: column[row].as_py() for name, column in folders.items()}
                    values |= self._checked(members, same)
                except _BadLineError as error:
                    found[row] = Broken(row, "", str(error))
                except InvalidInput as error:
                    name = error.field or ""
                    found[row] = Broken(row, name, str(error).removeprefix(f"row.{name}: "))
            for name, column in columns.items():
                column.append(values.get(name))
        arrays = [pa.array(columns[field.name], field.type) for field in self.schema]
        read = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return Rows(read, tuple(found[row] for row in sorted(found)))

    def _parsed(self, line: bytes) -> dict[str, Any]:
        try:
            row: Any = msgspec.json.decode(line)
            twice = name_twice(line, members=len(row)) if isinstance(row, dict) else None  # type: ignore[arg-type]
        except NOT_JSON as error:
            why = str(error).rstrip(".") if not isinstance(error, RecursionError) else "too deep"
            got = f"a line that can't be read ({why})"
            raise _BadLineError(f"expected a JSON object, got {got}. {ONE_OBJECT}") from error
        if not isinstance(row, dict):
            raise _BadLineError(f"expected a JSON object, got {describe(row)}. {ONE_OBJECT}")
        if twice is not None:
            raise _BadLineError(
                f"expected each name once in an object, got {describe(twice)} twice. Write one."
            )
        return row  # type: ignore[return-value] - JSON has no other names than text

    def _copies(self, members: Mapping[str, Any], line: bytes) -> dict[str, Any]:
        """What is copied, as far as it can be: a row set aside still has its key."""
        copies: dict[str, Any] = {}
        for name in self._copied:
            value = members.get(name)
            if name in self._fields:
                copies[name] = _field_value(self._fields[name], value)
            elif value is None or isinstance(value, str):
                copies[name] = value
            else:
                copies[name] = bytes(_raw(line)[name]).decode()
        return copies

    def _checked(
        self, members: dict[str, Any], folders: Mapping[str, str | None]
    ) -> dict[str, Any]:
        mine = {
            name: value
            for name, value in members.items()
            if name in self._fields or name not in (*self._copied, *self._folders)
        }
        checked = dict(zip(self._fields, self._check(mine), strict=True))
        for name in self._folders:
            if name in members and name in folders and not _agree(members[name], folders[name]):
                reason = (
                    f"expected {describe(folders[name])} like the folder, got "
                    f"{describe(members[name])}. Mend the line, or move it to its folder."
                )
                raise InvalidInput(f"row.{name}: {reason}", field=name)
        return {
            name: _stored(self._fields[name], members[name], value)
            for name, value in checked.items()
        }


_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def read_type(field: Field) -> pa.DataType:
    """The Arrow type in which a field is read from JSON, to be checked afterwards.

    Numbers come in full precision and timestamps as the text that they are in JSON.
    """
    if field.type in FLOATS:
        return pa.float64()
    if field.type == "timestamp":
        return pa.string()
    return TENSOR if field.type == "tensor" else arrow_type(field)


def _text_of(lines: pa.Array) -> bytes:
    """The lines as they stood in the file, in one piece, with plain newlines."""
    _, offsets, text = lines.buffers()
    bounds = np.frombuffer(offsets, np.int64)
    start, stop = int(bounds[lines.offset]), int(bounds[lines.offset + len(lines)])
    return text[start:stop].to_pybytes().replace(b"\r\n", b"\n")


def _has_one_object_a_line(text: bytes, count: int) -> bool:
    """Whether braces stand at the ends of each line and nowhere else.

    Arrow looks for objects, wherever lines end.
    """
    return (
        len(text) <= MAX_QUICK_BYTES
        and text[:1] == b"{"
        and text[-2:] == b"}\n"
        and text.count(b"}\n{") == count - 1
        and text.count(b"{") == text.count(b"}") == count
    )


def _read(text: bytes, kinds: Mapping[str, pa.DataType]) -> pa.RecordBatch | None:
    """Let Arrow read objects that have members of these types and no others, none twice."""
    try:
        table = arrow_json.read_json(
            pa.BufferReader(text),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema(list(kinds.items())), unexpected_field_behavior="error"
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    return one_batch(table)


def _has_all_members(text: bytes, read: pa.RecordBatch) -> bool:
    """Whether every line has every member, null or not: Arrow makes both the same null.

    No line has one twice or another one, so that counting is enough. Names and texts have two
    quotes each, and nothing else has any.
    """
    bare = ESCAPED.sub(b"", text) if b"\\" in text else text
    texts = sum(
        len(column) - column.null_count
        for column in read.columns
        if pa.types.is_string(column.type)
    )
    return bare.count(b'"') == 2 * (read.num_rows * read.num_columns + texts)


def _is_exact(column: pa.Array) -> bool:
    """Whether numbers are as they were written, whole ones too. Arrow admits NaN and "-0"."""
    if column.type == TENSOR:
        column = column.flatten()
        if column.null_count:
            return False
    if column.type != pa.float64():
        return True
    values = arrow.numbers(column.drop_null())
    is_small = bool((np.abs(values) <= MAX_EXACT_INT - 1).all())  # not so NaN and infinity
    return is_small and not (np.signbit(values) & (values == 0)).any()


def _field_value(field: Field, value: Any) -> Any:
    try:
        return _stored(field, value, field_check(field)(value))
    except FieldProblem:
        return None


def _stored(field: Field, value: Any, checked: Any) -> Any:
    """A value that was checked, as `_quick` reads it."""
    if checked is None:
        return None
    if field.type in FLOATS:
        return float(value)
    return value if field.type == "timestamp" else checked


def _agree(value: Any, folder: str | None) -> bool:
    if isinstance(value, str) or value is None or folder is None:
        return value == folder
    try:
        return not isinstance(value, bool) and value == float(folder)
    except ValueError:
        return False
