from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from twofold.app import lab_load
from twofold.app.lab_load import (
    CURVE_RATIOS,
    Limits,
    curve_of,
    goodput_curve,
    load_open,
    search_capacity,
    write_goodput,
)
from twofold.errors import ConfigError
from twofold.lab.arrivals import Profile, steps
from twofold.lab.endpoint import Endpoint
from twofold.lab.findings import Latency, Level
from twofold.lab.generator import Stopped, Target
from twofold.lab.loaded import Loaded
from twofold.lab.requests import Protocol

CAPACITY = 1000.0
ENDPOINT = Endpoint(Target(("127.0.0.1", 1), [b"x"]), Protocol.TWOFOLD, "/v1/models/m/predict", 1)
LIMITS = Limits(deadline_s=0.1, slo_s=0.1, timeout_s=1.0, warm_up_s=0.5, connections=8, processes=1)


def loaded(rate: float, *, is_valid: bool = True, was_stopped: bool = False) -> Loaded:
    in_time = min(rate, CAPACITY)
    latency = Latency(
        count=2000, mean_s=0.01, max_s=1.0, percentiles_s={"99": 0.02 if rate <= CAPACITY else 0.9}
    )
    level = Level(
        offered_per_s=rate,
        answered_per_s=rate,
        in_time_per_s=in_time,
        shed_per_s=0,
        failed_per_s=0,
        latency=latency,
        lateness_p99_s=0,
        is_valid=is_valid,
    )
    return Loaded(
        level=level, latency=latency, lateness=latency, count=1, outcomes={}, statuses={}, resent=0,
        elapsed_s=1, busy_ratio=0, is_valid=is_valid, reasons=[], stretches=[level],
        was_stopped=was_stopped,
    )  # fmt: skip


class Server:
    """Keeps up with `CAPACITY`; remembers the rates it was offered."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.connections: list[int] = []
        self.late_until, self.stops_after = 0, 10**9

    def open(self, target: Any, profile: Profile, **how: Any) -> Loaded:
        self.connections.append(how["connections"])
        self.rates.append(profile.stretches[0].from_per_s)
        found = loaded(self.rates[-1], is_valid=len(self.rates) > self.late_until)
        if len(self.rates) >= self.stops_after:
            raise Stopped(msgspec.structs.replace(found, was_stopped=True))
        return found

    def closed(self, target: Any, **_: Any) -> Loaded:
        return loaded(100.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(lab_load, "run_open", server.open)
    monkeypatch.setattr(lab_load, "run_closed", server.closed)
    monkeypatch.setattr(lab_load, "PAUSE_S", 0.0)
    return server


def told(what: str, seconds: float) -> None:
    assert what
    assert seconds > 0


def test_the_search_begins_within_what_one_client_gets_and_finds_the_capacity(
    server: Server,
) -> None:
    found = search_capacity(ENDPOINT, LIMITS, 1.0, told, start_per_s=None)
    assert server.rates[0] == 50
    assert CAPACITY / 1.05 <= found.capacity_per_s <= CAPACITY
    assert not found.limit


def test_a_level_at_which_the_generator_was_late_is_offered_again(server: Server) -> None:
    server.late_until = 2
    search_capacity(ENDPOINT, LIMITS, 1.0, told, start_per_s=80)
    assert server.rates[:4] == [80, 80, 80, 160]


def test_a_generator_that_is_never_in_time_is_named_as_the_limit(server: Server) -> None:
    server.late_until = 10**9
    found = search_capacity(ENDPOINT, LIMITS, 1.0, told, start_per_s=80)
    assert found.capacity_per_s == 0
    assert "--processes" in found.limit


def test_the_curve_goes_from_half_the_capacity_to_three_times_as_much(server: Server) -> None:
    search = search_capacity(ENDPOINT, LIMITS, 1.0, told, start_per_s=100)
    server.rates.clear()
    curve = goodput_curve(ENDPOINT, search, LIMITS, 1.0, told)
    assert server.rates == [search.capacity_per_s * ratio for ratio in CURVE_RATIOS]
    assert [level.offered_per_s for level in curve.levels] == server.rates
    assert not curve.was_stopped


def test_an_interrupted_search_keeps_what_it_has_and_makes_no_curve(server: Server) -> None:
    server.stops_after = 3
    search = search_capacity(ENDPOINT, LIMITS, 1.0, told, start_per_s=100)
    assert search.was_stopped
    assert search.capacity_per_s == 200
    curve = goodput_curve(ENDPOINT, search, LIMITS, 1.0, told)
    assert curve.was_stopped
    assert curve.levels == []
    assert len(server.rates) == 3


def test_a_server_without_one_good_answer_is_not_searched(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = loaded(100)
    level = msgspec.structs.replace(nothing.level, answered_per_s=0.0)
    nothing = msgspec.structs.replace(nothing, level=level, outcomes={"shed": 9})
    monkeypatch.setattr(lab_load, "run_closed", lambda target, **_: nothing)
    with pytest.raises(ConfigError, match="good answers to one client, got 9 shed"):
        search_capacity(ENDPOINT, LIMITS, 1.0, told, start_per_s=None)


def test_slow_levels_take_longer_so_that_their_p99_says_something(server: Server) -> None:
    lengths: list[float] = []
    lab_load.offer(ENDPOINT, 200, LIMITS, 1.0, lambda _, seconds: lengths.append(seconds))
    lab_load.offer(ENDPOINT, 5, LIMITS, 1.0, lambda _, seconds: lengths.append(seconds))
    assert lengths == [0.5 + 1100 / 200, 0.5 + lab_load.MAX_SEARCH_S]


@pytest.mark.parametrize(
    ("rate_per_s", "given", "expected"),
    [(100.0, 8, 8), (100.0, None, 256), (5_001.0, None, 501), (1e6, None, 4_000)],
)
def test_there_are_as_many_connections_as_requests_come_within_the_deadline(
    server: Server, rate_per_s: float, given: int | None, expected: int
) -> None:
    limits = dataclasses.replace(LIMITS, connections=given)
    load_open(ENDPOINT, steps([1.0, rate_per_s], 1.0), limits)
    assert server.connections == [expected]


def test_steps_and_ramps_are_curves_too(tmp_path: Path) -> None:
    levels = [loaded(rate).level for rate in (900, 300, 2000)]
    curve = curve_of(levels, LIMITS, was_stopped=False)
    assert [level.offered_per_s for level in curve.levels] == [300, 900, 2000]
    assert curve.capacity_per_s == 900
    page = tmp_path / "page.html"
    write_goodput(page, curve, "http://x", ENDPOINT, LIMITS)
    assert "/v1/models/m/predict (twofold)" in page.read_text(encoding="utf-8")
