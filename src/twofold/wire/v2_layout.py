"""How the rows of a request lie in its tensors: told once from its JSON, read from its bytes."""

from __future__ import annotations

import itertools
import math
import operator
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twofold.errors import InvalidInput, problem
from twofold.model.rows import describe
from twofold.model.signature import MAX_EXACT_INT, Field
from twofold.wire.v2_datatypes import (
    BOOL,
    BYTES,
    check_bools,
    nulls,
    read_texts,
    rounded,
    unpack_from,
    unpacker,
)
from twofold.wire.v2_request import Tensor, where_of

MAX_SHOWN_SIZES = 8

Read = Callable[[bytes, int], Sequence[Any]]
"""Gives a tensor's values, row-major, from the body and where in it its raw bytes begin."""
Turn = Callable[[Any], Any]
"""Makes a field's value of one of its tensor's datatype."""
Rows = Sequence[Sequence[Any]]
Placed = tuple[Tensor, int]
"""A tensor, and how many raw bytes come before its own."""
Part = tuple[Read, int, int]
"""How to read a field's values, how many raw bytes come before them, and how long each is, or 0."""


class Layout(Protocol):
    """How to read the rows of a request, and of every other with the same JSON.

    Attributes:
        count: How many rows.
    """

    count: int

    @property
    def read_one(self) -> Read | None:
        """What reads the one row, if it is raw numbers that need nothing but to be read."""
        ...

    def rows(self, body: bytes, start: int) -> Rows:
        """Read the rows, in the signature's order, unchecked.

        Args:
            body: The whole body, as long as its JSON says.
            start: Where its JSON ends.

        Raises:
            InvalidInput: A raw value isn't one of its tensor's datatype.
        """
        ...

    def place(self, row: int, field: str) -> str:
        """Where the caller wrote a value."""
        ...


class Given:
    """Rows that came in JSON."""

    __slots__ = ("_name", "_rows", "count")
    read_one = None

    def __init__(self, rows: Rows, name: str | None) -> None:
        """Take the rows, and the name of the one tensor they came in, if it was one."""
        self._rows = rows
        self._name = name
        self.count = len(rows)

    def rows(self, body: bytes, start: int) -> Rows:  # noqa: ARG002 - as the protocol has it
        """See `Layout`."""
        return self._rows

    def place(self, row: int, field: str) -> str:
        """See `Layout`."""
        return _place(row, field, self._name)


class Table:
    """Form B, raw."""

    __slots__ = ("_is_one", "_name", "_read", "_turns", "count", "read_one")

    def __init__(
        self, tensor: Tensor, count: int, width: int, turns: Sequence[tuple[int, Turn]]
    ) -> None:
        """Prepare to read `count` rows of `width` fields."""
        self._name = tensor.name
        self._read = _reader(tensor, count * width)
        self._turns = turns
        self._is_one = count == 1 and not turns
        self.count = count
        is_plain = self._is_one and tensor.kind not in (BOOL, BYTES)
        self.read_one = unpack_from(tensor.kind, width) if is_plain else None

    def rows(self, body: bytes, start: int) -> Rows:
        """See `Layout`."""
        values = self._read(body, start)
        if self._is_one:
            return (values,)
        return table_rows(values, self.count, self._turns)

    def place(self, row: int, field: str) -> str:
        """See `Layout`."""
        return _place(row, field, self._name)


class Columns:
    """Form A, and the one tensor of a model that takes nothing else."""

    __slots__ = ("_alias", "_parts", "count")
    read_one = None

    def __init__(self, parts: Sequence[Part], count: int, *, alias: str | None = None) -> None:
        """Take the reader of every field, its offset, and how long each value is, or 0."""
        self._parts = parts
        self._alias = alias
        self.count = count

    def rows(self, body: bytes, start: int) -> Rows:
        """See `Layout`."""
        columns: list[Sequence[Any]] = []
        for read, offset, length in self._parts:
            values = read(body, start + offset)
            if length:
                values = [list(values[at : at + length]) for at in range(0, len(values), length)]
            columns.append(values)
        return list(zip(*columns, strict=True))

    def place(self, row: int, field: str) -> str:
        """See `Layout`."""
        return f"{where_of(self._alias or field)}.data[{row}]"


class Record:
    """One row of form A, all raw numbers: they are read at once."""

    __slots__ = ("_bools", "_pick", "_unpack", "count", "read_one")

    def __init__(self, placed: Sequence[Placed]) -> None:
        """Take the tensor of every field."""
        self.count = 1
        order = sorted(range(len(placed)), key=lambda index: placed[index][1])
        code, end = "<", 0
        for index in order:
            tensor, offset = placed[index]
            end_of_tensor = offset + _check_size(tensor, 1)
            # What lies between belongs to tensors that the model doesn't use.
            code += f"{offset - end}x{tensor.kind.code}"
            end = end_of_tensor
        self._unpack = struct.Struct(code).unpack_from
        self._pick = None
        if order != list(range(len(order))):
            self._pick = operator.itemgetter(*(sorted(range(len(order)), key=order.__getitem__)))
        self._bools = [(offset, t.name) for t, offset in placed if t.kind is BOOL]
        self.read_one = self._unpack if self._pick is None and not self._bools else None

    def rows(self, body: bytes, start: int) -> Rows:
        """See `Layout`."""
        for offset, name in self._bools:
            check_bools(body, start + offset, 1, where_of(name))
        values = self._unpack(body, start)
        if math.isnan(sum(values)):
            values = nulls(values)
        return (values if self._pick is None else self._pick(values),)

    def place(self, row: int, field: str) -> str:
        """See `Layout`."""
        return _place(row, field, None)


def _place(row: int, field: str, table: str | None) -> str:
    if table is None:
        return f"{where_of(field)}.data[{row}]"
    return f"{where_of(table)}.data[{row}].{field}"


def table_rows(values: Sequence[Any], count: int, turns: Sequence[tuple[int, Turn]]) -> Rows:
    """Cut the values of form B into rows, and turn those that need it."""
    if count == 1 and not turns:
        return (values,)
    width = len(values) // count
    rows = [values[at : at + width] for at in range(0, len(values), width)]
    return [_turned(row, turns) for row in rows] if turns else rows


def _turned(row: Sequence[Any], turns: Sequence[tuple[int, Turn]]) -> Sequence[Any]:
    values = list(row)
    for column, turn in turns:
        values[column] = turn(values[column])
    return values


def is_raw(tensor: Tensor) -> bool:
    """Whether its values are raw and of a fixed size."""
    return tensor.raw_bytes is not None and tensor.data is None and tensor.kind is not BYTES


def part(placed: Placed, field: Field, rows: int, exact: frozenset[str]) -> Part:
    """Prepare to read the values of a field; those in JSON are read now.

    Args:
        placed: Its tensor.
        field: The field.
        rows: How many rows the request has.
        exact: The datatypes whose JSON needs no rounding for it.
    """
    tensor, offset = placed
    length = (field.length or 0) if field.type == "tensor" else 0
    count = rows * (length or 1)
    if tensor.raw_bytes is not None:
        return _reader(tensor, count), offset, length
    values = flat(tensor, count)
    if tensor.kind.name not in exact:
        values = rounded(tensor.kind, values)
    return lambda _body, _start: values, offset, length


def _reader(tensor: Tensor, count: int) -> Read:
    """Prepare to read `count` raw values."""
    kind = tensor.kind
    size = _check_size(tensor, count)
    if kind is not BOOL and kind is not BYTES:
        return unpacker(kind, count)
    where = where_of(tensor.name)
    if kind is BYTES:
        return lambda body, start: read_texts(body, start, start + size, count, where)
    unpack = unpacker(kind, count)

    def bools(body: bytes, start: int) -> Sequence[Any]:
        check_bools(body, start, count, where)
        return unpack(body, start)

    return bools


def _check_size(tensor: Tensor, count: int) -> int:
    size = tensor.raw_bytes or 0
    if tensor.data is not None:
        expected, fix = "data or binary_data_size", "Send the values in JSON, or as raw bytes."
        raise InvalidInput(problem(where_of(tensor.name), expected, "both", fix))
    wanted = count * tensor.kind.item_bytes
    if tensor.kind is not BYTES and size != wanted:
        raise InvalidInput(
            problem(
                f"{where_of(tensor.name)}.parameters.binary_data_size",
                f"{wanted} bytes ({count} values of {tensor.kind.name})",
                shown_size(size),
                "Send as many raw bytes as the shape says.",
            )
        )
    return size


def flat(tensor: Tensor, count: int) -> list[Any]:
    """The values in JSON, if they are as many as the shape says, and nested like it if at all."""
    data = tensor.data
    if data is None:
        expected, fix = "data or binary_data_size", "Send its values."
        raise InvalidInput(problem(where_of(tensor.name), expected, "neither", fix))
    rows = tensor.shape[0]
    width = count // rows
    if data and type(data[0]) is list:
        lists: list[list[Any]] = data
        if len(lists) != rows:
            raise _wrong_length(tensor, "", f"{many(rows, 'list')} of {width}", len(lists))
        for index, item in enumerate(lists):
            if type(item) is not list:
                place, expected = f"[{index}]", f"a list of {width} like the first"
                raise _wrong_length(tensor, place, expected, item)
            if len(item) != width:
                raise _wrong_length(tensor, f"[{index}]", many(width, "value"), len(item))
        return lists[0] if rows == 1 else list(itertools.chain.from_iterable(lists))
    if len(data) != count:
        raise _wrong_length(tensor, "", many(count, "value"), len(data))
    return data


def _wrong_length(tensor: Tensor, place: str, expected: str, got: Any) -> InvalidInput:
    return InvalidInput(
        problem(
            f"{where_of(tensor.name)}.data{place}",
            f"{expected} (shape {shown_shape(tensor.shape)})",
            f"{got}" if type(got) is int else describe(got),
            "Send the values row by row, as many as the shape says.",
        )
    )


def many(count: int, noun: str) -> str:
    """The noun with its count, as in "2 rows"."""
    return f"{count} {noun}{'s' * (count > 1)}"


def shown_shape(shape: Sequence[int]) -> str:
    """A shape in an error message."""
    if len(shape) > MAX_SHOWN_SIZES:
        return f"{len(shape)} dimensions"
    return f"[{', '.join(shown_size(size) for size in shape)}]"


def shown_size(size: int) -> str:
    """A size that a caller sent: Python refuses to write out numbers of thousands of digits."""
    return f"{size}" if size < MAX_EXACT_INT else "more than 2^53"
