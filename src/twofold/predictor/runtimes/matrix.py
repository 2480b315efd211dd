"""Canonical columns as a NumPy matrix, one row per row, for libraries that take numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import PredictionFailed, problem
from twofold.model import arrow
from twofold.model.signature import Field, Signature, Value

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

BLOCK_ROWS = 4096
POSITIVE = 1


def width_of(signature: Signature) -> int:
    """Columns of the matrix: one per field, `length` for a tensor."""
    return sum(field.length or 1 for field in signature.fields)


def matrix_type(signature: Signature) -> Any:
    """The matrix's type: float32 if every field is, object if one is text, else float64."""
    kinds = {field.type for field in signature.fields}
    if "string" in kinds:
        return object
    return np.float32 if kinds == {"float32"} else np.float64


def matrix_of(signature: Signature, columns: pa.RecordBatch) -> Any:
    """Stack columns side by side; null becomes NaN."""
    rows = columns.num_rows
    found = np.empty((rows, width_of(signature)), matrix_type(signature))
    stacked = [
        column_values(field, column)
        for field, column in zip(signature.fields, columns.columns, strict=True)
    ]
    # In blocks of rows: a column at a time over all rows would miss the cache at every value.
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        position = 0
        for values in stacked:
            width = values.shape[1] if values.ndim > 1 else 1
            found[block, position : position + width] = values[block].reshape(-1, width)
            position += width
    return found


def row_matrix(signature: Signature, values: Sequence[Value]) -> Any:
    """The one-row matrix of canonical values, equal to `matrix_of` of that row."""
    if all(field.length is None for field in signature.fields):
        flat: list[Any] = [np.nan if value is None else value for value in values]
    else:
        flat = []
        for field, value in zip(signature.fields, values, strict=True):
            missing = [np.nan] * (field.length or 1)
            flat += missing if value is None else value if isinstance(value, list) else [value]
    return np.array([flat], matrix_type(signature))


def column_values(field: Field, column: pa.Array) -> Any:
    """One column's values: floats with NaN for null where it may be null, text as objects."""
    if field.type == "string":
        return text_values(column, missing=np.nan)
    if field.type == "bool":
        values = arrow.bits(column)
    elif field.type == "tensor":
        length = field.length or 0
        start = column.offset * length
        inner = arrow.numbers(column.values)[start : start + len(column) * length]
        values = inner.reshape(-1, length)
    else:
        values = arrow.numbers(column)
    if not column.null_count:
        return values
    values = values.astype(np.float32 if field.type == "float32" else np.float64)
    values[arrow.null_mask(column)] = np.nan
    return values


def text_values(column: pa.Array, *, missing: Any) -> Any:
    """A text column as an object array, with one Python string per distinct value."""
    encoded = column.dictionary_encode()
    distinct = np.empty(len(encoded.dictionary) + 1, object)
    distinct[:-1] = encoded.dictionary.to_pylist()
    distinct[-1] = missing
    codes = arrow.numbers(encoded.indices)
    if encoded.null_count:
        codes = np.where(arrow.null_mask(encoded.indices), len(distinct) - 1, codes)
    return distinct[codes]


def split_outputs(found: Any, class_index: int | None) -> list[Column]:
    """One array per output, from what a library returned for many rows.

    Args:
        found: An array of shape (rows,), (rows, 1) or (rows, outputs); or one of shape
            (rows, 2) for each of several targets: the probabilities of its two classes.
        class_index: The one column wanted of an array, if only one is.

    Raises:
        PredictionFailed: It returned something else.
    """
    if isinstance(found, list) and found and np.ndim(found[0]) > 1:
        return [np.asarray(target)[:, POSITIVE] for target in found]
    array = np.asarray(found)
    if array.ndim == 1:
        return [array]
    if array.ndim != 2:  # noqa: PLR2004 - rows and outputs
        raise PredictionFailed(
            problem("prediction", "one array", f"shape {array.shape}", "Predict one target.")
        )
    if class_index is not None:
        return [array[:, class_index]]
    return [array[:, index] for index in range(array.shape[1])]
