from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import numpy as np
import pytest

from twofold.lab.loaded import Conduct, Loaded, loaded_of
from twofold.lab.outcomes import Tally

KEPT_UP = Conduct(
    is_closed=False, busy_ratio=0.5, resent=0, stopped_s=None, is_full=False, timeout_s=5.0
)


def tally(count: int = 1000, *, late_s: float = 0.0, took_s: float = 0.01, **more: int) -> Tally:
    found = Tally({"in_time": count, **more}, {"200": count})
    found.latency.add(np.full(count, took_s))
    found.lateness.add(np.full(count, late_s))
    return found


def loaded(found: Tally, **conduct: Any) -> Loaded:
    return loaded_of([found], [0.0, 10.0], msgspec.structs.replace(KEPT_UP, **conduct))


def test_rates_are_counts_by_the_time_in_which_requests_were_due() -> None:
    level = loaded(tally(1000, late=50, shed=30, gave_up=15, reset=5)).level
    assert level.offered_per_s == 110
    assert level.in_time_per_s == 100
    assert level.answered_per_s == 105
    assert level.shed_per_s == 3
    assert level.failed_per_s == 2


def test_stretches_are_told_apart() -> None:
    found = loaded_of([tally(100), tally(300)], [1.0, 2.0, 4.0], KEPT_UP)
    assert [level.offered_per_s for level in found.stretches] == [100, 150]
    assert found.level.offered_per_s == pytest.approx(400 / 3)
    assert (found.count, found.elapsed_s) == (400, 3)


@pytest.mark.parametrize(
    ("late_s", "took_s", "is_valid"),
    [
        (0.0009, 0.001, True),  # below 1 ms whatever the server takes
        (0.0011, 0.01, False),
        (0.0011, 0.02, True),  # below a tenth of what the server takes
        (0.003, 0.02, False),
    ],
)
def test_a_generator_that_was_late_itself_makes_the_load_invalid(
    late_s: float, took_s: float, is_valid: bool
) -> None:
    found = loaded(tally(late_s=late_s, took_s=took_s))
    assert found.is_valid is is_valid
    assert found.level.is_valid is is_valid
    assert bool(found.reasons) is not is_valid


def test_of_few_requests_one_late_one_is_no_reason() -> None:
    found = tally(98)
    found.lateness.add(np.array([0.5, 0.5]))
    assert loaded(dataclasses.replace(found)).is_valid
    found.lateness.add(np.full(12, 0.5))
    assert not loaded(found).is_valid


def test_without_files_for_connections_it_is_invalid() -> None:
    (reason,) = loaded(tally(own_limit=3)).reasons
    assert "--connections" in reason


def test_a_busy_generator_makes_a_closed_loop_invalid_but_not_an_open_one() -> None:
    assert not loaded(tally(), is_closed=True, busy_ratio=0.97).is_valid
    assert loaded(tally(), is_closed=False, busy_ratio=0.97).is_valid


def test_what_was_stopped_has_the_rates_of_the_time_it_had() -> None:
    found = loaded(tally(100), stopped_s=4.0)
    assert found.was_stopped
    assert found.elapsed_s == 4.0
    assert found.level.offered_per_s == 25


def test_nothing_measured_is_not_valid() -> None:
    assert loaded(Tally()).reasons == ["nothing was measured"]


def test_a_generator_is_not_late_beside_a_server_that_never_answers() -> None:
    found = Tally({"gave_up": 1000})
    found.lateness.add(np.full(1000, 0.1))
    assert loaded(found).is_valid
    assert not loaded(found, timeout_s=0.5).is_valid
