"""Whether and when there is another attempt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.cli.common import EXIT_CODES, INTERRUPTED
from twofold.schedule.retries import MAX_DELAY_S, VERDICTS, Verdict, delay_s, share, verdict_on


@pytest.mark.parametrize(
    ("exit_code", "verdict"),
    [
        (0, Verdict.DONE),
        (1, Verdict.RETRY),
        (2, Verdict.GIVE_UP),
        (3, Verdict.GIVE_UP),
        (4, Verdict.RETRY),
        (5, Verdict.LOOK_AGAIN),
        (-9, Verdict.RETRY),
        (137, Verdict.RETRY),
        (INTERRUPTED, Verdict.RETRY),
    ],
)
def test_only_what_may_end_otherwise_next_time_is_tried_again(
    exit_code: int, verdict: Verdict
) -> None:
    assert verdict_on(exit_code) is verdict


def test_every_exit_code_of_the_command_line_is_judged() -> None:
    assert set(VERDICTS) == {0, 1, 2, *EXIT_CODES.values()}


def test_delays_double_up_to_an_hour() -> None:
    # Without chance each would be twice the one before.
    full_s = [delay_s("r", n, 60.0) / (1 - share(f"r {n}") / 2) for n in range(1, 9)]
    assert full_s == pytest.approx([60, 120, 240, 480, 960, 1920, 3600, 3600])


@given(st.text(), st.integers(1, 10**6), st.floats(0.0, 86_400.0))
def test_a_delay_is_bounded_and_the_same_every_time(
    run_id: str, failures: int, first_s: float
) -> None:
    found_s = delay_s(run_id, failures, first_s)
    longest_s = max(MAX_DELAY_S, first_s)
    assert min(first_s / 2, longest_s / 2) <= found_s <= longest_s
    assert found_s == delay_s(run_id, failures, first_s)


@given(st.text())
def test_a_share_is_at_least_nothing_and_less_than_all(text: str) -> None:
    assert 0.0 <= share(text) < 1.0
