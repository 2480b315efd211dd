"""The circuit breaker: closed, open, and an attempt from time to time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twofold.hybrid.breaker import Breaker


def test_it_opens_after_so_many_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(max_failures=3, retry_s=1.0)
    for _ in range(2):
        breaker.failed(10.0)
        assert breaker.lets(10.0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(10.0)
        assert not breaker.is_open
    breaker.failed(10.0)
    assert breaker.is_open
    assert not breaker.lets(10.0)


def opened(*, retry_s: float = 1.0) -> Breaker:
    breaker = Breaker(max_failures=1, retry_s=retry_s)
    breaker.failed(10.0)
    return breaker


def test_of_an_open_one_one_attempt_is_let_through_from_time_to_time() -> None:
    breaker = opened()
    let = [breaker.lets(10.0 + tenth / 10) for tenth in range(31)]
    assert [tenth for tenth, through in enumerate(let) if through] == [10, 20, 30]


def test_an_attempt_that_succeeds_closes_it_and_the_count_begins_anew() -> None:
    breaker = Breaker(max_failures=2, retry_s=1.0)
    for _ in range(2):
        breaker.failed(10.0)
    assert breaker.lets(11.0)
    breaker.succeeded()
    assert not breaker.is_open
    assert breaker.lets(11.0)
    breaker.failed(11.0)
    assert not breaker.is_open


def test_an_attempt_that_fails_leaves_it_open_for_as_long_again() -> None:
    breaker = opened()
    assert breaker.lets(11.0)
    breaker.failed(11.5)
    assert not breaker.lets(12.4)
    assert breaker.lets(12.5)


def test_an_attempt_that_ends_in_nothing_is_followed_by_another() -> None:
    breaker = opened()
    assert breaker.lets(11.0)  # whoever made it was cancelled
    assert not breaker.lets(11.9)
    assert breaker.lets(12.0)


@given(
    st.integers(1, 5),
    st.floats(0.01, 10),
    st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=60),
)
def test_a_store_that_fails_is_not_asked_more_often_than_it_may_be(
    max_failures: int, retry_s: float, attempts: list[tuple[float, bool]]
) -> None:
    breaker, now_s, in_a_row = Breaker(max_failures=max_failures, retry_s=retry_s), 0.0, 0
    last_failed_s = 0.0
    for after_s, is_answered in attempts:
        now_s += after_s
        assert breaker.is_open == (in_a_row >= max_failures)
        if not breaker.lets(now_s):
            assert in_a_row >= max_failures
            assert now_s < last_failed_s + retry_s
            continue
        assert in_a_row < max_failures or now_s >= last_failed_s + retry_s
        if is_answered:
            breaker.succeeded()
            in_a_row = 0
        else:
            breaker.failed(now_s)
            in_a_row, last_failed_s = in_a_row + 1, now_s


def test_it_says_since_when_it_is_open_however_often_it_fails_on() -> None:
    breaker = opened()
    assert breaker.opened_s == 10.0
    breaker.failed(20.0)
    assert breaker.opened_s == 10.0
    breaker.succeeded()
    assert breaker.opened_s is None
