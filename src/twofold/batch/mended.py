"""Mended rows: whether they belong to a run's quarantine, and where in its parts they go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from twofold.errors import InvalidInput, problem
from twofold.model import arrow

ROW = "row"
"""The column that says where a mended row belongs; the quarantine calls it so, too."""
LINE_NOTE = "line"
"""Stands for the members of a line that was no object."""
NOTES = ("field", "reason", LINE_NOTE)
"""Columns beside the rows set aside, which a mended file may still have."""

Keys = Mapping[int, str | None]
"""Row numbers to keys as text."""


def row_numbers(texts: Sequence[str | None], where: str) -> list[int]:
    """Read row numbers.

    Raises:
        InvalidInput: One is none, or comes twice.
    """
    found: list[int] = []
    seen: set[int] = set()
    for text in texts:
        if text is None or not text.isdecimal():
            fix = "Copy the number from the quarantine."
            got = "null" if text is None else repr(text)
            raise InvalidInput(problem(f"{where}: {ROW}", "the number of a row", got, fix))
        number = int(text)
        if number in seen:
            raise InvalidInput(
                problem(f"{where}: {ROW} {number}", "each row once", "it twice", "Remove one.")
            )
        seen.add(number)
        found.append(number)
    return found


def check_places(given: Keys, aside: Keys, where: str) -> None:
    """Check that rows are some of those set aside, by number and by key.

    Args:
        given: The rows to put in; None where a key isn't known.
        aside: The run's quarantine; None where a key couldn't be read.
        where: How messages call the input.

    Raises:
        InvalidInput: A row isn't in the quarantine, or has another key there.
    """
    for number, key in given.items():
        place = f"{where}: {ROW} {number}"
        if number not in aside:
            fix = "Give rows of the quarantine only, by the numbers they have there."
            got = "one that was predicted, or that the run doesn't have"
            raise InvalidInput(problem(place, "a row of the quarantine", got, fix))
        wanted = aside[number]
        if key is not None and wanted is not None and key != wanted:
            fix = "Mend the number or the key."
            raise InvalidInput(problem(place, f"the key {wanted!r}", repr(key), fix))


def place(
    part: pa.Table, first_row: int, aside: Iterable[int], mended: pa.Table, rows: Sequence[int]
) -> pa.Table:
    """Put mended rows where the input had them.

    Args:
        part: A partition's predicted rows, in the order of the input.
        first_row: Number of the partition's first row in the input.
        aside: Numbers of its rows that were set aside, all of them.
        mended: Rows with the columns of `part`.
        rows: Their numbers; each is one of `aside`.

    Returns:
        All of them, in the order of the input, in one piece.
    """
    out = np.fromiter(aside, np.int64)
    every = np.arange(first_row, first_row + part.num_rows + len(out))
    there = np.setdiff1d(every, out, assume_unique=True)
    order = np.argsort(np.concatenate([there, np.asarray(rows, np.int64)]), kind="stable")
    both = pa.concat_tables([part, mended.cast(part.schema)]).unify_dictionaries()
    return both.combine_chunks().take(arrow.from_numbers(order.astype(np.int64)))
