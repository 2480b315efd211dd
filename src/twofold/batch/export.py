"""Handing out what a run set aside: the rows of its input themselves, in a file to be mended.

The input is read again, from the first of these rows to the last, a batch at a time.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from twofold.batch import quarantine
from twofold.batch.aside_rows import (
    check_numbered,
    line_texts,
    noted_line,
    noted_schema,
    noted_table,
    table_lines,
)
from twofold.batch.formats import SQL, SUFFIXES
from twofold.batch.inputs import (
    Input,
    OpenFile,
    check_unchanged,
    describe_files,
    fingerprint,
    open_input,
    read_chunks,
)
from twofold.batch.layout import VIEWS, parsed
from twofold.batch.manifest import Manifest, read_manifest
from twofold.batch.mended import ROW
from twofold.batch.part_files import NOT_IN_CSV, PART_FORMATS
from twofold.batch.plan import Plan
from twofold.batch.read_jsonl import LINE
from twofold.errors import ConfigError, InvalidInput, problem
from twofold.model import arrow
from twofold.model.columns import PARSED, arrow_type
from twofold.model.names import check_name
from twofold.model.signature import Signature

LINES = "jsonl"


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """What to hand out, and where to.

    Attributes:
        output: The folder the run was committed to.
        run_id: The run.
        file: Where the rows go; the ending of its name says in which format.
    """

    output: Path
    run_id: str
    file: Path


def export(request: ExportRequest, signature: Signature, *, batch_rows: int) -> int:
    """Write the rows that a committed run had set aside, as its input has them.

    Before their columns stand `row`, `field` and `reason`. Columns of CSV files stay text; of
    lines of JSON the members stay as they were written, and in a file with columns they are text.

    Args:
        request: What to hand out.
        signature: The model's, which says what the columns of folders are.
        batch_rows: Rows of the input in memory at a time.

    Returns:
        The rows written.

    Raises:
        InvalidInput: There is no such committed run; it set nothing aside; its input isn't
            there, was changed, or was the answer to a query; the file is there already, or its
            format can't have a column.
        ConfigError: The file can't be written.
    """
    kind = _kind_of(request.file)
    target = request.output / check_name(request.run_id, what="run id")
    run = read_manifest(target)
    if run is None:
        fix = "Resume it with `twofold batch resume`, or mend its name."
        raise InvalidInput(problem(str(target), "a committed run", "none", fix))
    if run.quarantine is None:
        raise InvalidInput(problem(run.run_id, "rows set aside", "none", "There is none to mend."))
    aside = quarantine.read(target / run.quarantine.name).select([ROW, "field", "reason"])
    if aside.num_rows != run.quarantine.rows:
        fix = "Try again."
        raise InvalidInput(problem(str(target), "a run at rest", "one being repaired", fix))
    source = _same_input(run)
    check_numbered(_names(source), source.text)
    rows = _Rows(source, signature, aside, batch_rows)
    _write(request.file, kind, rows)
    return aside.num_rows


def _kind_of(path: Path) -> str:
    known = SUFFIXES.get(path.suffix.lower())
    if known is None:
        got = f"the ending {path.suffix!r}"
        wanted = "a file name that ends in .parquet, .csv, .jsonl or .arrow"
        raise InvalidInput(problem(str(path), wanted, got, "Name it so."))
    if path.exists():
        fix = "Name another one, or delete it if nothing was mended in it."
        raise InvalidInput(problem(str(path), "a new file", "one that is there", fix))
    return known.name


def _same_input(run: Manifest) -> Input:
    """Open the input of a run, if it is still what it was."""
    if run.input.format == SQL.name:
        got = "the answer to a query, which is kept until the commit only"
        fix = "Ask the database for the rows whose keys are in the run's quarantine.parquet."
        raise InvalidInput(problem(run.input.given, "an input that is kept", got, fix))
    source = open_input(run.input.given, run.input.given)
    files = describe_files(source)
    if fingerprint(files) != run.input.fingerprint:
        before = {(file.path, file.digest, file.etag) for file in run.input.files}
        other = [file.path for file in files if (file.path, file.digest, file.etag) not in before]
        what = f"another content: {', '.join(other[:3])}" if other else "other files"
        fix = "Rows can't be told by their numbers any more; run the new input under a new run id."
        raise InvalidInput(problem(run.input.given, "the input of the run", what, fix))
    return source


def _names(source: Input) -> set[str]:
    if source.format.is_lines:  # whose members are looked at where they are written
        return {name for file in source.files for name in file.folders}
    return {name for file in source.files for name in file.schema.names}


@dataclasses.dataclass(frozen=True)
class _Rows:
    """The rows of a quarantine, read again."""

    source: Input
    signature: Signature
    aside: pa.Table
    batch_rows: int

    def columns(self, kind: str) -> pa.Schema:
        """All columns of all files, in the types in which they are written.

        Of lines of JSON these are the members of the first ones, and the fields, all as text.

        Raises:
            InvalidInput: Two files have a column in different types, which only text can hold;
                or the format can't hold one.
        """
        if self.source.format.is_lines:
            every = [name for file in self.source.files for name in file.schema.names]
            names = dict.fromkeys([*every, *self.signature.names])
            return pa.schema([(name, pa.string()) for name in names])
        found: dict[str, pa.DataType] = {}
        for file in self.source.files:
            for name in _once(file):
                one = self._type(file, name)
                if found.setdefault(name, one) == one:
                    continue
                if kind != "csv":
                    fix = "Name a file that ends in .jsonl or .csv."
                    got = f"{found[name]} and {one}"
                    raise InvalidInput(problem(name, "one type in all files", got, fix))
                found[name] = pa.string()
        for name, one in found.items():
            if kind == "csv" and any(is_such(one) for is_such in NOT_IN_CSV):
                fix = "Name a file that ends in .parquet or .jsonl."
                raise InvalidInput(problem(name, "a type that CSV has", str(one), fix))
        return pa.schema(list(found.items()))

    def batches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Give the rows, some at a time: notes of the quarantine, and columns of the input.

        Raises:
            InvalidInput: A file can't be read.
        """
        numbers = arrow.numbers(arrow.one_chunk(self.aside.column("row")))
        first = 0
        for file in self.source.files:
            # Who doesn't know how many rows a file has must read it to know where the next begins.
            left = numbers[np.searchsorted(numbers, first) :]
            if not len(left):
                return
            stop = None if file.rows is None else first + file.rows
            if stop is None or left[0] < stop:
                start = first if stop is None else int(left[0])
                for at, columns in self._read(file, first, start):
                    lower, upper = np.searchsorted(numbers, [at, at + columns.num_rows])
                    if lower < upper:
                        places = arrow.from_numbers(numbers[lower:upper] - at)
                        yield self.aside.slice(lower, upper - lower), columns.take(places)
                    first = at + columns.num_rows
                    if first > numbers[-1]:
                        return
            first = first if stop is None else stop

    def _read(
        self, file: OpenFile, first: int, start: int
    ) -> Generator[tuple[int, pa.Table], None, None]:
        """Give the rows of a file, from a row on, whose number stands beside them."""
        names = [LINE, *file.folders] if self.source.format.is_lines else _once(file)
        alone = dataclasses.replace(self.source, files=(file,))
        plan = Plan(self.batch_rows, self.batch_rows)
        for chunk in read_chunks(alone, names, plan, first_row=start - first):
            table = pa.Table.from_batches([chunk.rows.columns])
            for at, name in enumerate(table.column_names):
                kind = self._type(file, name) if name != LINE else pa.large_binary()
                if table.column(name).type != kind:
                    column = arrow.decoded(arrow.one_chunk(table.column(name)))
                    table = table.set_column(at, name, self._converted(name, column, kind))
            yield first + chunk.first_row, table

    def _type(self, file: OpenFile, name: str) -> pa.DataType:
        known, is_told = self.source.format, name in file.folders and name not in file.in_both
        if (is_told and not known.is_text) or (known.is_lines and name in file.folders):
            fields = [field for field in self.signature.fields if field.name == name]
            return arrow_type(fields[0]) if fields and fields[0].type in PARSED else pa.string()
        kind = file.schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        return VIEWS.get(kind, kind)

    def _converted(self, name: str, column: pa.Array, kind: pa.DataType) -> pa.Array:
        fields = [field for field in self.signature.fields if field.name == name]
        if pa.types.is_string(column.type) and fields and fields[0].type in PARSED:
            return parsed(fields[0], column)  # that of a folder
        return column.cast(kind)


def _once(file: OpenFile) -> list[str]:
    """The columns that can be read by their names."""
    names = file.schema.names
    return [name for name in names if names.count(name) == 1]


def _write(path: Path, kind: str, rows: _Rows) -> None:
    """Write the file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if kind == LINES:
            with draft.open("wb") as sink:
                sink.writelines(_lines(rows))
        else:
            columns = rows.columns(kind)
            tables = _gathered(_tables(rows, columns), rows.batch_rows)
            PART_FORMATS[kind].write(draft, tables, noted_schema(columns))
        check_unchanged(rows.source)
        draft.replace(path)
    except (OSError, pa.ArrowException) as error:
        fix = "Make room, or name another file or format."
        raise ConfigError(problem(str(path), "a file to write", str(error), fix)) from error
    finally:
        draft.unlink(missing_ok=True)


def _lines(rows: _Rows) -> Iterator[bytes]:
    for notes, columns in rows.batches():
        if not rows.source.format.is_lines:
            yield from table_lines(notes, columns)
            continue
        beside = columns.drop_columns([LINE]).to_pylist()
        lines = columns.column(LINE).to_pylist()
        for note, line, folders in zip(notes.to_pylist(), lines, beside, strict=True):
            yield noted_line(line, note, folders, rows.source.text)


def _tables(rows: _Rows, wanted: pa.Schema) -> Iterator[pa.Table]:
    schema = noted_schema(wanted)
    for notes, columns in rows.batches():
        found = columns
        if rows.source.format.is_lines:
            lines, found = columns.column(LINE).to_pylist(), columns.drop_columns([LINE])
            texts = line_texts(lines, wanted.names, rows.source.text)
            for name in texts.column_names:
                if name not in found.column_names:
                    found = found.append_column(name, texts.column(name))
        yield noted_table(notes, found, schema)


def _gathered(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Few and large tables, because each is written as a piece."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(one.num_rows for one in held) >= rows:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if held:
        yield pa.concat_tables(held).combine_chunks()
