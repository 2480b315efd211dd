"""Loading a server, without one: what is made of what the generator tells."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from found import LEVEL

from twofold.app.compare import loads
from twofold.app.compare.loads import Levels, Loads
from twofold.app.compare.plan import QUICK
from twofold.errors import ConfigError
from twofold.lab.findings import Latency, Level

SLO_S = 0.05
CAPACITY = 1_000.0


def latency(p99_s: float) -> Latency:
    return Latency(
        count=2_000, mean_s=p99_s / 2, max_s=p99_s, percentiles_s={"50": p99_s / 2, "99": p99_s}
    )


def level(rate: float, *, is_valid: bool = True) -> Level:
    """What a server that can do so much makes of a rate."""
    kept = rate <= CAPACITY
    return msgspec.structs.replace(
        LEVEL,
        offered_per_s=rate,
        answered_per_s=min(rate, CAPACITY),
        in_time_per_s=rate if kept else 0.0,
        latency=latency(0.001 if kept else 1.0),
        is_valid=is_valid,
    )


class Server:
    """Uses a millisecond of the CPU for each request that is due."""

    address = ("127.0.0.1", 1)

    def __init__(self) -> None:
        self.used_s = 0.0

    def cpu_s(self) -> float:
        return self.used_s


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loads]:
    server = Server()
    offered: list[float] = []

    def run_closed(target: Any, **how: Any) -> Any:
        seconds = how["seconds"] + how["warm_up_s"]
        server.used_s += seconds * CAPACITY * 0.001
        count = int(how["seconds"] * CAPACITY)
        return SimpleNamespace(level=level(CAPACITY), latency=latency(0.001), count=count)

    def run_open(target: Any, dues: Any, **how: Any) -> Any:
        rates = [stretch.from_per_s for stretch in dues.stretches]
        seconds = dues.seconds + how["warm_up_s"]
        server.used_s += seconds * min(rates[0], CAPACITY) * 0.001
        offered.extend(rates)
        return SimpleNamespace(stretches=[level(rate, is_valid=False) for rate in rates])

    monkeypatch.setattr(loads, "run_closed", run_closed)
    monkeypatch.setattr(loads, "run_open", run_open)

    def build(*, is_quick: bool) -> Loads:
        return Loads(server, [b"GET / HTTP/1.1\r\n\r\n"], QUICK, SLO_S, is_quick)  # type: ignore[arg-type]

    return build


def test_the_capacity_is_found_closely(make: Callable[..., Loads]) -> None:
    found = make(is_quick=False).find(lambda _: None, [0.5])
    assert found.capacity_per_s == pytest.approx(CAPACITY, rel=0.06)
    assert [one.offered_per_s for one in found.levels] == pytest.approx(
        [0.5 * found.capacity_per_s, 0.8 * found.capacity_per_s, found.capacity_per_s]
    )
    assert found.cpu_per_request_s == pytest.approx(0.001)


def test_a_rate_that_is_kept_for_a_moment_only_is_no_capacity(
    make: Callable[..., Loads], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly_behind(target: Any, dues: Any, **how: Any) -> Any:
        rates = [stretch.from_per_s for stretch in dues.stretches]
        lasted = dues.seconds >= QUICK.level_s
        return SimpleNamespace(stretches=[level(rate if lasted else rate / 1.3) for rate in rates])

    found = make(is_quick=False)
    monkeypatch.setattr(loads, "run_open", slowly_behind)
    capacity_per_s = found.find(lambda _: None, [1.0, 1.5]).capacity_per_s
    assert 0.9 * CAPACITY < capacity_per_s <= CAPACITY


def test_a_quick_look_tries_a_few_rates_in_one_go(make: Callable[..., Loads]) -> None:
    found = make(is_quick=True).find(lambda _: None, [0.5, 3.0])
    assert found.capacity_per_s == CAPACITY
    assert [one.in_time_per_s for one in found.levels] == [500.0, 800.0, 0.0]


def test_offered_requests_say_how_long_they_wait_and_find_a_connection(
    make: Callable[..., Loads], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, int]] = []

    def run_open(target: Any, dues: Any, **how: Any) -> Any:
        asked.append((target.requests, how["connections"]))
        return SimpleNamespace(stretches=[level(part.from_per_s) for part in dues.stretches])

    monkeypatch.setattr(loads, "run_open", run_open)
    make(is_quick=True).find(lambda _: None, [12.0])
    assert asked[0] == ([b"GET / HTTP/1.1\r\nX-Twofold-Deadline-Ms: 50\r\n\r\n"], 256)
    assert asked[-1][1] == 12.0 * CAPACITY * SLO_S


def test_progress_goes_from_nothing_to_all(make: Callable[..., Loads]) -> None:
    said: list[float] = []
    make(is_quick=False).find(said.append, [0.5])
    assert said == sorted(said)
    assert 0.0 < said[0] < said[-1] <= 1.0


def test_a_server_that_keeps_no_rate_has_no_capacity(
    make: Callable[..., Loads], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(target: Any, dues: Any, **how: Any) -> Any:
        rates = [stretch.from_per_s for stretch in dues.stretches]
        offered = [rate + 2 * CAPACITY for rate in reversed(rates)]
        return SimpleNamespace(stretches=[level(rate) for rate in [*offered, 0.0]])

    monkeypatch.setattr(loads, "run_open", never)
    found = make(is_quick=True).find(lambda _: None, [0.5])
    assert (found.capacity_per_s, found.cpu_per_request_s) == (0.0, None)
    told = [one.offered_per_s for one in found.levels]
    assert (len(told), told) == (len(loads.STEPS), sorted(told))
    assert told[0] > 0.0


def test_a_lone_client_costs_the_server_what_each_request_does(make: Callable[..., Loads]) -> None:
    found = make(is_quick=True).alone()
    assert found.cpu_per_request_s == pytest.approx(0.001)
    assert found.note == ""


def test_without_a_generator_the_lone_client_is_one_in_python(
    make: Callable[..., Loads], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(target: Any, **how: Any) -> Any:
        raise ConfigError("lab: expected a compiler, got none. Install one.")

    monkeypatch.setattr(loads, "run_closed", missing)
    monkeypatch.setattr(loads, "ask_alone", lambda *_, **__: ([0.001] * 100, 150))
    found = make(is_quick=True).alone()
    assert found.latency.count == 100
    assert found.note.startswith("No native load generator here (lab: expected a compiler")


def test_rates_that_are_not_kept_again_are_noted() -> None:
    steady = Levels(CAPACITY, 0.001, [level(500.0), level(950.0), level(1_500.0)])
    assert steady.unsteady(SLO_S) == ""
    slow = msgspec.structs.replace(level(500.0), latency=latency(1.0))
    note = Levels(CAPACITY, 0.001, [slow, level(950.0)]).unsteady(SLO_S)
    assert note.startswith("The machine wasn't calm: rates of 500/s were not kept, though 1,000/s")
