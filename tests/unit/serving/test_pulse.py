"""How late the loop is: as late as its last turn was long, unless it has rested since.

No later, for a connection, than it was read the last time. And the longest thing that it did.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.pulse import Pulse


@pytest.fixture
def pulse(loop: Any) -> Pulse:
    return Pulse(clock=loop.clock, soon=loop.call_soon)


def turn(loop: Any, pulse: Pulse, *steps_s: float) -> None:
    """One turn of the loop, in which several things are done."""
    for step_s in steps_s:
        pulse.touch(loop.now_s)
        loop.now_s += step_s
    loop.turn()


def test_loop_that_has_done_nothing_is_not_late(loop: Any, pulse: Pulse) -> None:
    assert pulse.lag_s(loop.now_s) == 0.0
    pulse.touch(loop.now_s)
    assert pulse.lag_s(loop.now_s) == 0.0


def test_within_a_turn_what_is_handled_later_is_the_later(loop: Any, pulse: Pulse) -> None:
    for done in range(4):
        pulse.touch(loop.now_s)
        assert pulse.lag_s(loop.now_s) == pytest.approx(done * 0.25)
        loop.now_s += 0.25


def test_what_comes_right_after_a_turn_has_waited_for_all_of_it(loop: Any, pulse: Pulse) -> None:
    turn(loop, pulse, 0.25, 0.25)
    pulse.touch(loop.now_s)
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.5)
    loop.now_s += 0.125
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.625)


def test_rest_makes_up_for_the_turn_before(loop: Any, pulse: Pulse) -> None:
    turn(loop, pulse, 0.5)
    loop.now_s += 0.375
    pulse.touch(loop.now_s)
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.125)
    loop.turn()
    loop.now_s += 1.0
    assert pulse.lag_s(loop.now_s) == 0.0


def test_long_turn_counts_for_the_turn_after_it_only(loop: Any, pulse: Pulse) -> None:
    turn(loop, pulse, 0.5)
    turn(loop, pulse, 0.01)
    pulse.touch(loop.now_s)
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.01)


def test_what_is_read_has_waited_since_its_connection_was_read_at_most(
    loop: Any, pulse: Pulse
) -> None:
    turn(loop, pulse, 0.5)
    pulse.touch(loop.now_s, loop.now_s - 0.125)
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.125)
    loop.now_s += 0.25
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.375)
    pulse.touch(loop.now_s, 0.0)
    assert pulse.lag_s(loop.now_s) == pytest.approx(0.75)


def test_long_turn_of_short_things_is_no_long_thing(loop: Any, pulse: Pulse) -> None:
    turn(loop, pulse, 0.25, 0.5, 0.125)
    assert pulse.longest_s() == pytest.approx(0.5)


def test_longest_thing_is_that_since_it_was_last_asked_for(loop: Any, pulse: Pulse) -> None:
    assert pulse.longest_s() == 0.0
    for took_s in (0.25, 0.5, 0.125):
        turn(loop, pulse, took_s)
    assert pulse.longest_s() == pytest.approx(0.5)
    turn(loop, pulse, 0.125)
    assert pulse.longest_s() == pytest.approx(0.125)


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 10.0))))
def test_lag_is_never_negative_and_never_longer_than_the_last_two_turns(
    turns: list[tuple[float, float]],
) -> None:
    now_s = 100.0
    ends: list[Any] = []
    pulse = Pulse(clock=lambda: now_s, soon=ends.append)
    before_s = 0.0
    for rest_s, took_s in turns:
        now_s += rest_s
        pulse.touch(now_s)
        assert 0.0 <= pulse.lag_s(now_s) <= before_s + 1e-9
        now_s += took_s
        assert took_s - 1e-9 <= pulse.lag_s(now_s) <= before_s + took_s + 1e-9
        ends.pop()()
        before_s = took_s + 1e-9


def test_real_loop_ends_its_turn_once_however_much_was_done_in_it() -> None:
    async def busy() -> tuple[float, float]:
        now_s = 0.0
        pulse = Pulse(clock=lambda: now_s, soon=asyncio.get_running_loop().call_soon)
        for _ in range(3):
            pulse.touch(now_s)
            now_s += 1.0
        within_s = pulse.lag_s(now_s)
        await asyncio.sleep(0)
        return within_s, pulse.lag_s(now_s)

    assert asyncio.run(busy()) == (3.0, 3.0)
