"""Compiled models in the native kernel: straight from Arrow's buffers, or from one row's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import ConfigError, problem
from twofold.model import arrow
from twofold.model.arrow import pc
from twofold.model.signature import OutputType, Signature, Value
from twofold.predictor.program import WHOLE, Header, Input, open_program, read_program

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

FEW_TEXTS = 64
"""So few texts are looked up without pyarrow.compute, which a worker of a server needn't load."""
UNKNOWN = -1
"""The category of a text that no encoder knows; shared with src/kernel/inputs.h."""


def open_compiled(path: Path, signature: Signature) -> CompiledRuntime:
    """Open a compiled model.

    Raises:
        ConfigError: The kernel wasn't built here, or refuses the model.
    """
    try:
        program = read_program(path)
        model = open_program(program, len(signature.fields))
    except ValueError as error:
        fix = "Pack the model again."
        raise ConfigError(problem(str(path), "a compiled model", str(error), fix)) from error
    return CompiledRuntime(model, program.header, len(program.arrays["bases"]))


class CompiledRuntime:
    """Calls the kernel, and finishes what it leaves to NumPy."""

    concurrent = True
    reads_codes = True

    def __init__(self, model: Any, header: Header, outputs: int) -> None:
        """Call the kernel's `model`, which has so many outputs."""
        self._model = model
        self._header = header
        self._outputs = outputs
        self._known = [
            arrow.from_strings(item.categories) if item.kind == "string" else None
            for item in header.inputs
        ]
        self._is_plain = not (header.finish or header.labels or header.only is not None)
        self._single = outputs == 1
        self._classes = np.array(
            header.classes, object if isinstance((*header.classes, 0)[0], str) else None
        )

    def quick(self, reader: Any, kind: OutputType) -> Callable[[Any], float | None] | None:
        """A function from a row as it came to its prediction, or to None if it isn't plain.

        There is none where the model leaves something to NumPy, or has several outputs.
        """
        can = self._is_plain and self._single and kind in ("float64", "float32")
        return self._model.quick(reader, kind == "float32") if can else None

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        rows = columns.num_rows
        inputs = tuple(
            _buffers(item, columns.column(item.field), known)
            for item, known in zip(self._header.inputs, self._known, strict=True)
        )
        out = np.empty((self._outputs, rows))
        self._model.predict(inputs, rows, out)
        return list(out) if self._is_plain else self._finished(out)

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        row = values if isinstance(values, list) else list(values)
        found = self._model.predict_one(row)
        if self._is_plain:
            return (found,) if self._single else found
        many = self._finished(np.array([found], np.float64).reshape(-1, 1))
        return tuple(
            column[0].item() if hasattr(column[0], "item") else column[0] for column in many
        )

    def _finished(self, out: Any) -> list[Column]:
        """Do what the original does in NumPy, output by output so that rows don't matter."""
        header = self._header
        if header.finish == "exp":
            out = np.exp(out)
        elif header.finish == "softmax":
            out = np.exp(out - out.max(axis=0))
            out = out / _total(out)
        elif header.finish == "mean":
            out = (_total(out) / len(out)).reshape(1, -1)
        if header.labels == "argmax":
            return [self._classes[out.argmax(axis=0)]]
        if header.labels == "above":
            return [self._classes[(out[0] > header.threshold).astype(np.int64)]]
        if header.labels == "from":
            return [self._classes[(out[0] >= header.threshold).astype(np.int64)]]
        return list(out if header.only is None else out[header.only : header.only + 1])


def _total(out: Any) -> Any:
    total = out[0]
    for column in out[1:]:
        total = total + column
    return total


def _mapping(texts: pa.Array, item: Input, known: Any) -> Any:
    """The category of each of some texts."""
    if len(texts) <= FEW_TEXTS:
        places = {text: place for place, text in enumerate(item.categories)}
        return np.array([places.get(text, UNKNOWN) for text in texts.to_pylist()], np.int32)
    found = pc.index_in(texts, value_set=known)
    return np.where(arrow.null_mask(found), UNKNOWN, arrow.numbers(found)).astype(np.int32)


def _buffers(item: Input, column: pa.Array, known: Any) -> tuple[Any, int, int, Any, Any]:
    """A column as the kernel takes it: values, offset, stride, validity, mapping."""
    if item.kind == "string":
        encoded = column.dictionary_encode()  # itself, if it is coded
        mapping = _mapping(encoded.dictionary, item, known)
        column = encoded.indices
        validity, values = column.buffers()
        return values or b"", column.offset, 1, validity if column.null_count else None, mapping
    if item.position != WHOLE:
        length = column.type.list_size
        if column.values.offset:
            column = pa.concat_arrays([column])
        offset = column.offset * length + item.position
        validity = column.buffers()[0] if column.null_count else None
        return column.values.buffers()[1], offset, length, validity, None
    validity, values = column.buffers()
    return values, column.offset, 1, validity if column.null_count else None, None
