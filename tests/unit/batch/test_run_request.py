"""Naming a run."""

from __future__ import annotations

from datetime import UTC, datetime

from twofold.batch.request import new_run_id
from twofold.model.names import check_name

NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)


def test_run_is_named_after_the_instant_it_was_asked_for() -> None:
    assert new_run_id(NOW, ()) == check_name("20260131T235959Z")


def test_name_already_taken_gets_a_number() -> None:
    taken = {"20260131T235959Z", "20260131T235959Z-2"}
    assert new_run_id(NOW, taken) == check_name("20260131T235959Z-3")
