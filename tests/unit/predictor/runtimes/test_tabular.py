"""Rows as a matrix or a frame, and a library's result as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import PredictionFailed
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Field, Signature, Value
from twofold.predictor.runtimes.tabular import TabularRuntime

NUMBERS = Signature(
    fields=(
        Field(name="x", type="float64", nullable=True),
        Field(name="n", type="int64", nullable=True),
        Field(name="b", type="bool", nullable=True),
        Field(name="v", type="tensor", length=2, nullable=True),
    )
)
TYPED = Signature(
    fields=(
        Field(name="x", type="float64", nullable=True),
        Field(
            name="s",
            type="string",
            nullable=True,
            categories=("b", "a"),
            unknown_categories="allow",
            categorical=True,
        ),
    )
)


class Library:
    """Keeps the rows it is given, and gives back what it was made with."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        self.given: list[Any] = []

    def __call__(self, rows: Any) -> Any:
        self.given.append(rows)
        return np.zeros(len(rows)) if self.result is None else self.result(rows)


def runtime_of(
    library: Library, signature: Signature, kind: Any = "matrix", class_index: int | None = None
) -> TabularRuntime:
    artifact = Artifact(
        file="m",
        format="skops",
        sha256="",
        size_bytes=0,
        call="predict",
        input=kind,
        class_index=class_index,
    )
    return TabularRuntime(library, artifact, signature)


NAN = float("nan")


def test_a_matrix_has_a_column_per_number_and_nan_for_null() -> None:
    library = Library()
    runtime = runtime_of(library, NUMBERS)
    rows: list[list[Value]] = [
        [1.5, 2, True, [3.0, 4.0]],
        [None, None, None, None],
        [-0.0, -7, False, [0.5, 0.25]],
    ]
    expected = [[1.5, 2, 1, 3, 4], [NAN] * 5, [-0.0, -7, 0, 0.5, 0.25]]
    runtime.predict_columns(columns_of(NUMBERS, rows))
    for row in rows:
        runtime.predict_values(row)
    many, *ones = library.given
    np.testing.assert_array_equal(many, np.array(expected))
    assert many.tobytes() == np.concatenate(ones).tobytes()


ROW = st.tuples(
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=2),
)


@given(st.lists(ROW, min_size=1, max_size=8), st.integers(0, 3))
def test_a_library_sees_the_same_matrix_alone_and_in_any_part_of_a_table(
    rows: list[Any], start: int
) -> None:
    library = Library()
    runtime = runtime_of(library, NUMBERS)
    part = columns_of(NUMBERS, rows).slice(start)
    if not part.num_rows:
        return
    runtime.predict_columns(part)
    for row in rows[start:]:
        runtime.predict_values(list(row))
    many, *ones = library.given
    assert many.dtype == ones[0].dtype
    assert many.tobytes() == np.concatenate(ones).tobytes()


def test_a_matrix_of_float32_alone_is_float32() -> None:
    library = Library()
    signature = Signature(fields=(Field(name="x", type="float32", nullable=True),))
    runtime = runtime_of(library, signature)
    runtime.predict_columns(columns_of(signature, [[np.float32(0.1).item()], [None]]))
    runtime.predict_values([np.float32(0.1).item()])
    assert [rows.dtype for rows in library.given] == [np.float32, np.float32]
    assert library.given[1][0, 0] == np.float32(0.1)


def test_a_frame_has_the_types_of_the_signature_at_both_speeds() -> None:
    library = Library()
    runtime = runtime_of(library, TYPED, "frame")
    rows: list[list[Value]] = [[1.5, "a"], [None, None], [2.0, "never seen"]]
    runtime.predict_columns(columns_of(TYPED, rows))
    for row in rows:
        runtime.predict_values(row)
    many, *ones = library.given
    assert list(many.columns) == ["x", "s"]
    assert many["s"].cat.categories.tolist() == ["b", "a"]
    # Missing, and what training did not see: neither has a code.
    assert many["s"].cat.codes.tolist() == [1, -1, -1]
    pd.testing.assert_frame_equal(many, pd.concat(ones, ignore_index=True))


@pytest.mark.parametrize("kind", ["matrix", "frame"])
def test_no_rows_give_columns_of_no_predictions(kind: Any) -> None:
    library = Library(lambda rows: np.zeros((len(rows), 3)))
    found = runtime_of(library, TYPED if kind == "frame" else NUMBERS, kind)
    signature = TYPED if kind == "frame" else NUMBERS
    columns = found.predict_columns(columns_of(signature, []))
    assert [len(column) for column in columns] == [0, 0, 0]


ONE = Signature(fields=(Field(name="x", type="float64"),))


def columns(*xs: float) -> pa.RecordBatch:
    return columns_of(ONE, [[x] for x in xs])


RESULTS: dict[str, tuple[Any, int | None, list[list[float]]]] = {
    "flat": (lambda rows: rows[:, 0], None, [[1.0, 2.0]]),
    "one column": (lambda rows: rows, None, [[1.0, 2.0]]),
    "two columns": (lambda rows: np.hstack([rows, -rows]), None, [[1.0, 2.0], [-1.0, -2.0]]),
    "one of two columns": (lambda rows: np.hstack([rows, -rows]), 1, [[-1.0, -2.0]]),
    "the first of two columns": (lambda rows: np.hstack([rows, -rows]), 0, [[1.0, 2.0]]),
    "a list": (lambda rows: rows[:, 0].tolist(), None, [[1.0, 2.0]]),
    "a series": (lambda rows: pd.Series(rows[:, 0], index=[9, 9][: len(rows)]), None, [[1.0, 2.0]]),
    "a frame": (lambda rows: pd.DataFrame({"a": rows[:, 0]}), None, [[1.0, 2.0]]),
    "a flat result with a class": (lambda rows: rows[:, 0], 1, [[1.0, 2.0]]),
    "two columns for each of two targets": (
        lambda rows: [np.hstack([rows, -rows]), np.hstack([rows, 2 * rows])],
        None,
        [[-1.0, -2.0], [2.0, 4.0]],
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_split_into_outputs_at_both_speeds(name: str) -> None:
    result, class_index, expected = RESULTS[name]
    runtime = runtime_of(Library(result), ONE, class_index=class_index)
    assert [column.tolist() for column in runtime.predict_columns(columns(1.0, 2.0))] == expected
    assert runtime.predict_values([1.0]) == tuple(column[0] for column in expected)


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 3, 2)])
def test_a_result_of_more_dimensions_is_refused(shape: tuple[int, ...]) -> None:
    runtime = runtime_of(Library(lambda _: np.zeros(shape)), ONE)
    with pytest.raises(PredictionFailed) as caught:
        runtime.predict_columns(columns(1.0, 2.0))
    assert str(caught.value) == (
        f"prediction: expected one array, got shape {shape}. Predict one target."
    )


def test_a_result_without_rows_is_refused() -> None:
    runtime = runtime_of(Library(lambda _: 0.5), ONE)
    with pytest.raises(PredictionFailed, match=r"expected one array, got shape \(\)"):
        runtime.predict_values([1.0])


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.float32(0.5), float), (np.int32(3), int), (np.bool_(True), bool), (np.str_("a"), str)],  # noqa: FBT003
)
def test_one_prediction_is_a_plain_value(value: Any, kind: type) -> None:
    runtime = runtime_of(Library(lambda rows: np.array([value] * len(rows))), ONE)
    (found,) = runtime.predict_values([1.0])
    assert type(found) is kind
    assert found == value


def test_a_model_without_a_frame_needs_no_pandas() -> None:
    # test_load.py runs it without pandas; here: the rows are no frame.
    library = Library()
    runtime_of(library, ONE).predict_columns(columns(1.0))
    assert type(library.given[0]) is np.ndarray
