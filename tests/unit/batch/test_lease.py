"""One process at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.batch.lease import hold_lease, is_held
from twofold.errors import LeaseHeld


def test_second_runner_is_turned_away_until_the_first_is_done(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with hold_lease(tmp_path, "night"):
        assert is_held(tmp_path)
        second = hold_lease(tmp_path, "night")
        with pytest.raises(LeaseHeld, match=r"^night: expected no other process"), second:
            pass
    assert not is_held(tmp_path)
    with hold_lease(tmp_path, "night"):
        pass


def test_lease_ends_with_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold_lease(tmp_path, "night"):
        raise KeyError
    assert not is_held(tmp_path)
