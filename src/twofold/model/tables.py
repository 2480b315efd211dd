"""Containers of many rows, and files of them, as Arrow tables."""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from twofold.errors import DeclarationError, InvalidInput, problem
from twofold.model import arrow

MATRIX_DIMENSIONS = 2
MAX_SAMPLE_ROWS = 100_000
"""Rows of a sample file that are read; more add time to a pack and nothing to its proof."""


def is_table(data: Any) -> bool:
    """Whether this is a table of named columns: Arrow, pandas, polars, or alike."""
    return isinstance(data, (pa.Table, pa.RecordBatch)) or (
        hasattr(data, "columns") and hasattr(data, "__arrow_c_stream__")
    )


def table_of(data: Any) -> pa.Table:
    """Give a table of named columns as an Arrow table; a pandas index is left out.

    Raises:
        InvalidInput: It isn't such a table.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    try:
        if type(data).__module__.partition(".")[0] == "pandas" and is_table(data):
            return pa.Table.from_pandas(data, preserve_index=False)
        if is_table(data):
            return pa.table(data)
    except (pa.ArrowException, ValueError, TypeError) as error:
        got = " ".join(str(error).split())[:200]
        fix = "Give each column one name and one type."
        raise InvalidInput(problem("data", "a table with typed columns", got, fix)) from error
    raise InvalidInput(
        problem(
            "data",
            "a table (pyarrow, pandas or polars) or a list of rows",
            f"one {type(data).__name__}",
            "Pass a table, or a list of dicts.",
        )
    )


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Give a whole table as one record batch."""
    columns = [arrow.one_chunk(column) for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def sample_table(sample: Any, *, texts: Sequence[str] = ()) -> pa.Table:
    """Read a sample: a Parquet, CSV or Arrow file, a table, or a list of dicts.

    Args:
        sample: The sample.
        texts: Columns of a CSV file that are text, whatever they look like.

    Raises:
        DeclarationError: The file can't be read or has no rows.
    """
    if isinstance(sample, (str, Path)):
        table = _read_file(Path(sample), texts)
        where = str(sample)
    elif isinstance(sample, np.ndarray) and sample.ndim == MATRIX_DIMENSIONS:
        table, where = _of_matrix(sample), "sample"
    elif isinstance(sample, Sequence) and all(isinstance(row, Mapping) for row in sample):
        table, where = _of_rows(sample), "sample"
    else:
        try:
            table, where = table_of(sample), "sample"
        except InvalidInput as error:
            raise DeclarationError(str(error)) from error
    return _not_empty(table, where).slice(0, MAX_SAMPLE_ROWS)


def _of_matrix(matrix: Any) -> pa.Table:
    names = [f"x{index}" for index in range(matrix.shape[1])]
    kind = matrix.dtype.newbyteorder("=")
    if kind not in arrow.ARROW_TYPES and kind != np.bool_:
        fix = "Give numbers, or a table with named columns."
        raise DeclarationError(problem("sample", "a matrix of numbers", str(matrix.dtype), fix))
    columns = [arrow.from_numbers(np.ascontiguousarray(column, kind)) for column in matrix.T]
    return pa.Table.from_arrays(columns, names=names)


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of all their names; what a row doesn't have is null."""
    names = dict.fromkeys(str(name) for row in rows for name in row)
    found = {name: [row.get(name) for row in rows] for name in names}
    try:
        return pa.table(found)
    except (pa.ArrowException, TypeError) as error:
        got = " ".join(str(error).split())[:200]
        fix = "Give each field values of one type in all rows."
        raise DeclarationError(problem("sample", "rows of typed values", got, fix)) from error


def is_csv(path: Path) -> bool:
    """Whether a file has text only, to be parsed as the signature says."""
    return path.suffix.lower() == ".csv"


def text_table(path: Path) -> pa.Table:
    """Read a CSV file with every value as text, as batch runs do.

    Raises:
        DeclarationError: It can't be read.
    """
    _check_is_file(path)
    with _readable(path):
        with path.open(encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), [])
        table = _read_csv(path, names)
    return _not_empty(table, str(path)).slice(0, MAX_SAMPLE_ROWS)


def _check_is_file(path: Path) -> None:
    if not path.is_file():
        raise DeclarationError(problem(str(path), "a file", "nothing there", "Mend the path."))


def _not_empty(table: pa.Table, where: str) -> pa.Table:
    if not table.num_rows or not table.num_columns:
        raise DeclarationError(
            problem(where, "at least one row", "none", "Give rows like those to be predicted.")
        )
    return table


@contextlib.contextmanager
def _readable(path: Path) -> Generator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeError, csv.Error) as error:
        fix = "Look whether it is whole and may be read."
        raise DeclarationError(
            problem(str(path), f"a readable {path.suffix} file", str(error), fix)
        ) from error


def _read_file(path: Path, texts: Sequence[str]) -> pa.Table:
    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".parquet": _read_parquet,
        ".csv": lambda path: _read_csv(path, texts),
        ".arrow": _read_arrow,
        ".feather": _read_arrow,
        ".ipc": _read_arrow,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DeclarationError(
            problem(
                str(path),
                "a .parquet, .csv or .arrow file",
                f"the suffix {path.suffix!r}",
                "Convert the sample to one of these.",
            )
        )
    _check_is_file(path)
    with _readable(path):
        return reader(path)


def _read_parquet(path: Path) -> pa.Table:
    import pyarrow.parquet as pq  # noqa: PLC0415 - 30 ms that serving never needs

    with pq.ParquetFile(path) as file:
        batches: list[pa.RecordBatch] = []
        rows = 0
        for batch in file.iter_batches(batch_size=MAX_SAMPLE_ROWS):
            batches.append(batch)
            rows += batch.num_rows
            if rows >= MAX_SAMPLE_ROWS:
                break
        return pa.Table.from_batches(batches, file.schema_arrow)


def _read_csv(path: Path, texts: Sequence[str]) -> pa.Table:
    import pyarrow.csv as pcsv  # noqa: PLC0415 - as above

    options = pcsv.ConvertOptions(
        column_types=dict.fromkeys(texts, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        true_values=["true", "True", "TRUE"],
        false_values=["false", "False", "FALSE"],
    )
    return pcsv.read_csv(path, convert_options=options)


def _read_arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_file(source).read_all()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).read_all()


def pandas_categoricals(schema: pa.Schema) -> set[str]:
    """The columns that pandas wrote as categoricals."""
    names = {field.name for field in schema if pa.types.is_dictionary(field.type)}
    described = (schema.metadata or {}).get(b"pandas")
    if described:
        for column in json.loads(described).get("columns", []):
            if column.get("pandas_type") == "categorical":
                names.add(column.get("name"))
    return names
