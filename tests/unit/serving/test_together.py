"""Requests predicted together answer as if each were alone; a bad row costs nobody else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import PredictionFailed
from twofold.serving.together import Columns, Rows, predict_together

POISON = -1.0
GROUPS = st.lists(st.lists(st.floats(0.0, 1e6) | st.just(POISON), max_size=4), max_size=40)


class Model:
    """Two outputs for each row; fails if any of them is poisonous, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, rows: Rows) -> Columns:
        self.calls += 1
        if any(row[0] == POISON for row in rows):
            raise PredictionFailed("the model raised")
        return [[row[0] * 2 for row in rows], [row[0] + 1 for row in rows]]  # type: ignore[operator]


def test_requests_are_predicted_in_one_call_and_each_gets_its_own_rows() -> None:
    model = Model()
    answers = predict_together([[[1.0], [2.0]], [[3.0]], [[4.0], [5.0]]], model)
    assert answers == [
        [[2.0, 4.0], [2.0, 3.0]],
        [[6.0], [4.0]],
        [[8.0, 10.0], [5.0, 6.0]],
    ]
    assert model.calls == 1


def test_no_request_is_no_call() -> None:
    model = Model()
    assert predict_together([], model) == []
    assert model.calls == 0


@given(GROUPS)
def test_poisonous_requests_fail_alone_and_all_others_are_right(values: list[list[float]]) -> None:
    groups = [[[value] for value in group] for group in values]
    for group, answer in zip(groups, predict_together(groups, Model()), strict=True):
        if [POISON] in group:
            assert isinstance(answer, PredictionFailed)
        else:
            assert answer == Model()(group)


@pytest.mark.parametrize("count", [2, 7, 64, 1_000])
def test_one_culprit_is_found_in_about_twice_as_many_calls_as_halvings(count: int) -> None:
    for culprit in {0, count // 2, count - 1}:
        model = Model()
        groups = [[[POISON if index == culprit else 1.0]] for index in range(count)]
        answers = predict_together(groups, model)
        assert [isinstance(answer, Exception) for answer in answers].index(True) == culprit
        assert model.calls <= 2 * math.ceil(math.log2(count)) + 1


def test_request_fails_with_what_the_model_raised_whatever_it_was() -> None:
    def broken(rows: Rows) -> Columns:
        raise ZeroDivisionError(f"{len(rows)} rows")

    [answer] = predict_together([[[1.0], [2.0]]], broken)
    assert isinstance(answer, ZeroDivisionError)
    assert str(answer) == "2 rows"


def test_failure_that_comes_with_company_only_costs_nobody() -> None:
    def crowded(rows: Rows) -> Columns:
        if len(rows) > 1:
            raise MemoryError
        return [[row[0] for row in rows]]

    groups = [[[1.0]], [[2.0]], [[3.0]]]
    assert predict_together(groups, crowded) == [[[1.0]], [[2.0]], [[3.0]]]


def test_request_without_rows_has_columns_without_values() -> None:
    assert predict_together([[[1.0]], [], [[2.0]]], Model())[1] == [[], []]
