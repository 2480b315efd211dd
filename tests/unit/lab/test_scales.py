from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from twofold.lab.scales import plain, scale_of, short

SIZES = st.floats(1e-6, 1e9)


@given(values=st.lists(SIZES, min_size=1, max_size=20), is_log=st.booleans())
@example(values=[999_999_999.0], is_log=True)
def test_every_value_lies_within_its_axis_and_ticks_ascend(
    values: list[float], is_log: bool
) -> None:
    scale = scale_of(values, is_log=is_log)
    assert all(-1e-9 <= scale.place(value) <= 1 + 1e-9 for value in values)
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert 2 <= len(scale.ticks) <= 9
    assert scale.place(scale.ticks[0]) == pytest.approx(0, abs=1e-6)
    assert scale.place(scale.ticks[-1]) == pytest.approx(1)


def test_a_linear_axis_begins_with_0() -> None:
    assert scale_of([900, 1000], is_log=False).ticks == (0, 200, 400, 600, 800, 1000)


def test_a_logarithmic_axis_leaves_out_what_it_cannot_place() -> None:
    scale = scale_of([0.0, -1.0, 3.0, 20.0], is_log=True)
    assert scale.ticks == (2, 5, 10, 20)
    assert not scale.has(0.0)


def test_no_value_still_has_an_axis() -> None:
    assert scale_of([], is_log=False).ticks[0] == 0
    assert scale_of([], is_log=True).ticks[0] > 0


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.25, "0.25"), (1500, "1.5k"), (2e6, "2M"), (20_000, "20k")]
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_tables_have_plain_numbers() -> None:
    assert plain(12345.6) == "12,346"
    assert plain(0.12345) == "0.1235"
    assert plain(float("nan")) == "-"
