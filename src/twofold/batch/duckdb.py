"""DuckDB: its own files, to read and to write, and what its readers read, in bounded memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Any

import pyarrow as pa

from twofold.errors import missing_extra

BATCH_ROWS = 16_384
LOCK_WAIT_S = 300
"""How long a file is waited for that another process has open."""
LOCK_RETRY_S = 0.1
INCOMING = "twofold_incoming"


class Failed(Exception):
    """The database said no, in these words."""


class Conflict(Failed):
    """Another transaction did the same at the same time, and was first."""


class Writer:
    """A connection that may write; nothing it did is there before it is told to COMMIT."""

    def __init__(self, connection: Any, duckdb: Any) -> None:
        """Wrap a connection."""
        self._connection = connection
        self._duckdb = duckdb

    def ask(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Execute a statement, with values for $1, $2, ...; give its rows.

        Raises:
            Failed: The database says no.
        """
        with _in_words(self._duckdb):
            return self._connection.execute(sql, values).fetchall()

    def insert(self, schema: str | None, table: str, rows: pa.RecordBatchReader) -> None:
        """Insert rows, column by name, as they come.

        Raises:
            Failed: The database says no.
        """
        place = ".".join(quoted(name) for name in (schema, table) if name is not None)
        with _in_words(self._duckdb):
            self._connection.register(INCOMING, rows)
            try:
                self._connection.execute(f"INSERT INTO {place} BY NAME SELECT * FROM {INCOMING}")  # noqa: S608 - quoted
            finally:
                self._connection.unregister(INCOMING)


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


@contextlib.contextmanager
def write(path: str) -> Generator[Writer]:
    """Open a database to write to, a new one if there is none; one process has it open at a time.

    Raises:
        Failed: It can't be opened.
        ConfigError: The extra isn't installed.
    """
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("duckdb", "duckdb", "writing to DuckDB") from error
    with _in_words(duckdb), _connect(duckdb, path) as connection:
        yield Writer(connection, duckdb)


def _connect(duckdb: Any, path: str) -> Any:
    give_up_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return duckdb.connect(path)
        except duckdb.IOException as error:
            if "lock on file" not in str(error) or time.monotonic() > give_up_s:
                raise
        time.sleep(LOCK_RETRY_S)


def quoted(name: str) -> str:
    """Write a name as SQL has it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


@contextlib.contextmanager
def _in_words(duckdb: Any) -> Generator[None]:
    try:
        yield
    except duckdb.TransactionException as error:
        raise Conflict(str(error)) from error
    except duckdb.ConstraintException as error:
        # So it says, too, that another transaction was first to write a key.
        raise (Conflict if "Duplicate key" in str(error) else Failed)(str(error)) from error
    except duckdb.Error as error:
        raise Failed(str(error)) from error
