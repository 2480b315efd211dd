"""Rows on the edge: special values, and both sides of every boundary."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.model.arrow import null_mask, numbers
from twofold.model.columns import arrow_schema, check_columns, columns_of
from twofold.model.signature import Field, FieldType, Signature, Value
from twofold.predictor.edge_rows import (
    FLOATS,
    INTEGERS,
    LARGE_FLOATS,
    UNSEEN,
    boundary_rows,
    edge_rows,
    special_rows,
)
from twofold.predictor.program import COLUMN, Header, Input, Program


def signed(*fields: Field) -> Signature:
    return Signature(fields=fields)


def one_field(kind: FieldType, **more: Any) -> Signature:
    return signed(Field(name="x", type=kind, **more))


def special(signature: Signature, values: list[Value], *, each: int = 1) -> list[Any]:
    rows = columns_of(signature, [[value] for value in values])
    return special_rows(signature, rows, each=each).column(0).to_pylist()


def test_floats_get_their_own_ends_and_the_extremes() -> None:
    found = special(one_field("float64"), [2.5, -7.0, 3.0])
    assert found == [-7.0, 3.0, *LARGE_FLOATS, *FLOATS]
    assert [math.copysign(1, value) for value in found if value == 0.0] == [1.0, -1.0]


def test_float32_gets_the_extremes_as_it_holds_them() -> None:
    found = special(one_field("float32"), [2.5, 0.1])
    ends = [np.float32(0.1).item(), 2.5]
    assert found == [*ends, *(np.float32(value).item() for value in FLOATS)]
    assert (
        found[len(ends) + FLOATS.index(1e-45)] == 1.401298464324817e-45
    )  # the smallest, and not zero


def test_whole_numbers_get_what_floats_cannot_hold() -> None:
    found = special(one_field("int64"), [5, -(2**63), 2**63 - 1])
    assert found == [-(2**63), 2**63 - 1, *INTEGERS]
    assert 2**24 + 1 in found


def test_nulls_are_tried_only_where_they_are_admitted() -> None:
    assert None not in special(one_field("float64"), [1.0, 2.0])
    assert special(one_field("float64", nullable=True), [1.0, None]) == [
        None,
        1.0,
        1.0,
        *LARGE_FLOATS,
        *FLOATS,
    ]


def test_a_column_of_nulls_has_no_ends() -> None:
    assert special(one_field("int64", nullable=True), [None, None]) == [None, *INTEGERS]


def test_free_text_gets_strings_that_the_sample_does_not_have() -> None:
    expected = ["", UNSEEN, "é世 😀", "nan"]
    assert special(one_field("string"), ["a", "b"]) == expected
    allowed = one_field("string", categories=("a", "b"), unknown_categories="allow")
    assert special(allowed, ["a", "b"]) == expected


def test_text_of_known_values_gets_each_of_them_and_no_other() -> None:
    known = tuple(f"c{number:03}" for number in range(100))
    assert special(one_field("string", categories=known), ["c000"]) == list(known[:64])
    with_null = one_field("string", categories=("a", "b"), nullable=True)
    assert special(with_null, ["a"]) == [None, "a", "b"]


def test_bools_get_both_and_null() -> None:
    assert special(one_field("bool", nullable=True), [True, True]) == [None, False, True]


@pytest.mark.parametrize("kind", ["timestamp", "tensor"])
def test_timestamps_and_tensors_get_only_null(kind: FieldType) -> None:
    length = 2 if kind == "tensor" else None
    value: Value = [1.0, 2.0] if kind == "tensor" else 1
    assert special(one_field(kind, length=length, nullable=True), [value]) == [None]
    assert special(one_field(kind, length=length), [value]) == []


def test_nothing_special_gives_no_rows_of_the_same_columns() -> None:
    signature = one_field("timestamp")
    found = special_rows(signature, columns_of(signature, [[1], [2]]))
    assert (found.num_rows, found.schema) == (0, arrow_schema(signature))


MIXED = signed(
    Field(name="f", type="float64", nullable=True),
    Field(name="n", type="int64"),
    Field(name="s", type="string", categories=("a", "b")),
)


def mixed(count: int, first: int = 0) -> pa.RecordBatch:
    rows: list[list[Value]] = [
        [None if row % 3 == 0 else row / 2, row, "ab"[row % 2]] for row in range(count)
    ]
    return columns_of(MIXED, rows).slice(first)


def test_each_row_differs_from_one_of_the_sample_in_one_field() -> None:
    rows = mixed(11, first=2)
    sample = [tuple(row.values()) for row in rows.to_pylist()]
    found = [tuple(row.values()) for row in special_rows(MIXED, rows).to_pylist()]
    for row in found:
        shared = [sum(a == b for a, b in zip(row, one, strict=True)) for one in sample]
        assert max(shared) >= 2
    # Four rows of the sample, first and last among them, for each value of each field.
    specials = (1 + 2 + len(LARGE_FLOATS) + len(FLOATS)) + (2 + len(INTEGERS)) + 2
    assert len(found) == 4 * specials
    assert {row[1] for row in found[:4]} == {2, 4, 7, 10}


def test_a_sample_of_fewer_rows_is_used_whole() -> None:
    rows = mixed(2)
    specials = (1 + 2 + len(LARGE_FLOATS) + len(FLOATS)) + (2 + len(INTEGERS)) + 2
    assert special_rows(MIXED, rows, each=4).num_rows == 2 * specials


def test_a_part_of_a_sample_has_the_ends_of_that_part() -> None:
    signature = one_field("int64")
    rows = columns_of(signature, [[value] for value in (99, 3, 4, -99)]).slice(1, 2)
    assert special_rows(signature, rows, each=1).column(0).to_pylist()[:2] == [3, 4]


FIELDS = st.one_of(
    st.builds(
        lambda kind, nullable: (Field(name="x", type=kind, nullable=nullable), 3),
        st.sampled_from(["float64", "float32", "int64"]),
        st.booleans(),
    ),
    st.builds(
        lambda nullable, unknown: (
            Field(
                name="x",
                type="string",
                nullable=nullable,
                categories=("a", "b"),
                unknown_categories=unknown,
            ),
            "a",
        ),
        st.booleans(),
        st.sampled_from(["refuse", "allow"]),
    ),
    st.builds(
        lambda nullable: (Field(name="x", type="bool", nullable=nullable), True), st.booleans()
    ),
)


@given(FIELDS)
def test_every_special_row_fits_the_signature(given_field: tuple[Field, Value]) -> None:
    field, value = given_field
    signature = signed(field)
    rows = columns_of(signature, [[value]])
    checked = check_columns(signature, special_rows(signature, rows))
    assert checked.problems == []


Predict = Callable[[pa.RecordBatch], list[Any]]


def step_at(threshold: float, index: int = 0) -> Predict:
    """A model that changes above a threshold of one field; null is below it."""

    def predict(columns: pa.RecordBatch) -> list[Any]:
        column = columns.column(index)
        return [((numbers(column) > threshold) & ~null_mask(column)).astype(float)]

    return predict


def sides(signature: Signature, values: list[Any], predict: Predict) -> tuple[Any, Any]:
    """The two values found at each boundary, the lower one first."""
    rows = columns_of(signature, [[value] for value in values])
    found = numbers(boundary_rows(signature, rows, predict).column(0))
    one, other = np.split(found, 2)
    return np.minimum(one, other), np.maximum(one, other)


@pytest.mark.parametrize("kind", ["float64", "float32"])
@given(threshold=st.floats(-0.875, 0.875, width=32).filter(lambda x: abs(x) > 2**-8))
def test_a_boundary_is_found_to_neighbouring_floats(kind: FieldType, threshold: float) -> None:
    below, above = sides(one_field(kind), [-1.0, 1.0, 0.5, -0.5], step_at(threshold))
    assert len(below) > 0
    exact = below.dtype.type(threshold)
    assert set(below.tolist()) == {exact.item()}
    assert set(above.tolist()) == {np.nextafter(exact, below.dtype.type(np.inf)).item()}


@given(threshold=st.integers(-(2**63), 2**63 - 2))
def test_a_boundary_of_whole_numbers_is_found_over_their_whole_range(threshold: int) -> None:
    below, above = sides(
        one_field("int64"),
        [-(2**63), 2**63 - 1],
        lambda columns: [(numbers(columns.column(0)) > threshold).astype(float)],
    )
    assert set(below.tolist()) == {threshold}
    assert set(above.tolist()) == {threshold + 1}


def test_a_boundary_between_very_large_floats_is_found() -> None:
    # Their sum is infinite: the middle must be found without it.
    below, above = sides(one_field("float64"), [1.6e308, 1.1e308, -1.7e308], step_at(1.25e308))
    assert set(below.tolist()) == {1.25e308}
    assert set(above.tolist()) == {math.nextafter(1.25e308, math.inf)}


def test_rows_at_a_boundary_are_otherwise_rows_of_the_sample() -> None:
    rows = mixed(20, first=1)
    found = boundary_rows(MIXED, rows, step_at(3.25)).to_pylist()
    assert {row["f"] for row in found} == {3.25, math.nextafter(3.25, 4)}
    pairs = {(row["n"], row["s"]) for row in rows.to_pylist() if row["f"] is not None}
    assert {(row["n"], row["s"]) for row in found} <= pairs


def test_the_boundaries_of_each_field_are_looked_for() -> None:
    signature = signed(Field(name="a", type="float64"), Field(name="b", type="int64"))
    rows = columns_of(signature, [[row / 8, row] for row in range(16)])

    def predict(columns: pa.RecordBatch) -> list[Any]:
        return [*step_at(1.0)(columns), *step_at(9, 1)(columns)]

    found = boundary_rows(signature, rows, predict).to_pylist()
    a = {row["a"] for row in found}
    assert {1.0, math.nextafter(1.0, 2.0)} <= a
    assert {9, 10} <= {row["b"] for row in found}


def test_a_boundary_of_any_output_is_one() -> None:
    def second(columns: pa.RecordBatch) -> list[Any]:
        return [np.zeros(columns.num_rows), *step_at(0.3)(columns)]

    below, _ = sides(one_field("float64"), [0.0, 1.0], second)
    assert set(below.tolist()) == {0.3}


def test_a_boundary_between_labels_is_one() -> None:
    def words(columns: pa.RecordBatch) -> list[Any]:
        return [np.where(numbers(columns.column(0)) > 0.3, "high", "low").astype(object)]

    below, _ = sides(one_field("float64"), [0.0, 1.0], words)
    assert set(below.tolist()) == {0.3}


def test_a_model_without_boundaries_gives_no_rows() -> None:
    rows = mixed(9)
    found = boundary_rows(MIXED, rows, lambda columns: [np.ones(columns.num_rows)])
    assert (found.num_rows, found.schema) == (0, rows.schema)


def test_fields_that_are_no_numbers_and_columns_of_nulls_have_none() -> None:
    signature = signed(
        Field(name="s", type="string"),
        Field(name="b", type="bool"),
        Field(name="n", type="float64", nullable=True),
    )
    rows = columns_of(signature, [["a", True, None], ["b", False, None]])
    calls: list[int] = []

    def predict(columns: pa.RecordBatch) -> list[Any]:
        calls.append(columns.num_rows)
        return [np.arange(columns.num_rows)]

    assert boundary_rows(signature, rows, predict).num_rows == 0
    assert calls == []


def test_the_model_is_never_given_null_in_the_field_that_is_searched() -> None:
    nullable = one_field("float64", nullable=True)
    values: list[Any] = [None, 0.0, None, 1.0]
    rows = columns_of(nullable, [[value] for value in values]).slice(1)
    seen: list[int] = []

    def predict(columns: pa.RecordBatch) -> list[Any]:
        seen.append(columns.column(0).null_count)
        return step_at(0.3)(columns)

    found = boundary_rows(nullable, rows, predict)
    assert set(found.column(0).to_pylist()) == {0.3, math.nextafter(0.3, 1.0)}
    assert set(seen) == {0}


def test_the_seed_alone_decides_which_pairs_are_tried() -> None:
    rows = mixed(30)
    one, again = (boundary_rows(MIXED, rows, step_at(9, 1), seed=3) for _ in range(2))
    assert one.equals(again)
    other = boundary_rows(MIXED, rows, step_at(9, 1), seed=4)
    assert not one.equals(other)


def test_no_more_pairs_are_tried_than_asked_for() -> None:
    signature = one_field("float64")
    rows = columns_of(signature, [[row / 8] for row in range(80)])
    sizes: list[int] = []

    def predict(columns: pa.RecordBatch) -> list[Any]:
        sizes.append(columns.num_rows)
        return step_at(5.0)(columns)

    found = boundary_rows(signature, rows, predict, pairs_per_field=10)
    assert max(sizes) == 10
    assert found.num_rows <= 20


def program_of(cuts: dict[int, list[float]], kinds: dict[int, int] | None = None) -> Program:
    """A compiled model as far as its edges go: those of each field, by its position."""
    columns = np.zeros(len(cuts), COLUMN)
    edges: list[float] = []
    for index, (field, listed) in enumerate(cuts.items()):
        columns[index]["input"] = index
        columns[index]["kind"] = (kinds or {}).get(field, 0)
        columns[index]["first"] = len(edges)
        columns[index]["count"] = len(listed)
        edges += listed
    inputs = tuple(Input(field=field, kind="float64") for field in cuts)
    header = Header(inputs=inputs, dimensions=1, single=False, link="none")
    return Program(header, {"columns": columns, "edges": np.array(edges)})


def edges_of(signature: Signature, cuts: list[float], values: list[Value]) -> set[Any]:
    rows = columns_of(signature, [[value] for value in values])
    return set(edge_rows(signature, rows, program_of({0: cuts})).column(0).to_pylist())


def test_a_compiled_edge_is_tried_with_both_its_neighbours() -> None:
    found = edges_of(one_field("float64"), [0.5, -3.0], [1.0])
    expected: set[float] = set()
    for cut in (0.5, -3.0):
        expected |= {cut, math.nextafter(cut, -math.inf), math.nextafter(cut, math.inf)}
    assert found == expected


def test_a_compiled_edge_of_float32_is_tried_among_float32() -> None:
    near = np.float32(0.1)
    found = edges_of(one_field("float32"), [0.1], [1.0])
    down, up = np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))
    assert found == {near.item(), down.item(), up.item()}


def test_a_compiled_edge_of_whole_numbers_is_tried_on_both_sides() -> None:
    found = edges_of(one_field("int64"), [2.5, -2.5, 7.0, 1e300, -1e300], [1])
    assert found == {2, 3, -3, -2, 7, 8}


def test_edges_that_are_not_finite_are_left_out() -> None:
    found = edges_of(one_field("float64"), [math.inf, -math.inf, 1.0], [1.0])
    assert all(math.isfinite(value) for value in found)
    assert len(found) == 3


def test_rows_at_compiled_edges_are_otherwise_rows_of_the_sample() -> None:
    rows = mixed(9, first=3)
    found = edge_rows(MIXED, rows, program_of({1: [4.5], 0: [0.25]})).to_pylist()
    sample = [tuple(row.values()) for row in rows.to_pylist()]
    changed_f = [row for row in found if row["f"] is not None and abs(row["f"] - 0.25) < 1e-9]
    assert [len(found), len(changed_f)] == [2 + 3, 3]
    assert {(row["n"], row["s"]) for row in changed_f} <= {(n, s) for _, n, s in sample}


def test_columns_that_are_no_numbers_have_no_compiled_edges() -> None:
    rows = mixed(9)
    found = edge_rows(MIXED, rows, program_of({2: [1.0]}, kinds={2: 1}))
    assert (found.num_rows, found.schema) == (0, rows.schema)
    # A number column of a text field, as an encoder makes it: its edges are of no field's type.
    assert edge_rows(MIXED, rows, program_of({2: [1.0]})).num_rows == 0


def test_too_many_compiled_edges_are_thinned_evenly() -> None:
    signature = one_field("float64")
    rows = columns_of(signature, [[1.0]])
    cuts = [float(cut) for cut in range(1, 1001)]
    found = edge_rows(signature, rows, program_of({0: cuts}), max_rows=30).column(0).to_pylist()
    assert len(found) == 30
    kept = [value for value in found if value == int(value)]
    assert kept == [1.0, 112.0, 223.0, 334.0, 445.0, 556.0, 667.0, 778.0, 889.0, 1000.0]


def test_an_edge_that_several_columns_share_is_tried_once() -> None:
    signature = one_field("float64")
    rows = columns_of(signature, [[1.0]])
    program = program_of({0: [1.0, 2.0], 1: [2.0, 3.0]})
    shared = Program(
        Header(
            inputs=(Input(field=0, kind="float64"), Input(field=0, kind="float64")),
            dimensions=1,
            single=False,
            link="none",
        ),
        program.arrays,
    )
    assert edge_rows(signature, rows, shared).num_rows == 9
