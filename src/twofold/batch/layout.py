"""The layout of a run's output: which columns come in, which go out, in which order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pyarrow as pa

from twofold.batch.inputs import Input, OpenFile
from twofold.batch.json_lines import JsonLines
from twofold.batch.read_jsonl import LINE
from twofold.errors import InvalidInput, problem
from twofold.model import arrow
from twofold.model.columns import PARSED, Checked, arrow_type, check_columns, check_names
from twofold.model.signature import Field, Output, Signature

CONSTANTS = ("model_version", "run_id", "predicted_at")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = pa.timestamp("us", "UTC")
VIEWS = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
LABEL = pa.dictionary(pa.int32(), pa.string())


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What is the same beside every prediction of a run (`predicted_at` is aware)."""

    model_version: str
    run_id: str
    predicted_at: datetime


@dataclasses.dataclass(frozen=True)
class Layout:
    """Columns in and out.

    Attributes:
        fields: The signature's fields.
        key: The key column, if there is one.
        passed: The input's columns that go to the output unchanged: the key, then the kept ones.
        outputs: The predictions' columns.
        texts: Of the fields, the text that isn't passed on: only what it says matters.
        lines: How the other columns come from lines, if the input is JSON Lines.
        beside: Columns that the names of folders give.
        parsed: Of these, the fields that aren't text.
    """

    fields: tuple[str, ...]
    key: str | None
    passed: tuple[pa.Field, ...]
    outputs: tuple[pa.Field, ...]
    texts: tuple[str, ...] = ()
    lines: JsonLines | None = None
    beside: tuple[str, ...] = ()
    parsed: tuple[Field, ...] = ()

    @property
    def read(self) -> list[str]:
        """The input's columns that are needed, each once."""
        if self.lines is not None:
            return [LINE, *self.beside]
        return list(dict.fromkeys([*(field.name for field in self.passed), *self.fields]))

    @property
    def schema(self) -> pa.Schema:
        """Of the part files."""
        label, instant = pa.field(CONSTANTS[0], LABEL), pa.field(CONSTANTS[2], INSTANT)
        constants = [label, label.with_name(CONSTANTS[1]), instant]
        return pa.schema([*self.passed, *self.outputs, *constants])

    def table(self, batches: Sequence[pa.RecordBatch], stamp: Stamp) -> pa.Table:
        """Make a part's table of the passed and predicted columns, in one piece.

        One piece, so that the bytes written don't depend on the batches that came.
        """
        schema = pa.schema([*self.passed, *self.outputs])
        table = pa.Table.from_batches(batches, schema=schema).combine_chunks()
        rows = table.num_rows
        micros = (stamp.predicted_at - EPOCH) // timedelta(microseconds=1)
        instants = arrow.from_numbers(np.full(rows, micros, np.int64), None, INSTANT)
        labels = [_label(stamp.model_version, rows), _label(stamp.run_id, rows)]
        return pa.Table.from_arrays([*table.columns, *labels, instants], schema=self.schema)


def lay_out(
    source: Input,
    signature: Signature,
    output: Output,
    *,
    key: str | None,
    keep: Sequence[str],
) -> Layout:
    """Check the input's columns against what is wanted of them.

    Raises:
        InvalidInput: A file lacks a column, has an unknown or a doubled one, has the key or a
            kept column in another type than the first file; or a column to copy has the name of
            one the run writes; or a folder's name says what a field can't be.
    """
    flags = ({key: "--key"} if key else {}) | {name: "--keep" for name in keep if name != key}
    copied = list(flags)
    for name in copied:
        if name in (*output.names, *CONSTANTS):
            fix = "Rename that column of the input."
            raise InvalidInput(
                problem(flags[name], "a name the run doesn't write itself", name, fix)
            )
    beside = _beside(source, [*copied, *signature.names])
    parsed_fields = tuple(
        field for field in signature.fields if field.name in beside and field.type in PARSED
    )
    _check_values(source, parsed_fields)
    lines = JsonLines(signature, copied, beside) if source.format.is_lines else None
    if lines is None:
        _check_columns(source, signature, flags)
    else:
        _check_members(source, flags)
    first = source.files[0].schema if lines is None else lines.schema
    types = {field.name: arrow_type(field) for field in parsed_fields}
    types = dict.fromkeys(beside, pa.string()) | types
    passed = tuple(
        pa.field(name, types[name] if name in types else _plain(first.field(name).type))
        for name in copied
    )
    kind = pa.type_for_alias(output.type)
    outputs = tuple(pa.field(name, kind) for name in output.names)
    texts = tuple(field.name for field in signature.fields if field.type == "string")
    only_read = tuple(name for name in texts if name not in copied)
    return Layout(signature.names, key, passed, outputs, only_read, lines, beside, parsed_fields)


def parsed(field: Field, text: pa.Array) -> pa.Array:
    """Parse text that is all right, as `lay_out` has checked, or null."""
    return _read_text(field, text).columns.column(0)


def _read_text(field: Field, text: pa.Array) -> Checked:
    # Where no null may be, the rows are set aside later, with the others of their batch.
    signature = Signature(fields=(msgspec.structs.replace(field, nullable=True),))
    batch = pa.RecordBatch.from_arrays([text], names=[field.name])
    return check_columns(signature, batch, from_text=True)


def _beside(source: Input, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the columns that only the folders have, or also lines, where that shows later."""
    found: list[str] = []
    for name in dict.fromkeys(names):
        having = [file for file in source.files if name in file.folders]
        if not having or (not source.format.is_lines and any(name in f.in_both for f in having)):
            continue
        for file in source.files:
            if name not in file.folders:
                got = f"none, while {having[0].where} has one"
                fix = "Move it to its folder, or leave it out."
                raise InvalidInput(
                    problem(f"{file.where}: {name}", f"a folder {name}=...", got, fix)
                )
        found.append(name)
    return tuple(found)


def _check_values(source: Input, fields: Sequence[Field]) -> None:
    for field in fields:
        for file in source.files:
            text = pa.array([file.folders[field.name]], pa.string())
            for found in _read_text(field, text).problems:
                where = f"{file.where}: {field.name}"
                raise InvalidInput(problem(where, found.expected, found.got, "Rename the folder."))


def _check_columns(source: Input, signature: Signature, flags: Mapping[str, str]) -> None:
    first = source.files[0]
    for file in source.files:
        names = file.schema.names
        for name, flag in flags.items():
            if names.count(name) != 1:
                raise _not_once(f"{file.where}: {flag} {name}", name, names)
            _check_type(name, file, first)
            _check_storable(name, file)
        check_names(
            signature, names, where=file.where, besides=[*flags, *file.folders, *file.constants]
        )


def _check_members(source: Input, flags: Mapping[str, str]) -> None:
    """Check that some line has what is copied; whether each fits the model, it says itself."""
    names = list(dict.fromkeys(name for file in source.files for name in file.schema.names))
    if all(name in file.folders for file in source.files for name in file.schema.names):
        return  # No line could be read yet: they will be set aside.
    for name, flag in flags.items():
        if name not in names:
            raise _not_once(f"{source.text}: {flag} {name}", name, names)


def _not_once(where: str, name: str, names: Sequence[str]) -> InvalidInput:
    got = "it several times" if name in names else f"only {', '.join(names[:20])}"
    return InvalidInput(problem(where, "a column", got, "Name one it has once."))


def _check_type(name: str, file: OpenFile, first: OpenFile) -> None:
    wanted, got = first.schema.field(name).type, file.schema.field(name).type
    if wanted != got:
        raise InvalidInput(
            problem(
                f"{file.where}.{name}",
                f"{wanted} as in {first.where}",
                str(got),
                "Write the files with one type for this column.",
            )
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type in which a column is copied: views, which Arrow can't take rows of, as text."""
    return VIEWS.get(kind, kind)


def _check_storable(name: str, file: OpenFile) -> None:
    kind = file.schema.field(name).type
    empty = pa.types.is_struct(kind) and not kind.num_fields
    if empty or pa.types.is_interval(kind) or pa.types.is_run_end_encoded(kind):
        fix = "Leave it out, or convert it."
        raise InvalidInput(
            problem(f"{file.where}.{name}", "a type that Parquet can hold", str(kind), fix)
        )


def _label(text: str, rows: int) -> pa.DictionaryArray:
    indices = arrow.from_numbers(np.zeros(rows, np.int32))
    return pa.DictionaryArray.from_arrays(indices, arrow.from_strings([text]))
