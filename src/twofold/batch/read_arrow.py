"""Reading Arrow IPC files (also called Feather 2) and streams, in bounded memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import ipc

from twofold.batch.chunks import Rows, drop_rows
from twofold.batch.objects import Place

FILE_MAGIC = b"ARROW1"


def describe(path: Place) -> tuple[pa.Schema, int | None]:
    """Give a file's columns and its number of rows; a stream doesn't know how many it has."""
    if not _is_file_format(path):
        with _opened(path) as source, ipc.open_stream(source) as stream:
            return stream.schema, None
    with _opened(path) as source:
        schema = ipc.open_file(source).schema
        if not isinstance(path, Path):
            return schema, None  # counting takes a request for each record batch
        # One column is enough to count rows, where compressed ones cost time to open.
        reader = ipc.open_file(source, options=ipc.IpcReadOptions(included_fields=[0]))
        batches = range(reader.num_record_batches)
        return schema, sum(reader.get_batch(index).num_rows for index in batches)


def read(
    path: Place,
    columns: Sequence[str],
    *,
    codable: Collection[str] = (),  # noqa: ARG001 - text comes as the file has it
    first_row: int,
    batch_rows: int,
) -> Iterator[Rows]:
    """Read the named columns from a row on, `batch_rows` at most at a time.

    A file on disk is mapped, so that a record batch of any size costs only the pages being read;
    of an object, the needed columns of one record batch are in memory.
    """
    with _opened(path) as source:
        found = (Rows(batch.select(list(columns))) for batch in _batches(path, source, columns))
        for rows in drop_rows(found, first_row):
            for start in range(0, rows.columns.num_rows, batch_rows):
                yield Rows(rows.columns.slice(start, batch_rows))


def _batches(
    path: Place, source: pa.NativeFile, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    schema, _ = describe(path)
    wanted = sorted(schema.get_field_index(name) for name in columns)
    options = ipc.IpcReadOptions(included_fields=wanted)
    if _is_file_format(path):
        reader = ipc.open_file(source, options=options)
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        with ipc.open_stream(source, options=options) as stream:
            yield from stream


def _opened(path: Place) -> pa.NativeFile:
    return pa.memory_map(str(path)) if isinstance(path, Path) else pa.PythonFile(path.read(), "r")


def _is_file_format(path: Place) -> bool:
    with path.open("rb") as file:
        return file.read(len(FILE_MAGIC)) == FILE_MAGIC
