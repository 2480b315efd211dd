"""Canonical columns as the pandas frame a library was trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from twofold.errors import missing_extra
from twofold.model import arrow
from twofold.model.arrow import pc
from twofold.model.signature import Field, Signature
from twofold.predictor.runtimes.matrix import column_values

try:
    import pandas as pd
except ImportError as error:
    raise missing_extra("pandas", "sklearn", "this model's original library") from error


def frame_of(signature: Signature, columns: pa.RecordBatch, *, numeric_bools: bool = False) -> Any:
    """Make a frame whose types depend on the signature alone, not on the rows.

    Numbers are what pandas reads from Parquet: NaN for null, and a nullable whole number as
    float64 also where no row is null. Text has pandas' own text type, categoricals have the
    categories of the signature.

    Args:
        signature: The model's.
        columns: Canonical.
        numeric_bools: Whether a nullable bool is a number; else it is an object, as scikit-learn's
            encoders want it.
    """
    return pd.DataFrame(
        {
            field.name: _series(field, column, numeric_bools=numeric_bools)
            for field, column in zip(signature.fields, columns.columns, strict=True)
        },
        copy=False,
    )


def _series(field: Field, column: pa.Array, *, numeric_bools: bool) -> Any:
    if field.categorical:
        categories = list(field.categories or ())
        found = pc.index_in(column, value_set=arrow.from_strings(categories))
        # pandas' own code for a missing or unknown value is -1.
        codes = np.where(arrow.null_mask(found), -1, arrow.numbers(found))
        return pd.Categorical.from_codes(codes, categories=categories)
    is_number = field.type == "bool" and field.nullable and numeric_bools
    if field.type in ("float64", "float32") or is_number:
        values = column_values(field, column)
        return values.astype(np.float64) if is_number else values
    if field.type == "int64":
        values = column_values(field, column)
        return values.astype("float64") if field.nullable else values
    if field.type == "bool":
        return pd.Series(column.to_pylist(), dtype=object) if field.nullable else column.to_pandas()
    if field.type == "tensor":
        return pd.Series(column.to_pylist(), dtype=object)
    return column.to_pandas()
