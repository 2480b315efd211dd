"""Reading Parquet files, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from twofold.batch.chunks import Rows, drop_rows

BUFFER_BYTES = 1 << 20
"""Read from a column at a time: a whole column chunk need never be in memory."""


def describe(path: Path) -> tuple[pa.Schema, int | None]:
    """Give a file's columns and its number of rows."""
    with pq.ParquetFile(path) as file:
        return file.schema_arrow, file.metadata.num_rows


def read(path: Path, columns: Sequence[str], *, first_row: int, batch_rows: int) -> Iterator[Rows]:
    """Read the named columns from a row on; row groups that lie before it are not touched."""
    with pq.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as file:
        groups = file.metadata.num_row_groups
        group = 0
        while group < groups and first_row >= file.metadata.row_group(group).num_rows:
            first_row -= file.metadata.row_group(group).num_rows
            group += 1
        batches = file.iter_batches(
            batch_size=batch_rows, row_groups=range(group, groups), columns=list(columns)
        )
        yield from drop_rows((Rows(batch.select(list(columns))) for batch in batches), first_row)
