"""How long each part of a comparison may take."""

from __future__ import annotations

from dataclasses import fields

from twofold.app.compare.loads import CPU_LEVEL
from twofold.app.compare.plan import FULL, QUICK


def test_a_quick_look_takes_less_of_everything() -> None:
    for field in fields(FULL):
        if isinstance(getattr(FULL, field.name), (int, float)):
            assert getattr(QUICK, field.name) <= getattr(FULL, field.name), field.name
    assert QUICK.level_s < FULL.level_s


def test_a_slow_model_predicts_no_more_rows_than_there_is_time_for() -> None:
    assert FULL.for_model(0.0) == FULL.for_model(1e-6) == FULL
    slow = FULL.for_model(0.01)
    assert slow.large_rows == slow.publish_rows == 100 * FULL.large_s
    assert not slow.is_large(700)
    assert slow.is_large(750)
    assert FULL.for_model(100.0).is_large(1)


def test_rates_lie_on_both_sides_of_the_capacity() -> None:
    assert FULL.levels == (0.25, 0.5, 0.8, 1.0, 1.5, 3.0)
    assert CPU_LEVEL in FULL.levels
