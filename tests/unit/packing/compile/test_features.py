"""Features: what a step does to a number, and thresholds moved back through it, exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.packing.compile.features import FUNCTIONS, Number, Step, equals, pull_back

FINITE = st.floats(allow_nan=False, allow_infinity=False)
STEPS = st.lists(
    st.builds(Step, st.sampled_from(["subtract", "add"]), st.floats(-1e6, 1e6))
    | st.builds(Step, st.sampled_from(["divide", "multiply"]), st.floats(1e-6, 1e6))
    | st.just(Step("float32"))
    | st.builds(Step, st.just("clip"), st.floats(-9, 0), st.floats(0, 9)),
    max_size=4,
)


@given(steps=STEPS, cut=FINITE | st.floats(-10, 10), inputs=st.lists(FINITE, max_size=5))
def test_an_input_is_up_to_the_cut_if_its_feature_is(
    steps: list[Step], cut: float, inputs: list[float]
) -> None:
    feature = Number(0, tuple(steps))
    (moved,) = pull_back(feature.of, np.array([cut])).tolist()
    around = [moved, float(np.nextafter(moved, -np.inf)), float(np.nextafter(moved, np.inf))]
    for value in [*inputs, *(value for value in around if np.isfinite(value))]:
        with np.errstate(all="ignore"):
            assert (value <= moved) == bool(feature.of([value])[0] <= cut), value


def test_a_cut_below_or_above_all_has_no_finite_place() -> None:
    clipped = Number(0, (Step("clip", -1.0, 1.0),))
    assert pull_back(clipped.of, np.array([-2.0, 1.0, 0.25])).tolist() == [-np.inf, np.inf, 0.25]


@given(value=FINITE)
def test_a_range_may_hold_one_value_alone(value: float) -> None:
    low, high = equals(value)
    assert low < value <= high
    assert np.nextafter(low, np.inf) == value


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (Step("fill", 7.0), [7.0, 1.5, -2.0]),
        (Step("subtract", 0.5), [np.nan, 1.0, -2.5]),
        (Step("divide", 2.0), [np.nan, 0.75, -1.0]),
        (Step("multiply", 3.0), [np.nan, 4.5, -6.0]),
        (Step("add", 1.0), [np.nan, 2.5, -1.0]),
        (Step("clip", -1.0, 1.0), [np.nan, 1.0, -1.0]),
    ],
)
def test_a_step(step: Step, wanted: list[float]) -> None:
    np.testing.assert_array_equal(Number(0, (step,)).of([np.nan, 1.5, -2.0]), wanted)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_decreases(name: str) -> None:
    values: Any = np.sort(np.concatenate([np.geomspace(1e-300, 1e300, 999), [0.0]]))
    with np.errstate(all="ignore"):
        found = Number(0, (Step(name),)).of(values)
    assert (np.diff(found[np.isfinite(found)]) >= 0).all()
