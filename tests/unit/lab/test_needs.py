"""What is wanted of predictions, checked all at once, in words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab_cases import needs

from twofold.errors import InvalidInput
from twofold.lab.needs import DAY_S, age_s_of, shown_age


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows_per_day", 0),
        ("asked_ratio", 1.5),
        ("asked_ratio", math.nan),
        ("max_age_s", -1.0),
        ("max_age_s", math.inf),
        ("slo_s", 0.0),
        ("slo_s", 3_600.0),
        ("peak_per_s", -0.5),
        ("cost_per_core_hour", -1.0),
        ("machines_at_least", 0),
    ],
)
def test_a_need_out_of_range_is_told_with_its_name_and_a_fix(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=rf"^{name}: expected .+ to .+, got .+\. Give|Count"):
        needs(**{name: value})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        needs(rows_per_day=-5, asked_ratio=2.0, slo_s=1_000.0)
    said = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in said] == ["rows_per_day", "asked_ratio", "slo_s"]


def test_the_load_is_never_below_the_mean_of_what_is_asked_for() -> None:
    assert needs(rows_per_day=864_000, asked_ratio=1.0, peak_per_s=1.0).load_per_s == 10.0
    assert needs(rows_per_day=864_000, asked_ratio=1.0, peak_per_s=50.0).load_per_s == 50.0


def test_all_predictions_are_of_use_if_the_table_is_wanted() -> None:
    assert needs(rows_per_day=100, asked_ratio=0.1).used_per_day == 10.0
    assert needs(rows_per_day=100, asked_ratio=0.1, wants_all=True).used_per_day == 100.0


@pytest.mark.parametrize(
    ("text", "age_s"),
    [
        ("90s", 90.0),
        ("15m", 900.0),
        ("24h", DAY_S),
        ("7d", 7 * DAY_S),
        ("0", 0.0),
        (" 1.5 H", 5400),
    ],
)
def test_an_age_is_a_number_and_its_unit(text: str, age_s: float) -> None:
    assert age_s_of(text) == age_s


@pytest.mark.parametrize("text", ["", "24", "h", "24 hours", "-1h", "1e3s", "1w", "٣h ago"])
def test_what_is_no_age_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a number and its unit.+90s, 15m, 24h or 7d"):
        age_s_of(text)


@pytest.mark.parametrize(
    ("age_s", "shown"),
    [
        (0.0, "0 s"),
        (0.000_04, "40 µs"),
        (0.0042, "4.2 ms"),
        (0.1, "100 ms"),
        (1.3, "1.3 s"),
        (110.0, "110 s"),
        (3_600.0, "1 h"),
        (5_400.0, "90 min"),
        (DAY_S, "24 h"),
        (7 * DAY_S, "7 d"),
    ],
)
def test_an_age_is_shown_as_people_say_it(age_s: float, shown: str) -> None:
    assert shown_age(age_s) == shown


@given(st.floats(0.0, 1e9))
def test_any_age_can_be_shown(age_s: float) -> None:
    assert shown_age(age_s).split()[1] in {"d", "h", "min", "s", "ms", "µs"}
