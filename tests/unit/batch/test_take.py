"""Looking at an input, and taking it."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from twofold.batch.take import Given, look_at, take


def test_files_are_there_at_once_and_a_database_is_not_asked_yet(bench: Any) -> None:
    path = bench.parquet(bench.table([1.0]))
    given = look_at(str(path), None, None)
    assert given.source is not None
    assert take(given, None, None, None, answered=None, clock=None).files == given.files  # type: ignore[arg-type]
    file = bench.folder / "x.db"
    sqlite3.connect(file).close()
    file.touch()
    asked = look_at(f"sqlite:{file}", "no SQL at all", None)
    assert (asked.source, asked.text) == (None, f"sqlite:{file}")


def test_an_input_is_files_or_a_query() -> None:
    with pytest.raises(ValueError, match="files or a query"):
        take(Given("", ""), None, None, None, answered=None, clock=None)  # type: ignore[arg-type]
