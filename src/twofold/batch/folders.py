"""Columns whose values stand in the names of folders: `day=2026-01-31/part.parquet`.

Hive, Spark and others lay out tables so: the name before the sign, the value after it, both
with percent signs for what a path can't hold. All values are text here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from twofold.batch.chunks import Rows
from twofold.batch.objects import Place
from twofold.errors import InvalidInput, problem
from twofold.model import arrow

NULL = "__HIVE_DEFAULT_PARTITION__"

Values = Mapping[str, str | None]


def read_folders(path: Place) -> dict[str, str | None]:
    """Give the columns that the folders of a file name, and their values.

    Folders above the one that was given count, too, so that it can be the folder of one day.

    Raises:
        InvalidInput: A column has two values, or isn't UTF-8.
    """
    values: dict[str, str | None] = {}
    # The absolute path, because a resumed run knows the input by it.
    parts = path.absolute().parent.parts if isinstance(path, Path) else path.folders
    for part in parts:
        escaped, sign, after = part.partition("=")
        if not escaped or not sign:
            continue
        try:
            part.encode()
            name, value = unquote(escaped, errors="strict"), unquote(after, errors="strict")
        except UnicodeError as error:
            fix = "Rename the folder."
            raise InvalidInput(
                problem(str(path), "names of folders in UTF-8", repr(part), fix)
            ) from error
        found = None if value == NULL else value
        if values.setdefault(name, found) != found:
            fix = "Rename one of the folders."
            got = f"{values[name]!r} and {found!r}"
            raise InvalidInput(
                problem(f"{path}: {name}", "one value in the names of its folders", got, fix)
            )
    return values


def add_folders(rows: Rows, values: Values) -> Rows:
    """Put columns of the values beside the rows."""
    columns, count = rows.columns, rows.columns.num_rows
    for name, value in values.items():
        columns = columns.append_column(name, _repeated(value, count))
    return Rows(columns, rows.broken)


def check_folders(rows: Rows, values: Values, path: Place) -> None:
    """Check that columns of the file have the values that its folders' names say.

    Raises:
        InvalidInput: One has another.
    """
    for name, value in values.items():
        column = arrow.decoded(rows.columns.column(name))
        other = _first_other(column, value)
        if other is not None:
            raise InvalidInput(
                problem(
                    f"{path}: {name}",
                    f"{value!r}, as the name of its folder says, in every row",
                    f"{other} in the file",
                    "Move the file to its folder, or leave the column out of it.",
                )
            )


def _repeated(value: str | None, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), count)


def _first_other(column: pa.Array, value: str | None) -> str | None:
    try:
        # In the type of the file, where 01 and 1 are the same number.
        wanted = pa.scalar(value, pa.string()).cast(column.type)
    except pa.ArrowException:
        wanted = None
    try:
        distinct = column.unique()
    except pa.ArrowNotImplementedError:  # of lists and the like, none of which is a folder's name
        distinct = column
    for found in distinct:
        if wanted is None or not found.equals(wanted):
            return repr(found.as_py())
    return None
