"""Asking SQLite; PostgreSQL is asked in tests/conformance."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from twofold.batch.adbc import Failed, ask_postgresql, ask_sqlite


def test_sqlite_is_opened_for_reading_only(tmp_path: Path) -> None:
    path = tmp_path / "a b?c.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (n INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(40_000)])
    connection.close()
    with ask_sqlite(str(path), "SELECT n FROM t") as reader:
        batches = [batch.num_rows for batch in reader]
    assert sum(batches) == 40_000
    assert max(batches) <= 16_384
    with pytest.raises(Failed, match="readonly"), ask_sqlite(str(path), "DELETE FROM t"):
        pass


def test_a_server_that_is_not_there_is_said() -> None:
    with (
        pytest.raises(Failed, match="Connection refused"),
        ask_postgresql("postgresql://me@127.0.0.1:1/db", "SELECT 1"),
    ):
        pass
