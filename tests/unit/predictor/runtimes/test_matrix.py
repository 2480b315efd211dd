"""Canonical columns as a NumPy matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from twofold.model.columns import columns_of
from twofold.model.signature import Field, Signature
from twofold.predictor.runtimes.matrix import matrix_of, row_matrix, text_values, width_of

SIGNATURE = Signature(
    fields=(
        Field(name="whole", type="int64", nullable=True),
        Field(name="flag", type="bool", nullable=True),
        Field(name="single", type="float32", nullable=True),
        Field(name="double", type="float64", nullable=True),
        Field(name="many", type="tensor", nullable=True, length=2),
    )
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SINGLE = st.floats(allow_nan=False, allow_infinity=False, width=32)
ROW = st.tuples(
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.booleans(),
    st.none() | SINGLE,
    st.none() | FINITE,
    st.none() | st.lists(FINITE, min_size=2, max_size=2),
)


@given(st.lists(ROW, min_size=1, max_size=8))
def test_a_row_alone_has_the_bits_it_has_among_others(rows: list[Any]) -> None:
    whole = matrix_of(SIGNATURE, columns_of(SIGNATURE, rows))
    assert whole.shape == (len(rows), width_of(SIGNATURE)) == (len(rows), 6)
    alone = np.concatenate([row_matrix(SIGNATURE, row) for row in rows])
    assert alone.dtype == whole.dtype
    np.testing.assert_array_equal(alone, whole)
    assert (np.signbit(alone) == np.signbit(whole))[~np.isnan(whole)].all()


@given(st.lists(ROW, min_size=3, max_size=8))
def test_a_slice_of_columns_has_the_bits_of_the_whole(rows: list[Any]) -> None:
    columns = columns_of(SIGNATURE, rows)
    whole, part = matrix_of(SIGNATURE, columns), matrix_of(SIGNATURE, columns.slice(1, 2))
    np.testing.assert_array_equal(part, whole[1:3])


def test_only_float32_fields_make_a_float32_matrix() -> None:
    singles = Signature(fields=(Field(name="a", type="float32"), Field(name="b", type="float32")))
    assert row_matrix(singles, [0.5, 1.5]).dtype == np.float32
    assert row_matrix(SIGNATURE, [1, True, 0.5, 0.5, [0.0, 1.0]]).dtype == np.float64


def test_text_becomes_one_string_per_distinct_value() -> None:
    column = pa.array(["b", None, "a", "b"]).slice(1)
    values = text_values(column, missing="?")
    assert values.dtype == object
    assert values.tolist() == ["?", "a", "b"]
