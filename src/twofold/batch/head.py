"""The first rows of an input, as the model sees them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from twofold.batch.chunks import Chunk
from twofold.batch.inputs import Input, read_chunks
from twofold.batch.layout import Layout, lay_out
from twofold.batch.plan import Plan
from twofold.batch.predict import prepared
from twofold.batch.settings import BatchSettings
from twofold.model import arrow
from twofold.model.columns import check_columns
from twofold.model.signature import Signature

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor


def head(source: Input, predictor: Predictor, max_rows: int, *, key: str | None = None) -> pa.Table:
    """Read valid rows from the start of an input; those that a run would set aside are left out.

    Args:
        source: The input.
        predictor: The model.
        max_rows: As many at most.
        key: A column that isn't the model's; it is left out.

    Returns:
        The signature's fields, as canonical columns.

    Raises:
        InvalidInput: The input can't be read, or lacks a field.
    """
    layout = lay_out(source, predictor.signature, predictor.output, key=key, keep=())
    settings = BatchSettings()
    plan = Plan(settings.partition_rows, min(settings.batch_rows, max(max_rows, 1)))
    found: list[pa.RecordBatch] = []
    rows = 0
    with contextlib.closing(read_chunks(source, layout.read, plan, first_row=0)) as chunks:
        for chunk in chunks:
            is_text = source.format.is_text
            valid = _valid(predictor.signature, layout, prepared(layout, chunk), is_text=is_text)
            found.append(valid.slice(0, max_rows - rows))
            rows += found[-1].num_rows
            if rows >= max_rows:
                break
    return pa.Table.from_batches(found) if found else _none(predictor.signature)


def _valid(signature: Signature, layout: Layout, chunk: Chunk, *, is_text: bool) -> pa.RecordBatch:
    columns = chunk.rows.columns
    if chunk.rows.broken:
        readable = np.ones(columns.num_rows, np.bool_)
        readable[[item.row for item in chunk.rows.broken]] = False
        columns = arrow.filter_rows(columns, readable)
    return check_columns(signature, columns.select(list(layout.fields)), from_text=is_text).columns


def _none(signature: Signature) -> pa.Table:
    return pa.table({name: pa.nulls(0) for name in signature.names})
