"""Asking DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from twofold.batch.duckdb import Failed, ask


def test_a_file_is_opened_for_reading_only(tmp_path: Path) -> None:
    path = str(tmp_path / "x.duckdb")
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE t AS SELECT range AS n FROM range(40000)")
    with ask(path, "SELECT n FROM t") as reader:
        batches = [batch.num_rows for batch in reader]
    assert sum(batches) == 40_000
    assert max(batches) <= 16_384
    for statement in ("DELETE FROM t", "CREATE TABLE u (n INT)", "SELECT frob", ""):
        with pytest.raises(Failed), ask(path, statement):
            pass
