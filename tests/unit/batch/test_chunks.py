"""Regrouping rows into the batches of a plan."""

from __future__ import annotations

from itertools import accumulate

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.chunks import Broken, Chunk, Rows, cut, drop_rows
from twofold.batch.plan import Plan


def pieces(lengths: list[int]) -> list[Rows]:
    """Rows numbered 0, 1, 2, ..., every third one broken, in pieces of these lengths."""
    ends = list(accumulate(lengths))
    found: list[Rows] = []
    for length, end in zip(lengths, ends, strict=True):
        numbers = range(end - length, end)
        columns = pa.RecordBatch.from_pydict({"n": pa.array(numbers, pa.int64())})
        broken = [Broken(i, "", f"row {n}") for i, n in enumerate(numbers) if n % 3 == 0]
        found.append(Rows(columns, tuple(broken)))
    return found


def numbers_of(chunks: list[Chunk]) -> list[int]:
    return [number for chunk in chunks for number in chunk.rows.columns.column("n").to_pylist()]


@given(
    st.lists(st.integers(0, 12), max_size=12),
    st.builds(Plan, partition_rows=st.integers(1, 20), batch_rows=st.integers(1, 20)),
    st.integers(0, 40),
)
def test_every_row_comes_once_in_order_however_the_rows_came(
    lengths: list[int], plan: Plan, first_row: int
) -> None:
    chunks = list(cut(drop_rows(pieces(lengths), first_row), plan, first_row=first_row))
    total = sum(lengths)
    assert numbers_of(chunks) == list(range(first_row, total))
    for chunk in chunks:
        rows = chunk.rows.columns.num_rows
        assert chunk.first_row + rows in (plan.cut_after(chunk.first_row), total)
        for item in chunk.rows.broken:
            assert item.reason == f"row {chunk.first_row + item.row}"
        wanted = [i for i in range(rows) if (chunk.first_row + i) % 3 == 0]
        assert [item.row for item in chunk.rows.broken] == wanted


def test_rows_of_other_types_start_a_batch_of_their_own() -> None:
    first = Rows(pa.RecordBatch.from_pydict({"n": pa.array([0, 1], pa.int64())}))
    other = Rows(pa.RecordBatch.from_pydict({"n": pa.array([2.5], pa.float64())}))
    chunks = list(cut([first, other], Plan(10, 10), first_row=0))
    assert [(chunk.first_row, chunk.rows.columns.num_rows) for chunk in chunks] == [(0, 2), (2, 1)]
