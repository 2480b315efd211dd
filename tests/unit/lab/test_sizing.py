"""How many requests a worker keeps up with, and how many workers a peak takes."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_cases import FINDINGS, slower
from lab_typical import TYPICAL

from twofold.lab.findings import Findings, Latency
from twofold.lab.sizing import (
    MAX_LOAD_RATIO,
    live_capacity,
    quantile_s,
    servers_for,
    stored_capacity,
    workers_held,
)

LIVE = TYPICAL.real_time


def test_a_percentile_the_count_did_not_bear_is_the_longest() -> None:
    found = Latency(count=5, mean_s=1.0, max_s=3.0, percentiles_s={"50": 1.0})
    assert (quantile_s(found, "50"), quantile_s(found, "99")) == (1.0, 3.0)


def test_the_capacity_at_the_measured_latency_is_the_measured_one() -> None:
    for slo_s in (None, LIVE.slo_s, 1.0):
        found = live_capacity(LIVE, slo_s)
        assert found.per_worker_per_s == LIVE.capacity_per_s / LIVE.workers
        assert found.meets_slo
        assert not found.is_guess


def test_a_stricter_latency_is_kept_only_up_to_the_level_that_kept_it() -> None:
    assert live_capacity(LIVE, 0.005).per_worker_per_s == 20_000.0 / LIVE.workers
    assert live_capacity(LIVE, 0.0035).per_worker_per_s == 10_000.0 / LIVE.workers


def test_a_level_with_unanswered_requests_is_not_kept_up_with() -> None:
    levels = [msgspec.structs.replace(level, answered_per_s=900.0) for level in LIVE.levels]
    found = live_capacity(msgspec.structs.replace(LIVE, levels=levels, capacity_per_s=0.0), None)
    assert found.is_guess


def test_what_only_a_lone_client_keeps_is_a_guess_below_all_that_was_too_much() -> None:
    found = live_capacity(LIVE, 0.0015)
    assert found.is_guess
    assert found.meets_slo
    assert found.per_worker_per_s <= LIVE.levels[0].offered_per_s / 2


def test_without_any_load_a_worker_is_guessed_to_do_half_of_what_a_lone_client_made_it_do() -> None:
    found = msgspec.structs.replace(LIVE, levels=[], capacity_per_s=0.0)
    capacity = live_capacity(found, 0.05)
    assert capacity.is_guess
    assert capacity.meets_slo
    assert capacity.per_worker_per_s == pytest.approx(0.5 / LIVE.alone.mean_s)
    assert capacity.measured_per_s == 0.0


def test_a_latency_that_nothing_keeps_is_not_met() -> None:
    found = live_capacity(slower(TYPICAL, 1e4).real_time, 0.01)
    assert not found.meets_slo
    assert found.per_worker_per_s > 0.0


def test_stored_answers_between_two_measurements_slow_down_as_live_ones_do() -> None:
    stored = TYPICAL.hybrid.capacity_per_s / LIVE.workers
    assert stored_capacity(TYPICAL, 0.05).per_worker_per_s == stored
    assert stored_capacity(TYPICAL, 0.01).per_worker_per_s == stored
    assert stored_capacity(TYPICAL, 0.005).per_worker_per_s == stored / 2


def test_latency_at_the_peak_is_that_of_the_load_a_worker_is_given() -> None:
    found = live_capacity(LIVE, 0.05)
    assert MAX_LOAD_RATIO * LIVE.capacity_per_s == 24_000.0
    assert found.p99_s == LIVE.levels[2].latency.percentiles_s["99"]


def test_a_peak_is_spread_over_whole_machines() -> None:
    held = workers_held(60_000.0, live_capacity(LIVE, None))
    assert held == pytest.approx(5.0)
    found = servers_for(held, TYPICAL, 1)
    assert (found.machines, found.workers_per_machine, found.workers) == (3, 2, 6)
    spread = servers_for(0.1, TYPICAL, 2)
    assert (spread.machines, spread.workers) == (2, 2)


@given(FINDINGS, st.floats(0.0001, 60.0), st.floats(0.0, 1e6), st.integers(1, 20))
def test_the_workers_of_a_peak_are_enough_for_it(
    findings: Findings, slo_s: float, peak_per_s: float, machines: int
) -> None:
    for capacity in (live_capacity(findings.real_time, slo_s), stored_capacity(findings, slo_s)):
        held = workers_held(peak_per_s, capacity)
        found = servers_for(held, findings, machines)
        assert found.workers >= held * (1 - 1e-9)
        assert found.workers == found.machines * found.workers_per_machine
        assert found.machines >= machines


@given(FINDINGS, st.floats(0.0001, 60.0), st.floats(0.0, 1e6), st.floats(1.0, 10.0))
def test_a_higher_peak_never_takes_fewer_workers(
    findings: Findings, slo_s: float, peak_per_s: float, times: float
) -> None:
    capacity = live_capacity(findings.real_time, slo_s)
    low = servers_for(workers_held(peak_per_s, capacity), findings, 1)
    high = servers_for(workers_held(peak_per_s * times, capacity), findings, 1)
    assert high.machines >= low.machines
    assert high.workers >= low.workers - low.machines  # the same on each machine is rounded up


@given(st.floats(0.0001, 60.0), st.floats(1.0, 100.0), st.floats(0.01, 1e4))
def test_who_allows_more_time_never_needs_more_workers(
    slo_s: float, times: float, slow: float
) -> None:
    found = slower(TYPICAL, slow).real_time
    strict, lax = live_capacity(found, slo_s), live_capacity(found, slo_s * times)
    assert lax.per_worker_per_s >= strict.per_worker_per_s
    assert lax.meets_slo >= strict.meets_slo
