"""Tensors and rows: which tensor is which field, and its values row by row.

Form A has one tensor per field, named after it. Form B has all fields in one tensor of any other
name, a column per field in the signature's order; it takes fields that are numbers or bools, and
as a tensor has one datatype, the numbers 0 and 1 are false and true there.

Shapes are checked against the limits before a value is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from twofold.errors import InvalidInput, problem
from twofold.model.rows import MAX_SHOWN_CATEGORIES, extra_field
from twofold.model.signature import MAX_EXACT_INT, Field, Signature
from twofold.wire.statuses import WireError
from twofold.wire.v2_datatypes import BOOL, BYTES, DATATYPES, Datatype, rounded
from twofold.wire.v2_layout import (
    Columns,
    Given,
    Layout,
    Placed,
    Record,
    Table,
    Turn,
    flat,
    is_raw,
    many,
    part,
    shown_shape,
    shown_size,
    table_rows,
)
from twofold.wire.v2_request import Tensor, list_decoder, tuple_decoder, where_of

IN_ONE_TENSOR = ("bool", "int64", "float32", "float64")
"""Field types that form B takes."""


class Tensors:
    """Reads tensors for one signature."""

    def __init__(self, signature: Signature, *, max_rows: int) -> None:
        """Look up what doesn't depend on the request."""
        self._signature = signature
        self._fields = fields = signature.fields
        self._max_rows = max_rows
        self._index = {field.name: index for index, field in enumerate(fields)}
        self._in_one = all(field.type in IN_ONE_TENSOR for field in fields)
        self._is_one_tensor = len(fields) == 1 and fields[0].type == "tensor"
        self._has_tensors = any(field.type == "tensor" for field in fields)
        self._exact = [_exact(field) for field in fields]
        self._exact_in_one = frozenset(DATATYPES).intersection(*self._exact)
        self._turns = {name: _turns(fields, kind) for name, kind in DATATYPES.items()}

    def layout(self, inputs: Sequence[Tensor]) -> Layout:
        """Find out which tensor is which field, and check their shapes.

        Raises:
            WireError: There are too many rows, or something isn't supported.
            InvalidInput: The tensors don't fit the signature, each other, or their shapes.
        """
        if not inputs or not self._fields:
            self._refuse_none(len(inputs))
        if len(inputs) == 1:
            name = inputs[0].name
            if name not in self._index and name not in self._signature.ignored:
                return self._table(inputs[0])
        given = None if self._has_tensors else self._plain(inputs)
        return given or self._columns(inputs)

    def reader_of_one(self, inputs: Sequence[Tensor]) -> Callable[[bytes], Sequence[Any]] | None:
        """What reads one row from the JSON of all values; None if it takes more to read it."""
        if any(tensor.parameters is not None for tensor in inputs):
            return None
        fields, (first, *more) = self._fields, inputs
        kind = first.kind
        if not more and first.name not in self._index and first.name not in self._signature.ignored:
            is_plain = kind.name in self._exact_in_one and not self._turns[kind.name]
            fits = self._in_one and is_plain and first.shape == [1, len(fields)]
            return list_decoder(kind) if fits else None
        fits = len(inputs) == len(fields) and all(
            tensor.name == field.name
            and field.type != "tensor"
            and tensor.shape in ([1], [1, 1])
            and tensor.kind.name in exact
            for tensor, field, exact in zip(inputs, fields, self._exact, strict=True)
        )
        return tuple_decoder([tensor.kind for tensor in inputs]) if fits else None

    def _table(self, tensor: Tensor) -> Layout:
        width = len(self._fields)
        shape = tensor.shape
        if not self._in_one:
            if not self._is_one_tensor:
                self._refuse_name(tensor.name)
            rows = self._rows(tensor, self._fields[0])
            values = part((tensor, 0), self._fields[0], rows, self._exact[0])
            return Columns([values], rows, alias=tensor.name)
        if len(shape) != 2 or shape[1] != width:  # noqa: PLR2004 - rows and columns
            self._refuse_columns(tensor)
        rows = shape[0]
        if not 0 < rows <= self._max_rows:
            self._refuse_rows(tensor)
        turns = self._turns[tensor.kind.name]
        if tensor.parameters is not None and tensor.raw_bytes is not None:
            return Table(tensor, rows, width, turns)
        values = flat(tensor, rows * width)
        if tensor.kind.name not in self._exact_in_one:
            values = rounded(tensor.kind, values)
        return Given(table_rows(values, rows, turns), tensor.name)

    def _plain(self, inputs: Sequence[Tensor]) -> Layout | None:
        """The quick way for form A in JSON: every field once, all shapes alike, data flat."""
        shape = inputs[0].shape
        rows = shape[0] if len(shape) == 1 or shape[1:] == [1] else 0
        if not 0 < rows <= self._max_rows or len(inputs) != len(self._fields):
            return None
        columns: list[Sequence[Any]] = [[]] * len(inputs)
        lookup, exact = self._index.get, self._exact
        for tensor in inputs:
            index, data = lookup(tensor.name), tensor.data
            if (
                index is None
                or tensor.parameters is not None
                or data is None
                or len(data) != rows
                or tensor.shape != shape
                or type(data[0]) is list
            ):
                return None
            kind = tensor.kind
            columns[index] = data if kind.name in exact[index] else rounded(kind, data)
        return None if [] in columns else Given(list(zip(*columns, strict=True)), None)

    def _columns(self, inputs: Sequence[Tensor]) -> Layout:
        found: list[Placed | None] = [None] * len(self._fields)
        rows = offset = 0
        for tensor in inputs:
            index = self._index.get(tensor.name)
            if index is None:
                self._check_extra(tensor.name)
            else:
                if found[index] is not None:
                    self._refuse_twice(tensor.name)
                count = self._rows(tensor, self._fields[index])
                if rows not in (0, count):
                    self._refuse_count(tensor.name, count, rows)
                rows = count
                found[index] = (tensor, offset)
            if tensor.parameters is not None:
                offset += tensor.raw_bytes or 0
        placed = [
            item or self._refuse_missing(field)
            for item, field in zip(found, self._fields, strict=True)
        ]
        if rows == 1 and not self._has_tensors and all(is_raw(item) for item, _ in placed):
            return Record(placed)
        parts = [
            part(item, field, rows, exact)
            for item, field, exact in zip(placed, self._fields, self._exact, strict=True)
        ]
        return Columns(parts, rows)

    def _rows(self, tensor: Tensor, field: Field) -> int:
        shape = tensor.shape
        length = 1
        fits = len(shape) == 1
        if field.type == "tensor":
            length = field.length
            fits = False
        if not fits and (len(shape) != 2 or shape[1] != length):  # noqa: PLR2004 - rows and items
            expected = "[rows] or [rows, 1]" if length == 1 else f"[rows, {length}]"
            fix = f"Send {field.expects} for every row."
            where = f"{where_of(tensor.name)}.shape"
            raise InvalidInput(problem(where, expected, shown_shape(shape), fix), field=field.name)
        if not 0 < shape[0] <= self._max_rows:
            self._refuse_rows(tensor)
        return shape[0]

    def _names(self) -> str:
        names = self._signature.names
        more = ", ..." if len(names) > MAX_SHOWN_CATEGORIES else ""
        return ", ".join(names[:MAX_SHOWN_CATEGORIES]) + more

    def _check_extra(self, name: str) -> None:
        signature = self._signature
        if signature.extra_fields == "refuse" and name not in signature.ignored:
            raise extra_field(signature, name, "inputs")

    def _refuse_none(self, got: int) -> NoReturn:
        expected = f"a tensor per field ({self._names()})" if self._fields else "a field to fill"
        fix = "Send one tensor per field, named after it."
        raise InvalidInput(problem("inputs", expected, f"{got} tensors", fix))

    def _refuse_name(self, name: str) -> NoReturn:
        expected = f"a tensor per field ({self._names()})"
        fix = "Send one tensor per field, named after it."
        raise InvalidInput(problem(where_of(name), expected, "one that is no field", fix))

    def _refuse_columns(self, tensor: Tensor) -> NoReturn:
        where = f"{where_of(tensor.name)}.shape"
        width = len(self._fields)
        expected = f"[rows, {width}], a column per field ({self._names()})"
        fix = "Send the fields in this order, or one tensor per field, named after it."
        raise InvalidInput(problem(where, expected, shown_shape(tensor.shape), fix))

    def _refuse_rows(self, tensor: Tensor) -> NoReturn:
        where = f"{where_of(tensor.name)}.shape"
        if tensor.shape[0] == 0:
            raise InvalidInput(problem(where, "one row or more", "none", "Send a row."))
        got, fix = shown_size(tensor.shape[0]), "Send them in several requests, or use a batch run."
        message = problem(where, f"at most {self._max_rows} rows", got, fix)
        raise WireError("too_many_rows", message)

    def _refuse_twice(self, name: str) -> NoReturn:
        fix = "Send one tensor per field."
        raise InvalidInput(problem(where_of(name), "one tensor", "several", fix), field=name)

    def _refuse_count(self, name: str, got: int, rows: int) -> NoReturn:
        expected = f"{many(rows, 'row')} like the other inputs"
        fix = "Send one value per row for every input."
        raise InvalidInput(problem(where_of(name), expected, f"{got}", fix), field=name)

    def _refuse_missing(self, field: Field) -> NoReturn:
        where = f"inputs.{field.name}"
        shape = f"[rows, {field.length}]" if field.type == "tensor" else "[rows]"
        expected = f"a tensor of shape {shape} ({field.expects})"
        fix = f"Send {field.name}, with null or NaN where it is not known."
        if not field.nullable:
            fix = f"Send {field.name}."
        raise InvalidInput(problem(where, expected, "nothing", fix), field=field.name)


def _exact(field: Field) -> frozenset[str]:
    """The datatypes whose JSON needs no rounding before the check of the rows."""
    rounds = {"FP16"} if field.type == "float32" else {"FP16", "FP32"}
    return frozenset(DATATYPES.keys() - rounds)


def _turns(fields: Sequence[Field], kind: Datatype) -> list[tuple[int, Turn]]:
    """Which columns of one tensor hold other values than its datatype has."""
    turns: list[tuple[int, Turn]] = []
    if kind in (BOOL, BYTES):
        return turns
    for index, field in enumerate(fields):
        if field.type == "bool":
            turns.append((index, _truth))
        elif field.type == "int64" and kind.is_float:
            turns.append((index, _integer))
    return turns


def _truth(value: Any) -> Any:
    return bool(value) if value in (0, 1) else value


def _integer(value: Any) -> Any:
    # The check of the rows admits whole floats as well, but takes its time.
    whole = type(value) is float and value.is_integer() and abs(value) <= MAX_EXACT_INT
    return int(value) if whole else value
