"""Reading the rows and keys that a load is made of."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any, cast

import msgspec

from twofold.errors import DeclarationError, InvalidInput, problem
from twofold.lab.requests import Row
from twofold.model.tables import sample_table

MAX_ROWS = 10_000
"""Of a file that are read, and then used in turn."""
LINES = (".jsonl", ".ndjson")


def read_rows(path: Path, *, texts: Collection[str] = ()) -> list[dict[str, Any]]:
    """Read the first rows of a Parquet, CSV, Arrow or JSON lines file.

    Args:
        path: The file.
        texts: Columns of a CSV file that are text, whatever they look like.

    Raises:
        InvalidInput: It can't be read, or has none.
    """
    if path.suffix.lower() in LINES:
        return _read_lines(path)
    try:
        table = sample_table(path, texts=list(texts))
    except DeclarationError as error:
        raise InvalidInput(str(error)) from error
    return table.slice(0, MAX_ROWS).to_pylist()


def read_keys(path: Path, column: str) -> list[str]:
    """Read the first keys of a column, as text.

    Raises:
        InvalidInput: The file can't be read, or has no such column, or no key in it.
    """
    rows = read_rows(path, texts=[column])
    if column not in rows[0]:
        got = ", ".join(rows[0])
        fix = "Name one of these after the colon: FILE:COLUMN."
        raise InvalidInput(problem("keys", f"a column {column!r}", got, fix))
    keys = [str(row[column]) for row in rows if row.get(column) not in (None, "")]
    if not keys:
        raise InvalidInput(problem("keys", "at least one key", "none", "Give a column of keys."))
    return keys


def chosen(rows: list[dict[str, Any]], names: Collection[str]) -> list[Row]:
    """Leave only what a model takes, in its order; all of it, if that isn't known."""
    if not names:
        return list(rows)
    return [{name: row[name] for name in names if name in row} for row in rows]


def _read_lines(path: Path) -> list[dict[str, Any]]:
    fix = "Give one JSON object a line, of a name and a value for each column."
    rows: list[dict[str, Any]] = []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(islice(file, MAX_ROWS), 1):
                row = msgspec.json.decode(line) if line.strip() else None
                if not isinstance(row, dict):
                    where = f"{path}, line {number}"
                    raise InvalidInput(problem(where, "a JSON object", line[:40].decode(), fix))
                rows.append(cast("dict[str, Any]", row))
    except (OSError, UnicodeError, msgspec.DecodeError) as error:
        raise InvalidInput(problem(str(path), "lines of JSON", str(error), fix)) from error
    if not rows:
        raise InvalidInput(problem(str(path), "at least one row", "none", fix))
    return rows
