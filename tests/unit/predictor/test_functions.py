"""The two functions over callables and objects; packed models are in tests/unit/packing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import (
    DeclarationError,
    InvalidInput,
    PredictionFailed,
    batch_predict,
    real_time_predict,
)


def double(x: Any) -> Any:
    return x * 2


class PerItem:
    """Has predict, and no fit: given one item at a time."""

    def predict(self, x: Any) -> Any:
        return x + 1


class Estimator:
    """Looks like a scikit-learn estimator, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def fit(self) -> None:
        """Never called."""

    def predict(self, rows: Any) -> Any:
        self.calls += 1
        return np.array([float(np.sum(row)) for row in np.asarray(rows)])


def test_the_first_snippet_of_the_readme() -> None:
    model: Callable[[Any], Any] = lambda x: x * 2  # noqa: E731 - as a reader would write it
    assert batch_predict(model, [1, 2, 3]) == [2, 4, 6]
    assert real_time_predict(model, 4) == 8


@given(st.lists(st.integers()))
def test_order_and_count_are_kept_and_both_speeds_agree(items: list[int]) -> None:
    assert batch_predict(double, items) == [real_time_predict(double, item) for item in items]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ([1, 2], list),
        ((1, 2), tuple),
        (np.array([1, 2]), np.ndarray),
        (iter([1, 2]), list),
        (range(1, 3), range),
    ],
    ids=["list", "tuple", "array", "iterator", "range"],
)
def test_the_container_kind_is_kept(data: Any, kind: type) -> None:
    predicted = batch_predict(double, data)
    assert isinstance(predicted, kind if kind is not range else list)
    assert list(predicted) == [2, 4]


def test_an_arrow_table_of_rows_gives_an_arrow_array() -> None:
    table = pa.table({"a": [1, 2], "b": [10, 20]})
    predicted = batch_predict(lambda row: row["a"] + row["b"], table)
    assert isinstance(predicted, pa.Array)
    assert predicted.to_pylist() == [11, 22]


def test_pandas_keeps_its_index() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is an extra")
    frame = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    predicted = batch_predict(lambda row: row["a"] * 2, frame)
    assert isinstance(predicted, pd.Series)
    assert predicted.to_dict() == {"x": 2, "y": 4}
    assert batch_predict(double, frame["a"]).to_dict() == {"x": 2, "y": 4}


def test_polars_gives_a_polars_series() -> None:
    pl = pytest.importorskip("polars", reason="polars is an extra")
    predicted = batch_predict(lambda row: row["a"] * 2, pl.DataFrame({"a": [1, 2]}))
    assert isinstance(predicted, pl.Series)
    assert predicted.to_list() == [2, 4]


def test_an_object_with_predict_gets_one_item_at_a_time() -> None:
    assert batch_predict(PerItem(), [1, 2]) == [2, 3]
    assert real_time_predict(PerItem(), 1) == 2


def test_an_estimator_gets_many_rows_in_one_call() -> None:
    model = Estimator()
    assert batch_predict(model, [[1, 2], [3, 4]]) == [3.0, 7.0]
    assert model.calls == 1
    assert real_time_predict(model, [3, 4]) == 7.0


def test_no_items_give_no_predictions() -> None:
    assert batch_predict(double, []) == []


MISUSE = [
    (batch_predict, 5, "got one int: 5. Pass [5], or call real_time_predict(model, 5)."),
    (batch_predict, "five", "got one str: 'five'. Pass ['five'], or call real_time_predict"),
    (batch_predict, None, "got one NoneType: None. Pass [None]"),
    (batch_predict, {"a": 1}, "got one dict: {'a': 1}. Pass [{'a': 1}]"),
    (batch_predict, {1, 2}, "got a set, which has no order. Pass sorted(...) of it."),
    (batch_predict, np.array(5), "got an array without dimensions."),
    (real_time_predict, [1, 2], "expected one input, got a list of 2. Pass one item, or call"),
    (real_time_predict, [], "expected one input, got a list of 0."),
    (real_time_predict, np.ones((2, 2)), "expected one input, got a ndarray of 2."),
    (real_time_predict, pa.table({"a": [1]}), "expected one input, got a Table of 1."),
    (real_time_predict, iter([1]), "expected one input, got a list_iterator."),
]


@pytest.mark.parametrize(("function", "data", "words"), MISUSE, ids=lambda item: str(item)[:30])
def test_misuse_says_the_fix(function: Callable[..., Any], data: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        function(double, data)
    assert words in str(caught.value)


def test_misuse_of_an_estimator_says_the_fix() -> None:
    with pytest.raises(InvalidInput, match=r"Pass one list per row: \[\[1.0\], \[2.0\]\]"):
        batch_predict(Estimator(), [1, 2])
    with pytest.raises(InvalidInput, match="got a list of 1"):
        real_time_predict(Estimator(), [[1, 2]])


@pytest.mark.parametrize("function", [batch_predict, real_time_predict])
def test_what_is_no_model_is_named(function: Callable[..., Any]) -> None:
    with pytest.raises(DeclarationError, match="expected a model"):
        function(5, [1])
    with pytest.raises(DeclarationError, match=r"Pass an instance: PerItem\(\)"):
        function(PerItem, [1])


def test_a_model_that_raises_names_the_item() -> None:
    with pytest.raises(PredictionFailed, match="item 1: the model raised ZeroDivisionError"):
        batch_predict(lambda x: 1 // x, [1, 0])


def test_a_model_that_loses_rows_is_refused() -> None:
    class Lossy(Estimator):
        def predict(self, rows: Any) -> Any:
            return np.zeros(len(rows) - 1)

    with pytest.raises(PredictionFailed, match="expected 2 predictions, got 1"):
        batch_predict(Lossy(), [[1], [2]])
