"""The state on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.errors import ConfigError
from twofold.schedule.keep import DRAFT_FILE, STATE_FILE, load_state, save_state
from twofold.schedule.state import State


def test_what_was_saved_last_is_loaded(tmp_path: Path) -> None:
    assert load_state(tmp_path) == State()
    for timetables in ({}, {}):
        save_state(tmp_path, State(timetables=timetables))
    assert load_state(tmp_path) == State()
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_a_draft_that_a_crash_left_changes_nothing(tmp_path: Path) -> None:
    save_state(tmp_path, State())
    (tmp_path / DRAFT_FILE).write_bytes(b'{"crc32":')
    assert load_state(tmp_path) == State()


def test_a_damaged_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"{}")
    with pytest.raises(ConfigError, match=r"got a damaged file .* or delete it, and all schedules"):
        load_state(tmp_path)
