"""A comparison's figures as words and tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from found import FOUND, LEVEL

from twofold.lab.compare_costs import Assumed, derive
from twofold.lab.compare_tables import (
    Table,
    batch_sizes,
    batch_split,
    break_evens,
    distributions,
    facts,
    freshness,
    kept_levels,
    latencies,
    loads,
    overhead,
    side_by_side,
    summary,
)
from twofold.lab.findings import Findings

DERIVED = derive(FOUND, Assumed())


def every(found: Findings) -> list[Table]:
    derived = derive(found, Assumed())
    return [
        side_by_side(found, derived), latencies(found), batch_split(found), batch_sizes(found),
        overhead(found), loads(found), freshness(derived), break_evens(derived), facts(found),
    ]  # fmt: skip


def without_rates() -> Findings:
    live = msgspec.structs.replace(FOUND.real_time, capacity_per_s=None, levels=[])
    stored = msgspec.structs.replace(FOUND.hybrid, capacity_per_s=None, level=None, scaling=None)
    batch = msgspec.structs.replace(FOUND.batch, scaling=None)
    return msgspec.structs.replace(FOUND, real_time=live, hybrid=stored, batch=batch)


@pytest.mark.parametrize("found", [FOUND, without_rates()], ids=["all", "without rates"])
def test_each_row_has_a_cell_for_each_head_and_each_column_a_name(found: Findings) -> None:
    for table in every(found):
        assert all(len(row) == len(table.heads) for row in table.rows), table.title
        assert all(table.heads), table.title


def test_the_summary_is_three_sentences_with_the_figures() -> None:
    first, second, third = summary(FOUND, DERIVED)
    assert first == (
        "In batch, 7,043 rows are there 1 s after the run was started, 993 ms whatever the rows "
        "and 1 µs more for each."
    )
    assert "10,000 requests/s (99 of 100 within 50 ms)" in second
    assert "at least 1.1 s old" in second
    assert third.startswith("At 0.04 a core-hour, a million predictions cost ")


def test_what_was_not_measured_is_said_so() -> None:
    found = without_rates()
    assert "wasn't measured" in summary(found, derive(found, Assumed()))[1]
    cells = [cell for row in side_by_side(found, DERIVED).rows for cell in row]
    assert cells.count("not measured") == 2


def test_a_row_that_waits_for_an_hourly_run_waits_half_an_hour_on_average() -> None:
    rows = {row[0]: row[1:] for row in batch_split(FOUND).rows}
    assert rows["waiting for the next run, hourly"] == ("30 min", "1 h")
    assert rows["waiting for the next run, daily"] == ("12 h", "1 d")


def test_every_mode_has_its_distribution_and_those_of_schedules_follow() -> None:
    found = dict(distributions(FOUND))
    assert found["batch, a run each hour"].percentiles_s["50"] == pytest.approx(1_801.0)
    assert {"live over HTTP", "stored answer over HTTP", "batch, the run itself"} <= found.keys()


def test_levels_within_capacity_are_told_from_those_beyond() -> None:
    levels: list[Any] = [
        msgspec.structs.replace(LEVEL, offered_per_s=rate) for rate in (5_000.0, 10_100.0, 15_000.0)
    ]
    live = msgspec.structs.replace(FOUND.real_time, levels=levels)
    found = msgspec.structs.replace(FOUND, real_time=live)
    assert [level.offered_per_s for level in kept_levels(found)] == [5_000.0, 10_100.0]
