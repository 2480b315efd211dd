"""The quarantine: rows set aside with a reason, and how many of them a run may have.

A run's quarantine file is there only if a row was set aside.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twofold.model import arrow

QUARANTINE_FILE = "quarantine.parquet"
SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("key", pa.string()),
        pa.field("field", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


@dataclasses.dataclass(frozen=True)
class SetAside:
    """One row of the quarantine.

    Attributes:
        row: Its number in the input, from 0, over all files.
        key: Its key as text; None without a key column, or where the key is null or unreadable.
        field: The field at fault; empty if the whole row is, or if the model failed on it.
        reason: What was expected, what came, and the fix; or how the model failed.
    """

    row: int
    key: str | None
    field: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Budget:
    """The error budget of a run: how many rows may be set aside.

    Attributes:
        max_ratio: Share of the input's rows.
        max_rows: Rows, however long the input is.
    """

    max_ratio: float
    max_rows: int

    def overdrawn(self, quarantined: int, rows_total: int | None) -> str | None:
        """Say which limit was passed; None if none was.

        Args:
            quarantined: Rows set aside so far.
            rows_total: Rows of the whole input. While it isn't known (None), only `max_rows`
                is judged, so that the verdict doesn't depend on where the bad rows stand.
        """
        if quarantined > self.max_rows:
            return f"at most {self.max_rows} rows set aside (max_quarantined_rows)"
        if rows_total is not None and quarantined > self.max_ratio * rows_total:
            return (
                f"at most {self.max_ratio:g} of {rows_total} rows set aside (max_quarantined_ratio)"
            )
        return None


def read(path: Path) -> pa.Table:
    """Read a quarantine file."""
    with pq.ParquetFile(path) as file:
        return file.read()


def without(
    aside: pa.Table, mended: Collection[int], again: Mapping[int, tuple[str, str]]
) -> pa.Table:
    """Leave out rows that were mended, and say of others what is wrong with them now.

    Args:
        aside: A quarantine.
        mended: Numbers of rows.
        again: Numbers of other rows, and the field and the reason.
    """
    gone = set(mended)
    left: list[SetAside] = []
    for row in aside.to_pylist():
        number = row["row"]
        if number not in gone:
            field, reason = again.get(number, (row["field"], row["reason"]))
            left.append(SetAside(number, row["key"], field, reason))
    return table_of(left)


def part_name(partition: int) -> str:
    """The file of a partition's set-aside rows, until the run is committed."""
    return f"quarantine-{partition:06d}.parquet"


def table_of(rows: Sequence[SetAside]) -> pa.Table:
    """Make the quarantine's table, in the order of the rows."""
    numbers = np.fromiter((row.row for row in rows), np.int64, len(rows))
    columns = [
        arrow.from_numbers(numbers),
        arrow.from_strings([row.key for row in rows]),
        arrow.from_strings([row.field for row in rows]),
        arrow.from_strings([row.reason for row in rows]),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
