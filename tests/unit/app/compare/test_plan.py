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
    assert FULL.more_rows(0.0) == FULL.more_rows(1e-6) == FULL.large_rows
    assert FULL.more_published(0.0) == FULL.publish_rows
    assert FULL.more_rows(0.01) == FULL.more_published(0.01) == 100 * FULL.large_s
    assert not FULL.is_large(700, 0.01)
    assert FULL.is_large(750, 0.01)
    assert FULL.is_large(1, 100.0)


def test_rates_lie_on_both_sides_of_the_capacity() -> None:
    assert FULL.levels == (0.25, 0.5, 0.8, 1.0, 1.5, 3.0)
    assert CPU_LEVEL in FULL.levels
