"""The one table of statuses is complete."""

from __future__ import annotations

import pytest

from twofold import errors
from twofold.wire.statuses import ERRORS, REASONS, STATUSES, WireError, code_of


def test_every_code_has_a_status_with_a_name_and_every_error_a_code() -> None:
    assert set(STATUSES.values()) | {200} == set(REASONS)
    assert {code for _, code in ERRORS} <= set(STATUSES)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UnknownModel("x"), 404),
        (errors.InvalidInput("x"), 422),
        (errors.Draining("x"), 503),
        (errors.Refused("x"), 503),
        (errors.QuotaExceeded("x"), 429),
        (errors.DeadlineExceeded("x"), 504),
        (errors.PredictionFailed("x"), 500),
        (errors.ConfigError("x"), 500),
        (MemoryError("x"), 500),
        (WireError("not_json", "x"), 400),
        (WireError("unauthorized", "x"), 401),
        (WireError("forbidden", "x"), 403),
    ],
)
def test_errors_get_the_statuses_of_the_contract(error: Exception, status: int) -> None:
    assert STATUSES[code_of(error)] == status


def test_more_special_errors_stand_before_the_general_ones() -> None:
    for index, (kind, _) in enumerate(ERRORS):
        assert not any(issubclass(kind, earlier) for earlier, _ in ERRORS[:index])
