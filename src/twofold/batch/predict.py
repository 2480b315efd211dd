"""One batch through the one door: check, predict, and set aside what can't be predicted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from twofold.batch.chunks import Chunk
from twofold.batch.layout import Layout, parsed
from twofold.batch.quarantine import SetAside
from twofold.batch.sketch import BatchSketch, Sketcher
from twofold.model import arrow
from twofold.model.columns import check_columns
from twofold.predictor.split import predict_apart

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What became of a batch's rows.

    Attributes:
        first_row: Number of its first row in the input.
        rows_in: Its rows.
        columns: The rows predicted, in order: the passed columns, then the predictions.
        set_aside: The others, in order.
        sketch: What the rows predicted held, if that was asked for.
    """

    first_row: int
    rows_in: int
    columns: pa.RecordBatch
    set_aside: list[SetAside]
    sketch: BatchSketch | None = None


def predict_chunk(
    predictor: Predictor,
    layout: Layout,
    chunk: Chunk,
    *,
    from_text: bool,
    sketcher: Sketcher | None = None,
) -> Predicted:
    """Predict every row of a batch that can be predicted.

    Args:
        predictor: The door.
        layout: Which columns go where.
        chunk: The columns of `layout.read`.
        from_text: Whether the columns are text to be parsed.
        sketcher: Sketches what the model saw and predicted.
    """
    chunk = prepared(layout, chunk)
    columns, rows = chunk.rows.columns, chunk.rows.columns.num_rows
    faults = {item.row: (item.field, item.reason) for item in chunk.rows.broken}
    places = np.arange(rows)
    if faults:
        readable = np.ones(rows, np.bool_)
        readable[list(faults)] = False
        places = places[readable]
        columns = arrow.filter_rows(columns, readable)
    checked = check_columns(
        predictor.signature,
        columns.select(list(layout.fields)),
        from_text=from_text,
        coded=predictor.reads_codes,
    )
    for item in checked.problems:
        faults[int(places[item.row])] = (item.field, item.reason)
    if checked.valid is not None:
        places = places[checked.valid]
    predictions, failed = predict_apart(checked.columns, predictor.predict_columns)
    for index, error in failed.items():
        faults[int(places[index])] = ("", str(error))
    if failed:
        places = np.delete(places, list(failed))
    passed = chunk.rows.columns.select([field.name for field in layout.passed])
    if len(places) < rows:
        passed = passed.take(arrow.from_numbers(places.astype(np.int64)))
    joined = _joined(layout, passed, predictions)
    sketch: BatchSketch | None = None
    if sketcher is not None:
        seen = checked.columns
        if failed:
            kept = np.delete(np.arange(seen.num_rows), list(failed))
            seen = seen.take(arrow.from_numbers(kept))
        sketch = sketcher.sketch([*seen.columns, *joined.columns[len(layout.passed) :]])
    return Predicted(chunk.first_row, rows, joined, _set_aside(chunk, layout.key, faults), sketch)


def prepared(layout: Layout, chunk: Chunk) -> Chunk:
    """The columns of a batch, made of what was read of it; not yet checked."""
    if layout.lines is not None:
        chunk = dataclasses.replace(chunk, rows=layout.lines.parse(chunk.rows))
    return _without_views(layout, _with_parsed(layout, chunk))


def _with_parsed(layout: Layout, chunk: Chunk) -> Chunk:
    """The columns of folders, in the types of their fields."""
    columns = chunk.rows.columns
    for field in layout.parsed:
        at = columns.schema.get_field_index(field.name)
        text = columns.column(at)
        if pa.types.is_string(text.type):
            columns = columns.set_column(at, field.name, parsed(field, text))
    if columns is chunk.rows.columns:
        return chunk
    return dataclasses.replace(chunk, rows=dataclasses.replace(chunk.rows, columns=columns))


def _without_views(layout: Layout, chunk: Chunk) -> Chunk:
    """The columns that are copied, in the types in which they are."""
    columns = chunk.rows.columns
    for field in layout.passed:
        at = columns.schema.get_field_index(field.name)
        if columns.schema.field(at).type != field.type:
            columns = columns.set_column(at, field.name, columns.column(at).cast(field.type))
    if columns is chunk.rows.columns:
        return chunk
    return dataclasses.replace(chunk, rows=dataclasses.replace(chunk.rows, columns=columns))


def _joined(
    layout: Layout, passed: pa.RecordBatch, predictions: list[pa.RecordBatch]
) -> pa.RecordBatch:
    schema = pa.schema([*layout.passed, *layout.outputs])
    outputs = pa.Table.from_batches(predictions, schema=pa.schema(layout.outputs))
    columns = [arrow.one_chunk(column) for column in outputs.columns]
    return pa.RecordBatch.from_arrays([*passed.columns, *columns], schema=schema)


def _set_aside(chunk: Chunk, key: str | None, faults: dict[int, tuple[str, str]]) -> list[SetAside]:
    if not faults:
        return []
    rows = sorted(faults)
    keys: list[str | None] = [None] * len(rows)
    if key is not None:
        column = chunk.rows.columns.column(key)
        keys = texts(column.take(arrow.from_numbers(np.array(rows, np.int64))))
    return [
        SetAside(chunk.first_row + row, text, *faults[row])
        for row, text in zip(rows, keys, strict=True)
    ]


def texts(column: pa.Array | pa.ChunkedArray) -> list[str | None]:
    """Values as the quarantine writes them."""
    try:
        return column.cast(pa.string()).to_pylist()
    except pa.ArrowException:  # lists, structs and bytes have no text form of their own
        return [None if value is None else str(value) for value in column.to_pylist()]
