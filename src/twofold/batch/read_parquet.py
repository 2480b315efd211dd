"""Reading Parquet files, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from twofold.batch.chunks import Rows, drop_rows

BUFFER_BYTES = 1 << 20
"""Read from a column at a time: a whole column chunk need never be in memory."""

MAX_CODE_BYTES = 4
"""A value's part in a column of codes is less. Writers give codes up where there are too many."""


def describe(path: Path) -> tuple[pa.Schema, int | None]:
    """Give a file's columns and its number of rows."""
    with pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def read(
    path: Path,
    columns: Sequence[str],
    *,
    codable: Collection[str] = (),
    first_row: int,
    batch_rows: int,
) -> Iterator[Rows]:
    """Read the named columns from a row on; row groups that lie before it are not touched."""
    metadata = pq.read_metadata(path)
    with pq.ParquetFile(
        path,
        metadata=metadata,
        buffer_size=BUFFER_BYTES,
        pre_buffer=False,
        read_dictionary=_coded(metadata, codable),
    ) as file:
        groups = file.metadata.num_row_groups
        group = 0
        while group < groups and first_row >= file.metadata.row_group(group).num_rows:
            first_row -= file.metadata.row_group(group).num_rows
            group += 1
        batches = file.iter_batches(
            batch_size=batch_rows, row_groups=range(group, groups), columns=list(columns)
        )
        yield from drop_rows((Rows(batch.select(list(columns))) for batch in batches), first_row)


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
