"""Rows on their way from the input to the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Iterator

import pyarrow as pa

from twofold.batch.plan import Plan
from twofold.model.tables import one_batch


@dataclasses.dataclass(frozen=True)
class Broken:
    """A row that could not be read; a row of nulls stands in its place.

    Attributes:
        row: Its index among the rows it comes with.
        field: The column at fault; empty if the whole row is.
        reason: What is wrong with it, and the fix.
    """

    row: int
    field: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Rows:
    """Some rows of a file, in its order, and which of them are broken (by index, ascending)."""

    columns: pa.RecordBatch
    broken: tuple[Broken, ...] = ()

    def slice(self, start: int, stop: int) -> Rows:
        """The rows from `start` to `stop` (exclusive)."""
        broken = tuple(
            dataclasses.replace(item, row=item.row - start)
            for item in self.broken
            if start <= item.row < stop
        )
        return Rows(self.columns.slice(start, stop - start), broken)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One batch of the plan: rows that the model is given at once.

    Attributes:
        first_row: Number of the first row, over the whole input.
        rows: Every row, the broken ones included.
    """

    first_row: int
    rows: Rows


def drop_rows(source: Iterable[Rows], count: int) -> Iterator[Rows]:
    """Leave out the first `count` rows."""
    for rows in source:
        total = rows.columns.num_rows
        if count >= total:
            count -= total
            continue
        yield rows.slice(count, total) if count else rows
        count = 0


def cut(source: Iterable[Rows], plan: Plan, *, first_row: int) -> Generator[Chunk]:
    """Regroup rows, however they come, into the batches of the plan.

    Args:
        source: Rows in input order.
        plan: Where batches end.
        first_row: Number of the first row of `source`.

    Yields:
        Batches in input order. One is shorter than planned only where the input ends, or where
        one file's columns have other Arrow types than the next one's.
    """
    held: list[Rows] = []
    count = 0
    for rows in source:
        if held and not held[0].columns.schema.equals(rows.columns.schema):
            yield Chunk(first_row, _joined(held))
            first_row, held, count = first_row + count, [], 0
        rest, total = rows, rows.columns.num_rows
        while count + total >= (wanted := plan.cut_after(first_row) - first_row):
            need = wanted - count
            yield Chunk(first_row, _joined([*held, rest.slice(0, need)]))
            rest, total = rest.slice(need, total), total - need
            first_row, held, count = first_row + wanted, [], 0
        if total:
            held.append(rest)
            count += total
    if count:
        yield Chunk(first_row, _joined(held))


def _joined(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    broken: list[Broken] = []
    start = 0
    for part in parts:
        broken += [dataclasses.replace(item, row=item.row + start) for item in part.broken]
        start += part.columns.num_rows
    table = pa.Table.from_batches([part.columns for part in parts])
    return Rows(one_batch(table), tuple(broken))
