"""One process at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from twofold.errors import LeaseHeld
from twofold.lease import hold_lease, is_held


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


def test_lease_that_can_not_be_closed_is_no_failure_of_what_was_done_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        closed.append(descriptor)
        raise OSError(5, "Input/output error")

    closed: list[int] = []
    with monkeypatch.context() as patch, hold_lease(tmp_path, "night"):
        patch.setattr(os, "close", fail)
    # The kernel lets go of it all the same.
    os.close(*closed)
    assert not is_held(tmp_path)


def test_lease_ends_with_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold_lease(tmp_path, "night"):
        raise KeyError
    assert not is_held(tmp_path)
