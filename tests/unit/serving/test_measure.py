"""A model is measured when it is loaded, and is predicted where that costs the others least."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import record_of

from twofold.model.record import Candidate, ModelVersion, Modes
from twofold.serving import measure as measuring
from twofold.serving.cost import Curve
from twofold.serving.measure import (
    DIRECT_S,
    INLINE_S,
    MANY_ROWS,
    REPEATS,
    Costs,
    Where,
    expected_apart,
    measure,
)
from twofold.serving.together import Columns, Rows
from twofold.serving.turn import MAX_BLOCK_S

SECONDS = st.floats(0.0, 1.0)
COSTS = st.builds(Costs, SECONDS, st.builds(Curve, SECONDS, SECONDS))


class Timed:
    """A model that takes manual time: so much one by one, so much together, longer at first."""

    def __init__(self, one_s: float, together: Curve) -> None:
        self.now_s = 0.0
        self.calls: list[tuple[int, int]] = []
        self._one_s = one_s
        self._together = together

    def predict_checked(self, rows: Rows, *, one_by_one: int = 1) -> Columns:
        is_first = (len(rows), one_by_one) not in self.calls
        self.calls.append((len(rows), one_by_one))
        is_single = len(rows) <= one_by_one
        took_s = self._one_s * len(rows) if is_single else self._together(len(rows))
        self.now_s += took_s * (10.0 if is_first else 1.0)
        return [[0.0] * len(rows)]


def measured(
    monkeypatch: pytest.MonkeyPatch, one_s: float, together: Curve, sample_rows: int = 3
) -> tuple[Costs, Timed]:
    model = Timed(one_s, together)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: model.now_s)
    return measure(model, [[float(row)] for row in range(sample_rows)]), model


def test_both_doors_are_measured_at_their_best(monkeypatch: pytest.MonkeyPatch) -> None:
    costs, model = measured(monkeypatch, 0.002, Curve(0.01, 0.001))
    assert costs.one_s == pytest.approx(0.002)
    assert costs.together.fixed_s == pytest.approx(0.01)
    assert costs.together.per_row_s == pytest.approx(0.001)
    assert len(model.calls) == 3 * REPEATS


@pytest.mark.parametrize("sample_rows", [1, MANY_ROWS, 5 * MANY_ROWS])
def test_sample_of_any_size_is_measured_in_calls_of_the_same_size(
    monkeypatch: pytest.MonkeyPatch, sample_rows: int
) -> None:
    _, model = measured(monkeypatch, 0.002, Curve(0.01, 0.001), sample_rows)
    assert set(model.calls) == {(1, 1), (1, 0), (MANY_ROWS, 0)}


@pytest.mark.parametrize(
    ("one_s", "together", "where"),
    [
        # A compiled model: quick, and no quicker together.
        (0.000003, Curve(0.00005, 0.000001), Where.DIRECT),
        # As quick, but much quicker together.
        (0.00004, Curve(0.00003, 0.000002), Where.TURN),
        # A model of a library: not quick, but the loop can bear it.
        (0.0003, Curve(0.0003, 0.00001), Where.TURN),
        # It would keep the loop from everybody else.
        (0.02, Curve(0.02, 0.0001), Where.APART),
        (0.02, Curve(0.0, 0.02), Where.APART),
    ],
)
def test_model_is_predicted_where_it_belongs(one_s: float, together: Curve, where: Where) -> None:
    assert Costs(one_s, together).where is where


@given(COSTS)
def test_only_a_row_that_the_loop_can_bear_is_predicted_in_it(costs: Costs) -> None:
    assert (costs.where is Where.APART) == (costs.one_s > INLINE_S)
    if costs.where is Where.DIRECT:
        assert costs.one_s <= DIRECT_S


@given(COSTS)
def test_so_many_rows_are_predicted_one_by_one_as_that_is_the_cheaper_way(costs: Costs) -> None:
    rows = costs.one_by_one
    assert rows >= 1
    slack_s = 1e-6 * rows
    assert rows == 1 or rows * costs.one_s <= costs.together(rows) + slack_s
    if rows < 1_000_000:
        assert (rows + 1) * costs.one_s >= costs.together(rows + 1) - slack_s


def test_curve_is_of_the_way_that_rows_are_predicted() -> None:
    assert Costs(0.001, Curve(0.1, 0.0)).curve == Curve(0.0, 0.001)
    assert Costs(0.001, Curve(0.002, 0.0001)).curve == Curve(0.002, 0.0001)


def record(real_time: Any, **times_s: float | None) -> ModelVersion:
    candidates = tuple(
        Candidate(runtime=name, passed=True, reason="", one_row_s=one_row_s)  # type: ignore[arg-type]
        for name, one_row_s in times_s.items()
    )
    plain = record_of()
    return msgspec.structs.replace(
        plain,
        runtimes=Modes(batch="original", real_time=real_time),
        parity=msgspec.structs.replace(plain.parity, candidates=candidates),
    )


def test_what_was_slow_when_it_was_packed_is_not_even_loaded_beside_the_loop() -> None:
    assert expected_apart(record("original", original=0.02))
    assert not expected_apart(record("original", original=0.0001))


def test_only_the_runtime_that_answers_in_real_time_counts() -> None:
    assert not expected_apart(record("compiled", original=0.02, compiled=0.000003))
    assert expected_apart(record("original", original=0.02, compiled=0.000003))


def test_model_that_was_not_timed_is_measured_when_it_is_loaded() -> None:
    assert not expected_apart(record("original", original=None))
    assert not expected_apart(record("original"))


def test_so_many_rows_are_predicted_in_the_loop_as_do_not_hold_it_up() -> None:
    quick = Costs(0.000002, Curve(0.0001, 0.000001))
    assert quick.curve(quick.rows_here) <= MAX_BLOCK_S
    assert quick.curve(quick.rows_here + 2) > MAX_BLOCK_S
    assert Costs(0.01, Curve(0.0, 0.01)).rows_here == 1
