"""What a scheduler remembers, as a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.schedule.state import Outcome, Run, Skip, State, Timetable, parse_state, render_state

NOW = datetime(2026, 1, 31, 2, tzinfo=UTC)
RUN = Run(run_id="n-1", due_at=NOW, start_at=NOW, arguments=("batch", "run", "--", "m", "ä"))
STATE = State(
    timetables={
        "n": Timetable(
            name="n",
            cron="0 2 * * *",
            time_zone="UTC",
            dealt_until=NOW,
            runs=(RUN,),
            ended=(
                Run(run_id="n-0", due_at=NOW, start_at=NOW, arguments=(), outcome=Outcome.DONE),
            ),
            skipped=3,
            last_skip=Skip(due_at=NOW, reason="missed"),
        )
    }
)


def test_a_state_is_read_as_it_was_written() -> None:
    assert parse_state(render_state(STATE)) == STATE
    assert parse_state(render_state(State())) == State()


@given(st.integers(0, len(render_state(STATE)) - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(place: int, change: int) -> None:
    data = bytearray(render_state(STATE))
    data[place] ^= change
    try:
        found = parse_state(bytes(data))
    except ValueError:
        return
    assert found == STATE  # it was in the spelling of the checksum's number or name alone


@given(st.integers(0, len(render_state(STATE)) - 1))
def test_a_torn_file_is_noticed(length: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_state(render_state(STATE)[:length])


def test_what_an_attempt_took_is_known_when_it_has_ended() -> None:
    later = NOW + timedelta(seconds=5)
    assert RUN.elapsed_s is None
    for begun_at, ended_at, took_s in [(NOW, None, None), (NOW, later, 5.0), (later, NOW, 0.0)]:
        run = Run(
            run_id="n", due_at=NOW, start_at=NOW, arguments=(), begun_at=begun_at, ended_at=ended_at
        )
        assert run.elapsed_s == took_s
