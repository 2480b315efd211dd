"""The one door: what a runtime is held to, and what callers get at either speed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import VALUE, record_of

from twofold.errors import ConfigError, InvalidInput, PredictionFailed
from twofold.model.arrow import null_mask, numbers
from twofold.model.columns import columns_of
from twofold.model.signature import Field, Output, OutputType, Signature, Value
from twofold.predictor.door import Door, Predictor, output_columns, raised

SIGNATURE = Signature(
    fields=(
        Field(name="x", type="float64", nullable=True),
        Field(name="s", type="string", categories=("a", "b")),
    ),
    ignored=("id",),
)
PAIR = Output(kind="probability", type="float64", names=("no", "yes"))


@dataclasses.dataclass
class Fake:
    """A runtime made of a function of x; it keeps the rows of each call."""

    many: Callable[[Any], list[Any]]
    one: Callable[[Any], tuple[Any, ...]] | None = None
    concurrent: bool = True
    calls: list[list[Any]] = dataclasses.field(default_factory=list)

    def predict_columns(self, columns: pa.RecordBatch) -> list[Any]:
        column = columns.column(0)
        self.calls.append(column.to_pylist())
        return self.many(np.where(null_mask(column), -1.0, numbers(column)))

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        self.calls.append([values[0]])
        if self.one is not None:
            return self.one(values[0])
        x = -1.0 if values[0] is None else values[0]
        return tuple(column[0].item() for column in self.many(np.array([x])))


def doubled(xs: Any) -> list[Any]:
    return [xs * 2]


def pair(xs: Any) -> list[Any]:
    return [xs * 2, xs + 0.5]


def rows_of(*xs: float | None) -> pa.RecordBatch:
    return columns_of(SIGNATURE, [[x, "a"] for x in xs])


def door_of(
    many: Callable[[Any], list[Any]],
    output: Output = VALUE,
    *,
    rows_per_call: int = 0,
    one: Callable[[Any], tuple[Any, ...]] | None = None,
) -> tuple[Door, Fake]:
    fake = Fake(many, one)
    return Door(fake, SIGNATURE, output, rows_per_call=rows_per_call), fake


TYPES: list[tuple[OutputType, Any]] = [
    ("float64", np.float64),
    ("float32", np.float32),
    ("int64", np.int64),
    ("bool", np.bool_),
    ("string", object),
]


@pytest.mark.parametrize(("kind", "expected"), TYPES)
def test_no_rows_give_empty_outputs_of_the_declared_type_without_a_call(
    kind: OutputType, expected: Any
) -> None:
    output = Output(kind="value", type=kind, names=("first", "second"))
    door, fake = door_of(doubled, output)
    found = door.columns(rows_of())
    assert [(len(column), column.dtype) for column in found] == [(0, np.dtype(expected))] * 2
    assert fake.calls == []


@pytest.mark.parametrize(
    ("kind", "returned", "expected"),
    [
        ("float64", np.array([0.1, 2], np.float32), [np.float32(0.1).item(), 2.0]),
        ("float32", np.array([0.1, 2]), [np.float32(0.1).item(), 2.0]),
        ("int64", np.array([1, -2], np.int32), [1, -2]),
        ("string", np.array(["a", "é"]), ["a", "é"]),
    ],
)
def test_predictions_have_the_declared_type_whatever_the_runtime_computes_in(
    kind: OutputType, returned: Any, expected: list[Any]
) -> None:
    door, _ = door_of(lambda _: [returned], Output(kind="value", type=kind))
    (found,) = door.columns(rows_of(1.0, 2.0))
    assert found.tolist() == expected
    assert found.dtype == np.dtype(dict(TYPES)[kind])
    assert [type(item) for item in found.tolist()] == [type(item) for item in expected]


@given(
    xs=st.lists(st.none() | st.floats(-1e9, 1e9), max_size=40),
    size=st.integers(1, 9),
    start=st.integers(0, 5),
)
def test_a_fixed_number_of_rows_a_call_changes_no_prediction_and_no_order(
    xs: list[float | None], size: int, start: int
) -> None:
    rows = rows_of(*xs).slice(start)
    plain, _ = door_of(pair, PAIR)
    fixed, fake = door_of(pair, PAIR, rows_per_call=size)
    for one, other in zip(plain.columns(rows), fixed.columns(rows), strict=True):
        assert one.tobytes() == other.tobytes()
    assert {len(call) for call in fake.calls} <= {size}
    assert len(fake.calls) == -(-rows.num_rows // size)


def test_a_call_that_is_not_full_is_padded_with_its_last_row() -> None:
    door, fake = door_of(doubled, rows_per_call=4)
    assert door.columns(rows_of(1.0, 2.0, 3.0, 4.0, 5.0, None))[0].tolist()[-1] == -2.0
    assert fake.calls == [[1.0, 2.0, 3.0, 4.0], [5.0, None, None, None]]


def test_a_row_alone_is_padded_where_calls_have_a_fixed_number_of_rows() -> None:
    door, fake = door_of(pair, PAIR, rows_per_call=3)
    assert door.values([4.0, "b"]) == (8.0, 4.5)
    assert fake.calls == [[4.0, 4.0, 4.0]]
    assert door.values([None, "b"]) == (-2.0, -0.5)


@pytest.mark.parametrize("size", [0, 1])
def test_a_row_alone_is_given_as_values_otherwise(size: int) -> None:
    door, fake = door_of(doubled, rows_per_call=size, one=lambda x: (x * 2,))
    assert door.values([4.0, "b"]) == (8.0,)
    assert fake.calls == [[4.0]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_runtime_that_loses_or_makes_rows_is_refused(count: int) -> None:
    door, _ = door_of(lambda xs: [xs, np.zeros(count)], PAIR)
    with pytest.raises(PredictionFailed) as caught:
        door.columns(rows_of(1.0, 2.0))
    assert str(caught.value) == (
        f"prediction: expected 2 predictions, got {count}. "
        "The model must return one for each row, in order."
    )


INFINITE = [(np.nan, "NaN"), (np.inf, "Infinity"), (-np.inf, "-Infinity")]


@pytest.mark.parametrize(("value", "words"), INFINITE)
@pytest.mark.parametrize("kind", ["float64", "float32"])
@pytest.mark.parametrize("size", [0, 2])
def test_a_prediction_that_is_not_finite_is_refused_at_both_speeds(
    value: float, words: str, kind: OutputType, size: int
) -> None:
    output = Output(kind="value", type=kind, names=("first", "second"))
    door, _ = door_of(lambda xs: [xs, np.where(xs == 2, value, xs)], output, rows_per_call=size)
    expected = (
        f"prediction: expected a finite {kind}, got {words}. "
        "The model must return such a value for every valid row."
    )
    with pytest.raises(PredictionFailed) as caught:
        door.columns(rows_of(1.0, 3.0, 2.0))
    assert str(caught.value) == expected
    with pytest.raises(PredictionFailed) as caught:
        door.values([2.0, "a"])
    assert str(caught.value) == expected
    assert door.values([3.0, "a"]) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("value", "words"),
    [(1, "integer 1"), (True, "boolean true"), (None, "null"), ("0.5", "string '0.5'")],
)
def test_one_prediction_that_is_no_float_where_one_is_declared_is_refused(
    value: Any, words: str
) -> None:
    door, _ = door_of(doubled, one=lambda _: (value,))
    with pytest.raises(PredictionFailed, match=f"expected a finite float64, got {words}"):
        door.values([1.0, "a"])


def test_float32_is_rounded_alike_at_both_speeds() -> None:
    door, _ = door_of(doubled, Output(kind="value", type="float32"))
    (many,) = door.columns(rows_of(0.1, 1 / 3))
    assert [door.values([x, "a"])[0] for x in (0.1, 1 / 3)] == many.tolist()
    assert many.tolist()[0] == np.float32(0.2).item() != 0.2


def raising(error: Exception) -> Any:
    def call(_: Any) -> Any:
        raise error

    return call


@pytest.mark.parametrize("size", [0, 1, 5])
def test_a_model_that_raises_is_told_by_its_first_line(size: int) -> None:
    error = KeyError("no such column\nTraceback ...")
    door, _ = door_of(raising(error), rows_per_call=size, one=raising(error))
    for call in (lambda: door.columns(rows_of(1.0)), lambda: door.values([1.0, "a"])):
        with pytest.raises(PredictionFailed) as caught:
            call()
        assert str(caught.value) == str(raised(error))
        assert caught.value.__cause__ is error


def test_what_a_model_says_is_cut_to_one_short_line() -> None:
    assert str(raised(ValueError("  two\nlines"))) == "the model raised ValueError: two"
    assert str(raised(ValueError("x" * 999))) == "the model raised ValueError: " + "x" * 300
    assert str(raised(ValueError())) == "the model raised ValueError: "


@pytest.mark.parametrize("error", [ConfigError("no library"), PredictionFailed("own words")])
def test_errors_of_twofold_pass_through_the_door_as_they_are(error: Exception) -> None:
    door, _ = door_of(raising(error), one=raising(error))
    for call in (lambda: door.columns(rows_of(1.0)), lambda: door.values([1.0, "a"])):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error


ARROW: list[tuple[OutputType, list[Any], pa.DataType]] = [
    ("float64", [0.5, -0.0], pa.float64()),
    ("float32", [0.5, -0.0], pa.float32()),
    ("int64", [2**62, -1], pa.int64()),
    ("bool", [True, False], pa.bool_()),
    ("string", ["", "é世"], pa.string()),
]


@pytest.mark.parametrize(("kind", "values", "expected"), ARROW)
def test_outputs_become_columns_of_their_name_and_type(
    kind: OutputType, values: list[Any], expected: pa.DataType
) -> None:
    output = Output(kind="value", type=kind, names=("first", "second"))
    column = np.array(values, dict(TYPES)[kind])
    # Every second value: memory that is not contiguous, as a column of a matrix is.
    spaced = np.repeat(column, 2)[::2]
    found = output_columns(output, [column, spaced])
    assert found.schema == pa.schema([("first", expected), ("second", expected)])
    assert found.to_pydict() == {"first": values, "second": values}


def predictor_of(
    many: Callable[[Any], list[Any]] = doubled,
    output: Output = VALUE,
    *,
    signature: Signature = SIGNATURE,
    one: Fake | None = None,
    rows_per_call: int = 0,
) -> Predictor:
    record = record_of(signature=signature, output=output, rows_per_call=rows_per_call)
    fake = Fake(many)
    return Predictor(record, fake, one or fake)


ROWS = [{"x": 1.5, "s": "a"}, {"x": None, "s": "b"}]
CONTAINERS: dict[str, Callable[[], Any]] = {
    "dicts": lambda: ROWS,
    "dicts in another order": lambda: [{"s": row["s"], "x": row["x"]} for row in ROWS],
    "a tuple": lambda: tuple(ROWS),
    "an iterator": lambda: iter(ROWS),
    "lists": lambda: [[1.5, "a"], [None, "b"]],
    "NaN": lambda: [[1.5, "a"], [float("nan"), "b"]],
    "an array of objects": lambda: np.array([[1.5, "a"], [None, "b"]], object),
    "an Arrow table": lambda: pa.table({"s": ["a", "b"], "x": [1.5, None]}),
    "an Arrow batch": lambda: pa.RecordBatch.from_pylist(ROWS),
    "chunks": lambda: pa.concat_tables([pa.Table.from_pylist(ROWS).slice(at, 1) for at in (0, 1)]),
    "a part of a table": lambda: pa.Table.from_pylist([ROWS[1], *ROWS]).slice(1),
    "pandas": lambda: pd.DataFrame({"s": ["a", "b"], "x": [1.5, np.nan]}, index=[7, 7]),
    "polars": lambda: pl.DataFrame({"s": ["a", "b"], "x": [1.5, None]}),
    "a table with an ignored column": lambda: pa.table(
        {"id": [1, 2], "s": ["a", "b"], "x": [1.5, None]}
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_many_rows_come_in_any_container(name: str) -> None:
    found = predictor_of().predict(CONTAINERS[name]())
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [3.0, -2.0]
    several = predictor_of(pair, PAIR).predict(CONTAINERS[name]())
    assert several.tolist() == [[3.0, 2.0], [-2.0, -0.5]]


def test_no_rows_give_no_predictions() -> None:
    empty = pa.schema([("x", pa.float64()), ("s", pa.string())]).empty_table()
    for data in ([], empty, iter(())):
        assert predictor_of().predict(data).shape == (0,)
    assert predictor_of(pair, PAIR).predict([]).shape == (0, 2)
    assert predictor_of(pair, PAIR).predict_rows([]) == []
    assert predictor_of().predict_rows([]) == []


def test_one_row_gives_one_prediction_or_one_of_each_output() -> None:
    for row in (ROWS[0], [1.5, "a"], (1.5, "a"), {**ROWS[0], "id": 9}):
        assert predictor_of().predict_one(row) == 3.0
        assert predictor_of(pair, PAIR).predict_one(row) == {"no": 3.0, "yes": 2.0}
    assert predictor_of().predict_one({"x": float("nan"), "s": "a"}) == -2.0


def test_rows_in_a_list_give_what_each_gives_alone() -> None:
    several = predictor_of(pair, PAIR, rows_per_call=3)
    assert several.predict_rows(ROWS) == [several.predict_one(row) for row in ROWS]
    single = predictor_of()
    assert single.predict_rows(ROWS) == [single.predict_one(row) for row in ROWS]
    assert [type(item) for item in single.predict_rows(ROWS)] == [float, float]


def test_canonical_columns_give_columns_named_as_the_outputs() -> None:
    found = predictor_of(pair, PAIR).predict_columns(rows_of(1.0, None))
    assert found.to_pydict() == {"no": [2.0, -2.0], "yes": [1.5, -0.5]}
    assert predictor_of().predict_columns(rows_of()).to_pydict() == {"prediction": []}


def test_each_mode_has_its_own_runtime() -> None:
    alone = Fake(doubled, one=lambda _: (99.0,), concurrent=False)
    predictor = predictor_of(one=alone)
    assert predictor.predict_one(ROWS[0]) == 99.0
    assert predictor.predict_rows(ROWS[:1]) == [3.0]
    # Threads share the batch's runtime; requests come one after the other.
    assert predictor.concurrent is True
    assert alone.calls == [[1.5]]


def test_a_predictor_tells_what_it_is() -> None:
    predictor = predictor_of()
    assert repr(predictor) == "<twofold.Predictor churn@3>"
    assert (predictor.name, predictor.version, predictor.digest) == ("churn", "3", "d1g3st")
    assert predictor.parity.same_bits


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (5, "rows: expected a list of rows, got integer 5."),
        (None, "rows: expected a list of rows, got null."),
        ("abc", "rows: expected a list of rows, got string 'abc'."),
        (ROWS[0], "rows: expected a list of rows, got an object."),
    ],
)
def test_what_is_no_list_of_rows_is_refused(data: Any, words: str) -> None:
    for call in (predictor_of().predict, predictor_of().predict_rows):
        with pytest.raises(InvalidInput) as caught:
            call(data)
        assert str(caught.value) == f"{words} Pass a list of rows, or call predict_one for one."


@pytest.mark.parametrize("data", [ROWS, tuple(ROWS), [ROWS[0]], [1.5, ROWS[0]]])
def test_many_rows_where_one_is_expected_are_refused(data: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        predictor_of().predict_one(data)
    assert str(caught.value) == (
        f"row: expected one row, got a list of {len(data)}. Call predict for many rows."
    )


@pytest.mark.parametrize("data", [5, None, "ab", iter(ROWS)])
def test_what_is_no_row_is_refused(data: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^row: expected one row, got .* Send an object by"):
        predictor_of().predict_one(data)


def test_a_bad_row_of_a_list_is_named_by_its_place_in_the_callers_words() -> None:
    predictor = predictor_of()
    rows = [*ROWS, {"x": 1.0, "s": "c"}]
    with pytest.raises(InvalidInput) as caught:
        predictor.predict_rows(rows, where="inputs")
    assert str(caught.value).startswith("inputs[2].s: expected one of 'a', 'b', got 'c'.")
    assert caught.value.field == "s"
    with pytest.raises(InvalidInput, match=r"^rows\[1\]: expected 2 values, got 1\."):
        predictor.predict([ROWS[0], [1.0]])


def test_the_first_bad_row_of_a_table_is_named_and_the_others_counted() -> None:
    table = pa.table({"x": [1.0, float("inf"), 2.0, 3.0], "s": ["a", "b", "c", None]})
    with pytest.raises(InvalidInput) as caught:
        predictor_of().predict(table)
    assert str(caught.value).startswith("rows[1].x: expected a finite float64, got Infinity.")
    assert str(caught.value).endswith(" (2 more rows don't fit.)")
    assert caught.value.field == "x"
    with pytest.raises(InvalidInput) as caught:
        predictor_of().predict(table.slice(3))
    assert str(caught.value) == (
        "rows[0].s: expected string, got null. Send a value, or pack the model with --nullable s."
    )


def test_a_table_without_a_field_or_with_an_unknown_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^data\.s: expected a column, got only x\."):
        predictor_of().predict(pa.table({"x": [1.0]}))
    more = pa.table({"x": [1.0], "s": ["a"], "z": [1]})
    with pytest.raises(InvalidInput, match=r"^data\.z: expected only the model's fields \(x, s\)"):
        predictor_of().predict(more)
    tolerant = Signature(fields=SIGNATURE.fields, extra_fields="ignore")
    assert predictor_of(signature=tolerant).predict(more).tolist() == [2.0]


def test_a_model_that_fails_on_one_row_fails_the_call() -> None:
    def picky(xs: Any) -> list[Any]:
        if (xs == -1).any():
            raise ValueError("it can't be missing")
        return [xs]

    with pytest.raises(PredictionFailed, match="the model raised ValueError: it can't be missing"):
        predictor_of(picky).predict(ROWS)
    assert predictor_of(picky).predict(ROWS[:1]).tolist() == [1.5]
