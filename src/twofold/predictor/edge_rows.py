"""Rows on the edge: where a runtime that agrees on every ordinary row may still disagree.

Made from a sample by changing one field of a row at a time: to null, to a string the sample
doesn't have, to extremes, and to the values on both sides of the model's own decision
boundaries. The boundaries are found by bisection on the model itself, down to neighbouring
floats, so they are exact whatever scaling or encoding lies before its trees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.model import arrow
from twofold.model.signature import MAX_EXACT_INT, Field, Signature
from twofold.predictor.program import Program, edges_of

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

    Predict = Callable[[pa.RecordBatch], list[Column]]

UNSEEN = "a value the sample does not have"
MISSING_TEXT = "nan"
"""What some runtimes take a missing text for."""
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-35, -1e-35, 1e-45, 1e9, -1e9, 1e30, -1e30)
LARGE_FLOATS = (1e39, -1e39, 1e300)
"""Beyond float32, which some runtimes compute in."""
INTEGERS = (0, 1, -1, 2**24 + 1, 2**31, -(2**31))
BISECTIONS = 64


def special_rows(signature: Signature, rows: pa.RecordBatch, *, each: int = 4) -> pa.RecordBatch:
    """Rows with nulls, unseen strings and extremes, as far as the signature admits them.

    Args:
        signature: The model's.
        rows: Canonical rows of the sample.
        each: Rows of the sample that each special value is put into.
    """
    if not rows.num_rows:
        return rows
    made: list[pa.RecordBatch] = []
    spread = np.linspace(0, rows.num_rows - 1, min(each, rows.num_rows)).astype(np.int64)
    base = rows.take(arrow.from_numbers(spread))
    for index, field in enumerate(signature.fields):
        column = base.column(index)
        if field.nullable:
            nothing = pa.nulls(len(column), column.type)
            made.append(_with_column(base, index, nothing))
        for value in _special_values(field, rows.column(index)):
            filled = _filled(field, column.type, value, len(column))
            made.append(_with_column(base, index, filled))
    if not made:
        return rows.slice(0, 0)
    return pa.Table.from_batches(made).combine_chunks().to_batches()[0]


def _special_values(field: Field, column: pa.Array) -> list[Any]:
    if field.type == "string":
        if field.categories is None or field.unknown_categories == "allow":
            return ["", UNSEEN, "\u00e9\u4e16 \U0001f600", MISSING_TEXT]
        return list(field.categories[:64])
    if field.type == "bool":
        return [False, True]
    if field.type in ("timestamp", "tensor"):
        return []
    present = arrow.numbers(column)[~arrow.null_mask(column)]
    ends = [present.min().item(), present.max().item()] if len(present) else []
    if field.type == "float64":
        ends += LARGE_FLOATS
    return [*ends, *(INTEGERS if field.type == "int64" else FLOATS)]


def boundary_rows(
    signature: Signature,
    rows: pa.RecordBatch,
    predict: Predict,
    *,
    pairs_per_field: int = 64,
    seed: int = 0,
) -> pa.RecordBatch:
    """Rows on both sides of the decision boundaries that `predict` has between sample rows.

    For each number field, rows get that field from another row; where this changes the
    prediction, bisection finds two neighbouring values with different predictions.

    Args:
        signature: The model's.
        rows: Canonical rows of the sample.
        predict: The reference.
        pairs_per_field: Pairs of rows tried for each field.
        seed: Which pairs.
    """
    random = np.random.default_rng(seed)
    made: list[pa.RecordBatch] = []
    for index, field in enumerate(signature.fields):
        if field.type not in ("float64", "float32", "int64"):
            continue
        column = rows.column(index)
        known = np.flatnonzero(~arrow.null_mask(column))
        if not len(known):
            continue
        chosen = random.choice(known, pairs_per_field)
        values = arrow.numbers(column)
        base = rows.take(arrow.from_numbers(chosen))
        low, high = values[chosen], random.choice(values[known], pairs_per_field)
        made += _bisected(predict, base, index, low, high)
    if not made:
        return rows.slice(0, 0)
    return pa.Table.from_batches(made).combine_chunks().to_batches()[0]


def edge_rows(
    signature: Signature, rows: pa.RecordBatch, program: Program, *, max_rows: int = 20_000
) -> pa.RecordBatch:
    """Rows at the edges of a compiled model: on each one, and right above and below it.

    Args:
        signature: The model's.
        rows: Canonical rows of the sample.
        program: The compiled model.
        max_rows: Of its edges, a third of this at most are taken, evenly.
    """
    by_field: dict[int, list[Any]] = {}
    for at, cuts in edges_of(program):
        by_field.setdefault(program.header.inputs[at].field, []).append(cuts)
    found = {field: np.unique(np.concatenate(parts)) for field, parts in by_field.items()}
    share = max_rows / max(1, 3 * sum(map(len, found.values())))
    random = np.random.default_rng(0)
    made: list[pa.RecordBatch] = []
    for index, cuts in found.items():
        values = _around(signature.fields[index], cuts, min(1.0, share))
        if values is None or not len(values):
            continue
        base = rows.take(arrow.from_numbers(random.integers(0, rows.num_rows, len(values))))
        made.append(_with_column(base, index, arrow.from_numbers(values)))
    if not made:
        return rows.slice(0, 0)
    return pa.Table.from_batches(made).combine_chunks().to_batches()[0]


def _around(field: Field, cuts: Any, share: float) -> Any:
    """Each cut, and its neighbours, as far as the field's type holds them."""
    if field.type not in ("float64", "float32", "int64"):
        return None
    cuts = cuts[np.isfinite(cuts)]
    count = int(np.ceil(len(cuts) * share))
    cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, count).astype(np.int64))] if count else cuts
    if field.type == "int64":
        below = np.floor(cuts[np.abs(cuts) < MAX_EXACT_INT]).astype(np.int64)
        return np.concatenate([below, below + 1])
    kind = np.float32 if field.type == "float32" else np.float64
    with np.errstate(over="ignore"):
        near = cuts.astype(kind)
    values = np.concatenate([near, np.nextafter(near, -np.inf), np.nextafter(near, np.inf)])
    return values[np.isfinite(values)].astype(kind)


def _bisected(
    predict: Predict, base: pa.RecordBatch, index: int, low: Any, high: Any
) -> list[pa.RecordBatch]:
    def predicted(values: Any) -> Any:
        column = arrow.from_numbers(np.ascontiguousarray(values))
        return np.stack(predict(_with_column(base, index, column)))

    at_low = predicted(low)
    differs = (at_low != predicted(high)).any(axis=0)
    if not differs.any():
        return []
    base = base.take(arrow.from_numbers(np.flatnonzero(differs)))
    low, high, at_low = low[differs].copy(), high[differs].copy(), at_low[:, differs]
    for _ in range(BISECTIONS):
        middle = _middle(low, high)
        if ((middle == low) | (middle == high)).all():
            break
        same = (predicted(middle) == at_low).all(axis=0)
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return [
        _with_column(base, index, arrow.from_numbers(np.ascontiguousarray(values)))
        for values in (low, high)
    ]


def _middle(low: Any, high: Any) -> Any:
    """The value half-way between two, counted in values of their type, not in their distance."""
    if low.dtype.kind != "i":
        whole = np.int32 if low.dtype == np.float32 else np.int64
        found = _middle(_ordered(low.view(whole)), _ordered(high.view(whole)))
        return _ordered(found).view(low.dtype)
    return (low >> 1) + (high >> 1) + (low & high & 1)


def _ordered(bits: Any) -> Any:
    """Floats' bits as integers of the same order; and back."""
    lowest = np.iinfo(bits.dtype).min
    return np.where(bits < 0, lowest - bits, bits)


def _with_column(batch: pa.RecordBatch, index: int, column: pa.Array) -> pa.RecordBatch:
    columns = list(batch.columns)
    columns[index] = column
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _filled(field: Field, kind: pa.DataType, value: Any, count: int) -> pa.Array:
    if field.type == "string":
        return arrow.from_strings([value] * count)
    kinds = {"bool": np.bool_, "float32": np.float32, "float64": np.float64}
    return arrow.from_numbers(np.full(count, value, kinds.get(field.type, np.int64)), None, kind)
