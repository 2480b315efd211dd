"""What a comparison's findings say of costs."""

from __future__ import annotations

import msgspec
import pytest
from found import FOUND

from twofold.lab.compare_costs import Assumed, derive, work_cost
from twofold.lab.costs import Mode, break_even_age_s


def test_the_line_through_two_runs_is_what_a_run_and_its_rows_cost() -> None:
    units = derive(FOUND, Assumed()).units
    assert units.row_core_s == 2e-6
    assert units.publish_row_core_s == 1e-6
    assert units.run_core_s == pytest.approx(1.2 - 7_043 * 2e-6)


def test_costs_are_proportional_to_that_of_a_core_hour() -> None:
    one, three = (derive(FOUND, Assumed(cost_per_core_hour=cost)) for cost in (1.0, 3.0))
    for mode in Mode:
        assert three.per_million[mode] == pytest.approx(3 * one.per_million[mode])
    assert three.break_evens == one.break_evens
    assert three.days[0].batch == pytest.approx(3 * one.days[0].batch)
    assert work_cost(3_600.0, one.assumed) == 1.0


def test_at_the_break_even_a_day_in_batch_costs_what_live_predictions_do() -> None:
    derived = derive(FOUND, Assumed())
    for item in derived.break_evens:
        if item.rows_per_day is None:
            continue
        units, rows = derived.units, item.rows_per_day
        batch = units.run_core_s + rows * units.row_core_s
        assert batch == pytest.approx(rows * item.asked_ratio * units.live_core_s)


def test_the_more_is_asked_for_the_sooner_a_batch_costs_less() -> None:
    rows = [item.rows_per_day or float("inf") for item in derive(FOUND, Assumed()).break_evens]
    assert rows == sorted(rows, reverse=True)


def test_no_age_is_fresh_enough_that_no_run_can_keep() -> None:
    usual_s = derive(FOUND, Assumed()).fresh_age_s
    assert usual_s == break_even_age_s(FOUND, 1_000_000, 100_000)
    assert FOUND.batch.scaling is not None
    slow = msgspec.structs.replace(FOUND.batch.scaling, row_wall_s=0.08)
    batch = msgspec.structs.replace(FOUND.batch, scaling=slow)
    dear = msgspec.structs.replace(FOUND.real_time, cpu_per_request_s=1.0)
    found = msgspec.structs.replace(FOUND, batch=batch, real_time=dear)
    derived = derive(found, Assumed())
    assert derived.fresh_age_s is not None
    kept = [point.age_s for point in derived.points if point.batch is not None]
    assert 0.5 * kept[0] < derived.fresh_age_s <= kept[0]
    none = msgspec.structs.replace(batch, scaling=msgspec.structs.replace(slow, row_wall_s=1e6))
    found = msgspec.structs.replace(found, batch=none)
    assert derive(found, Assumed()).fresh_age_s is None


def test_a_rate_that_was_not_measured_leaves_the_rest_to_be_computed() -> None:
    live = msgspec.structs.replace(FOUND.real_time, capacity_per_s=None, levels=[])
    stored = msgspec.structs.replace(FOUND.hybrid, capacity_per_s=None, level=None)
    found = msgspec.structs.replace(FOUND, real_time=live, hybrid=stored)
    assert derive(found, Assumed()).per_million[Mode.BATCH] > 0.0
