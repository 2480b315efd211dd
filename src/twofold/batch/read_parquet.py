"""Reading Parquet files, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from twofold.batch.chunks import Rows, drop_rows
from twofold.batch.objects import ObjectFile, Place

BUFFER_BYTES = 1 << 20
"""Read from a column at a time: a whole column chunk need never be in memory."""

MAX_CODE_BYTES = 4
"""A value's part in a column of codes is less. Writers give codes up where there are too many."""


def describe(path: Place) -> tuple[pa.Schema, int | None]:
    """Give a file's columns and its number of rows."""
    with pq.ParquetFile(path if isinstance(path, Path) else path.read()) as file:
        return file.schema_arrow, file.metadata.num_rows


def read(
    path: Place,
    columns: Sequence[str],
    *,
    codable: Collection[str] = (),
    first_row: int,
    batch_rows: int,
) -> Iterator[Rows]:
    """Read the named columns from a row on; row groups that lie before it are not touched."""
    if isinstance(path, ObjectFile):
        batches = _read_object(path, columns, codable, first_row, batch_rows)
    else:
        batches = _read_file(path, columns, codable, first_row, batch_rows)
    for batch in batches:
        yield Rows(batch.select(list(columns)))


def _read_file(
    path: Path,
    columns: Sequence[str],
    codable: Collection[str],
    first_row: int,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    metadata = pq.read_metadata(path)
    with pq.ParquetFile(
        path,
        metadata=metadata,
        buffer_size=BUFFER_BYTES,
        pre_buffer=False,
        read_dictionary=_coded(metadata, codable),
    ) as file:
        group, first_row = _group_of(metadata, first_row)
        batches = file.iter_batches(
            batch_size=batch_rows,
            row_groups=range(group, metadata.num_row_groups),
            columns=list(columns),
        )
        yield from (rows.columns for rows in drop_rows(map(Rows, batches), first_row))


def _read_object(
    path: ObjectFile,
    columns: Sequence[str],
    codable: Collection[str],
    first_row: int,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Read row group by row group, each of them in as few requests as memory allows."""
    source = path.read()
    metadata = pq.read_metadata(source)
    with pq.ParquetFile(
        source,
        metadata=metadata,
        buffer_size=BUFFER_BYTES,
        pre_buffer=False,
        read_dictionary=_coded(metadata, codable),
    ) as file:
        first, first_row = _group_of(metadata, first_row)
        for group in range(first, metadata.num_row_groups):
            source.plan(_spans(metadata.row_group(group), columns))
            batches = file.iter_batches(
                batch_size=batch_rows, row_groups=[group], columns=list(columns)
            )
            yield from (rows.columns for rows in drop_rows(map(Rows, batches), first_row))
            first_row = 0


def _group_of(metadata: pq.FileMetaData, first_row: int) -> tuple[int, int]:
    """The row group that a row lies in, and the number of the row within it."""
    group = 0
    while group < metadata.num_row_groups and first_row >= metadata.row_group(group).num_rows:
        first_row -= metadata.row_group(group).num_rows
        group += 1
    return group, first_row


def _spans(group: pq.RowGroupMetaData, columns: Collection[str]) -> list[tuple[int, int]]:
    """Where the columns of a row group lie in the file."""
    found: list[tuple[int, int]] = []
    for index in range(group.num_columns):
        chunk = group.column(index)
        if chunk.path_in_schema in columns or chunk.path_in_schema.partition(".")[0] in columns:
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            found.append((start, start + chunk.total_compressed_size))
    return found


def _coded(metadata: pq.FileMetaData, codable: Collection[str]) -> list[str]:
    """Those of the columns whose text the file itself has as codes, not written out."""
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(0)
    chunks = [group.column(index) for index in range(group.num_columns)]
    return [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.path_in_schema in codable
        and "." not in chunk.path_in_schema  # pyarrow takes it for a path, which may be another's
        and chunk.has_dictionary_page
        and chunk.total_uncompressed_size < MAX_CODE_BYTES * chunk.num_values
    ]
