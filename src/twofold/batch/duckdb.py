"""DuckDB: its own files, and what its readers read, in memory that has a limit."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import pyarrow as pa

from twofold.errors import missing_extra

BATCH_ROWS = 16_384


class Failed(Exception):
    """The database said no, in these words."""


@contextlib.contextmanager
def ask(path: str, query: str) -> Generator[pa.RecordBatchReader]:
    """Ask a database that is opened for reading only; of no path, an empty one in memory.

    Raises:
        Failed: The file is no database, or the query is refused.
        ConfigError: The extra isn't installed.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("duckdb", "duckdb", "asking DuckDB") from error
    try:
        with duckdb.connect(path or ":memory:", read_only=bool(path)) as connection:
            # None if there is nothing to read, whatever the types say.
            relation: Any = connection.sql(query)
            if relation is None:
                raise Failed("a statement without rows")
            yield relation.to_arrow_reader(BATCH_ROWS)
    except duckdb.Error as error:
        raise Failed(str(error)) from error
