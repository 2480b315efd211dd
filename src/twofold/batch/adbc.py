"""PostgreSQL and SQLite, over ADBC: rows come and go as Arrow batches.

What asks can't write; what writes is told by its caller where a transaction begins and ends.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from twofold.errors import missing_extra

CONNECT_TIMEOUT_S = 10
"""For PostgreSQL, unless the URL or PGCONNECT_TIMEOUT says otherwise."""
BATCH_BYTES = 8 << 20
"""A batch of PostgreSQL's, about."""
BATCH_ROWS = 16_384
"""A batch of SQLite's; the first one decides on the types of the columns."""


LOCK_WAIT_S = 300
"""How long a transaction waits for another one that writes to the same table."""


class Failed(Exception):
    """The database said no, in these words.

    Attributes:
        code: SQLSTATE, if the server gave one: then it was there to refuse.
    """

    def __init__(self, words: str, code: str | None = None) -> None:
        """Keep its words."""
        super().__init__(words)
        self.code = code


class Writer:
    """A connection that may write; nothing it did is there before it is told to COMMIT."""

    def __init__(self, cursor: Any, dbapi: Any) -> None:
        """Wrap the cursor of a connection that begins no transaction by itself."""
        self._cursor = cursor
        self._dbapi = dbapi

    def ask(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Execute a statement, with values for $1, $2, ... in this order; give its rows.

        Raises:
            Failed: The database says no.
        """
        with _in_words(self._dbapi):
            self._cursor.execute(sql, values or None)
            return self._cursor.fetchall() if self._cursor.description else []

    def insert(self, schema: str | None, table: str, rows: pa.RecordBatchReader) -> None:
        """Insert rows, column by name, as they come.

        Raises:
            Failed: The database says no.
        """
        with _in_words(self._dbapi):
            self._cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)


@contextlib.contextmanager
def ask_postgresql(url: str, query: str) -> Generator[pa.RecordBatchReader]:
    """Ask in one read-only transaction, as libpq connects: PGPASSWORD, ~/.pgpass, services.

    Raises:
        Failed: The database can't be reached, or refuses the query.
        ConfigError: The extra isn't installed.
    """
    try:
        from adbc_driver_postgresql import StatementOptions, dbapi  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("adbc-driver-postgresql", "sql", "asking PostgreSQL") from error
    address = _with_timeout(url)
    with _in_words(dbapi), dbapi.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        size = {StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH_BYTES)}
        cursor.adbc_statement.set_options(**size)
        cursor.execute(query)
        yield _reader(cursor)


@contextlib.contextmanager
def ask_sqlite(path: str, query: str) -> Generator[pa.RecordBatchReader]:
    """Ask a database that is opened for reading only.

    Raises:
        Failed: The file is no database, or the query is refused.
        ConfigError: The extra isn't installed.
    """
    try:
        from adbc_driver_sqlite import StatementOptions, dbapi  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("adbc-driver-sqlite", "sql", "asking SQLite") from error
    uri = f"file:{quote(path)}?mode=ro"
    with _in_words(dbapi), dbapi.connect(uri) as connection, connection.cursor() as cursor:
        size = {StatementOptions.BATCH_ROWS.value: str(BATCH_ROWS)}
        cursor.adbc_statement.set_options(**size)
        cursor.execute(query)
        yield _reader(cursor)


@contextlib.contextmanager
def write_postgresql(url: str) -> Generator[Writer]:
    """Connect to write.

    Raises:
        Failed: The database can't be reached.
        ConfigError: The extra isn't installed.
    """
    try:
        from adbc_driver_postgresql import dbapi  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("adbc-driver-postgresql", "sql", "writing to PostgreSQL") from error
    with (
        _in_words(dbapi),
        dbapi.connect(_with_timeout(url), autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
        yield Writer(cursor, dbapi)


@contextlib.contextmanager
def write_sqlite(path: str) -> Generator[Writer]:
    """Open a database to write to; a new one if there is none.

    Raises:
        Failed: It can't be opened.
        ConfigError: The extra isn't installed.
    """
    try:
        from adbc_driver_sqlite import dbapi  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("adbc-driver-sqlite", "sql", "writing to SQLite") from error
    uri = f"file:{quote(path)}"
    with (
        _in_words(dbapi),
        dbapi.connect(uri, autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"PRAGMA busy_timeout = {LOCK_WAIT_S * 1000}")
        cursor.fetchall()
        yield Writer(cursor, dbapi)


def _with_timeout(url: str) -> str:
    if "connect_timeout=" in url or "PGCONNECT_TIMEOUT" in os.environ:
        return url
    return url + ("&" if "?" in url else "?") + f"connect_timeout={CONNECT_TIMEOUT_S}"


def _reader(cursor: Any) -> pa.RecordBatchReader:
    if cursor.description is None or not cursor.description:
        raise Failed("a statement without rows")
    return cursor.fetch_record_batch()


@contextlib.contextmanager
def _in_words(dbapi: Any) -> Generator[None]:
    try:
        yield
    except dbapi.Error as error:
        raise Failed(str(error), getattr(error, "sqlstate", None)) from error
