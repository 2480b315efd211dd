"""How an input is sliced."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.plan import Plan, part_name, repaired_quarantine

plans = st.builds(Plan, partition_rows=st.integers(1, 50), batch_rows=st.integers(1, 50))


@given(plans, st.integers(0, 10_000))
def test_batch_ends_after_its_row_and_never_beyond_its_partition(plan: Plan, row: int) -> None:
    end = plan.cut_after(row)
    assert row < end <= row + plan.batch_rows
    assert plan.partition_of(end - 1) == plan.partition_of(row)


@given(plans, st.integers(0, 300))
def test_the_same_row_falls_into_the_same_batch_wherever_reading_began(
    plan: Plan, row: int
) -> None:
    end = plan.cut_after(row)
    assert all(plan.cut_after(inside) == end for inside in range(row, end))


def test_part_names_sort_in_the_order_of_the_rows() -> None:
    names = [part_name(index, ".parquet") for index in (0, 1, 9, 10, 99_999, 100_000)]
    assert names == sorted(names)
    assert names[0] == "part-000000.parquet"


def test_the_quarantine_of_a_repaired_run_has_a_name_that_none_before_it_had() -> None:
    names = [repaired_quarantine(repairs) for repairs in range(3)]
    assert names[:2] == ["quarantine.parquet", "quarantine-repair-1.parquet"]
    assert len(set(names)) == 3
