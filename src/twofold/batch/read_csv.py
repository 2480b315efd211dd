"""Reading CSV files: commas, a header line, UTF-8; every value as text.

An empty cell is null, `""` is the empty string. A row with too few or too many cells, or with
bytes that aren't UTF-8, is handed on as broken and harms no other row.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from twofold.batch.chunks import Broken, Rows, drop_rows
from twofold.batch.objects import Place
from twofold.model import arrow

BLOCK_BYTES = 4 << 20
"""Parsed at a time; no row may be longer."""
FIRST_DATA_ROW = 2
"""The parser counts rows from 1, and the header is one."""


@dataclasses.dataclass(frozen=True)
class _Ragged:
    """A row whose number of cells isn't the header's, by its position in the file."""

    row: int
    expected_cells: int
    got_cells: int

    @property
    def reason(self) -> str:
        return (
            f"expected {self.expected_cells} cells like the header, got {self.got_cells}. "
            "Mend the line; put text with a comma or a line break in double quotes."
        )


def describe(path: Place) -> tuple[pa.Schema, int | None]:
    """Give a file's columns; how many rows there are shows only in reading, unless none."""
    with io.TextIOWrapper(
        path.open("rb"), newline="", encoding="utf-8-sig", errors="surrogateescape"
    ) as file:
        lines = (line for line in csv.reader(file) if line)
        try:
            names = next(lines, None)
        except csv.Error as error:
            raise pa.ArrowInvalid(f"a header line that can't be read: {error}") from error
        if names is None:
            raise pa.ArrowInvalid("no header line")
        try:
            "".join(names).encode()
        except UnicodeEncodeError as error:
            raise pa.ArrowInvalid("a header line that isn't UTF-8") from error
        schema = pa.schema([(name, pa.string()) for name in names])
        try:
            return schema, 0 if next(lines, None) is None else None
        except csv.Error:
            return schema, None


def read(
    path: Place,
    columns: Sequence[str],
    *,
    codable: Collection[str] = (),  # noqa: ARG001 - text comes as the file has it
    first_row: int,
    batch_rows: int,
) -> Iterator[Rows]:
    """Read the named columns from a row on; the rows before it are parsed and dropped."""
    if describe(path)[1] == 0:
        return
    for rows in drop_rows(_read(path, columns), first_row):
        for start in range(0, rows.columns.num_rows, batch_rows):
            yield rows.slice(start, min(start + batch_rows, rows.columns.num_rows))


def _read(path: Place, columns: Sequence[str]) -> Iterator[Rows]:
    ragged: deque[_Ragged] = deque()

    def set_aside(row: Any) -> str:
        ragged.append(
            _Ragged(row.number - FIRST_DATA_ROW, row.expected_columns, row.actual_columns)
        )
        return "skip"

    reader = arrow_csv.open_csv(
        path if isinstance(path, Path) else path.open(),
        # Only a single thread knows the number of a row it sets aside.
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
        parse_options=arrow_csv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=set_aside
        ),
        # As bytes, because one cell that isn't UTF-8 would make the whole block unreadable.
        convert_options=arrow_csv.ConvertOptions(
            column_types={name: pa.binary() for name in columns},
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    row = 0
    with reader:
        for batch in reader:
            rows = _with_ragged(_decoded(batch), ragged, row)
            row += rows.columns.num_rows
            yield rows
        if ragged:
            nothing = pa.RecordBatch.from_arrays(
                [pa.nulls(0, pa.string()) for _ in columns], names=list(columns)
            )
            yield _with_ragged(Rows(nothing), ragged, row, at_end=True)


def _with_ragged(
    rows: Rows, ragged: deque[_Ragged], first_row: int, *, at_end: bool = False
) -> Rows:
    """Put a row of nulls wherever the parser skipped one."""
    good = rows.columns.num_rows
    skipped: list[_Ragged] = []
    while ragged and (at_end or ragged[0].row < first_row + good + len(skipped)):
        skipped.append(ragged.popleft())
    if not skipped:
        return rows
    is_gap = np.zeros(good + len(skipped), np.bool_)
    is_gap[[item.row - first_row for item in skipped]] = True
    source = np.cumsum(~is_gap, dtype=np.int64) - 1
    places = np.flatnonzero(~is_gap)
    broken = [dataclasses.replace(item, row=int(places[item.row])) for item in rows.broken]
    broken += [Broken(item.row - first_row, "", item.reason) for item in skipped]
    columns = rows.columns.take(arrow.from_numbers(np.maximum(source, 0), is_gap))
    return Rows(columns, tuple(sorted(broken, key=lambda item: item.row)))


def _decoded(batch: pa.RecordBatch) -> Rows:
    columns: list[pa.Array] = []
    broken: dict[int, Broken] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            columns.append(column.cast(pa.string()))
        except pa.ArrowInvalid:
            texts, wrong = _decoded_one_by_one(column)
            columns.append(texts)
            for row in wrong:
                reason = "expected UTF-8 text, got other bytes. Save the file as UTF-8."
                broken.setdefault(row, Broken(row, name, reason))
    decoded = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    return Rows(decoded, tuple(broken[row] for row in sorted(broken)))


def _decoded_one_by_one(column: pa.Array) -> tuple[pa.Array, list[int]]:
    texts: list[str | None] = []
    wrong: list[int] = []
    for row, value in enumerate(column.to_pylist()):
        try:
            texts.append(None if value is None else value.decode())
        except UnicodeDecodeError:
            texts.append(None)
            wrong.append(row)
    return arrow.from_strings(texts), wrong
