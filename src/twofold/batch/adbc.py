"""PostgreSQL and SQLite, over ADBC: rows come as Arrow batches. Nothing can be written."""

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


class Failed(Exception):
    """The database said no, in these words."""


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
    if "connect_timeout=" not in url and "PGCONNECT_TIMEOUT" not in os.environ:
        url += ("&" if "?" in url else "?") + f"connect_timeout={CONNECT_TIMEOUT_S}"
    with _in_words(dbapi), dbapi.connect(url) as connection, connection.cursor() as cursor:
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


def _reader(cursor: Any) -> pa.RecordBatchReader:
    if cursor.description is None or not cursor.description:
        raise Failed("a statement without rows")
    return cursor.fetch_record_batch()


@contextlib.contextmanager
def _in_words(dbapi: Any) -> Generator[None]:
    try:
        yield
    except dbapi.Error as error:
        raise Failed(str(error)) from error
