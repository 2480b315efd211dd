"""Restarts are let through up to a rate, and no further."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.restarts import MINUTE_S, Restarts


def test_killed_worker_is_back_at_once_until_the_minute_is_full() -> None:
    restarts = Restarts(max_per_min=2)
    for now_s in (10.0, 20.0):
        assert restarts.wait_s(now_s) == 0.0
        restarts.note(now_s)
    assert restarts.wait_s(25.0) == 45.0
    assert restarts.wait_s(70.0) == 0.0


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 5))
def test_no_minute_ever_sees_more_than_the_limit(pauses_s: list[float], limit: int) -> None:
    restarts, now_s, happened = Restarts(max_per_min=limit), 0.0, []
    for pause_s in pauses_s:
        now_s += pause_s
        if restarts.wait_s(now_s) == 0.0:
            restarts.note(now_s)
            happened.append(now_s)
    for start_s in happened:
        inside = [at for at in happened if start_s <= at < start_s + MINUTE_S * (1 - 1e-9)]
        assert len(inside) <= limit
