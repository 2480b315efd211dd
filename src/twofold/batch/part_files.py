"""The files a run writes, one format each: Parquet, CSV or Arrow IPC.

The same rows give the same bytes, so that a resumed run can be told from no other. Files are
opened by Python, not by Arrow, which doesn't say why a file can't be closed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from twofold.errors import InvalidInput, problem

COMPRESSION = "zstd"
COMPRESSION_LEVEL = 1
NOT_IN_CSV = (
    pa.types.is_nested,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_duration,
)
"""What has no form in CSV that a reader would take for the same again."""


@dataclasses.dataclass(frozen=True)
class PartFormat:
    """A format of part files.

    Attributes:
        name: What the manifest and `--format` call it.
        suffix: How its files' names end.
        compression: What the manifest says of it; empty for none.
        write: Writes tables of one schema to a new file, and gives the number of rows.
        count: Reads back how many rows a file has.
        read: Reads a file back; None if it doesn't say the types of its columns.
    """

    name: str
    suffix: str
    compression: str
    write: Callable[[Path, Iterable[pa.Table], pa.Schema], int]
    count: Callable[[Path], int]
    read: Callable[[Path], pa.Table] | None


def _write_parquet(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    rows = 0
    with (
        path.open("wb") as sink,
        pq.ParquetWriter(
            sink,
            schema,
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=_repetitive(schema),  # type: ignore[arg-type] - names will do
        ) as writer,
    ):
        for table in tables:
            rows += table.num_rows
            writer.write_table(table, row_group_size=max(1, table.num_rows))
    return rows


def _count_parquet(path: Path) -> int:
    with pq.ParquetFile(path) as file:
        return file.metadata.num_rows


def _read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def _write_arrow(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    rows = 0
    options = pa.ipc.IpcWriteOptions(compression=COMPRESSION)
    with (
        path.open("wb") as sink,
        pa.ipc.new_file(sink, schema, options=options) as writer,
    ):
        for table in tables:
            rows += table.num_rows
            writer.write_table(table)
    return rows


def _count_arrow(path: Path) -> int:
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return sum(reader.get_batch(at).num_rows for at in range(reader.num_record_batches))


def _read_arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _write_csv(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    rows = 0
    plain = pa.schema([field.with_type(_written_out(field.type)) for field in schema])
    with path.open("wb") as sink, arrow_csv.CSVWriter(sink, plain) as writer:
        for table in tables:
            rows += table.num_rows
            writer.write_table(table.cast(plain))
    return rows


def _count_csv(path: Path) -> int:
    options = arrow_csv.ParseOptions(newlines_in_values=True)
    with arrow_csv.open_csv(str(path), parse_options=options) as reader:
        return sum(batch.num_rows for batch in reader)


PARQUET = PartFormat(
    "parquet", ".parquet", COMPRESSION, _write_parquet, _count_parquet, _read_parquet
)
PART_FORMATS = {
    known.name: known
    for known in (
        PARQUET,
        PartFormat("csv", ".csv", "", _write_csv, _count_csv, None),
        PartFormat("arrow", ".arrow", COMPRESSION, _write_arrow, _count_arrow, _read_arrow),
    )
}


def part_format(name: str) -> PartFormat:
    """Give the format of a name.

    Raises:
        InvalidInput: There is none.
    """
    found = PART_FORMATS.get(name)
    if found is None:
        known = ", ".join(PART_FORMATS)
        raise InvalidInput(problem("--format", f"one of {known}", name, "Choose one of them."))
    return found


def check_writable(known: PartFormat, schema: pa.Schema) -> None:
    """Check that the format can hold every column.

    Raises:
        InvalidInput: It can't; the message names the column.
    """
    if known.name != "csv":
        return
    for field in schema:
        if any(is_such(_written_out(field.type)) for is_such in NOT_IN_CSV):
            fix = "Leave it out of --keep, or choose --format parquet."
            raise InvalidInput(
                problem(f"--format csv: {field.name}", "a type CSV has", str(field.type), fix)
            )


def _written_out(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _repetitive(schema: pa.Schema) -> list[str]:
    """The columns that dictionaries make smaller.

    Of keys and predictions hardly two are alike: looking for it takes longer than all else in
    writing them.
    """
    return [
        field.name
        for field in schema
        if not pa.types.is_floating(field.type) and not pa.types.is_integer(field.type)
    ]
