"""ONNX models in ONNX Runtime, one thread a call: the bits must not depend on the machine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import ConfigError, missing_extra, problem
from twofold.model.record import Artifact
from twofold.model.signature import Field, Signature, Value
from twofold.predictor.runtime import plain
from twofold.predictor.runtimes.matrix import (
    column_values,
    matrix_of,
    row_matrix,
    split_outputs,
    text_values,
)

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

FEED_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": object,
}
MATRIX_RANK = 2
MISSING_TEXT = "nan"
"""A null string: ONNX has none, and this is what the converter of scikit-learn calls it."""


def open_onnx(path: Path, artifact: Artifact, signature: Signature) -> OnnxRuntime:
    """Open a stored ONNX model.

    Raises:
        ConfigError: ONNX Runtime isn't installed, or the model doesn't take the signature.
    """
    return OnnxRuntime(open_session(path.read_bytes()), artifact, signature)


def open_session(model: bytes) -> Any:
    """Load an ONNX model for calls of one thread.

    Raises:
        ConfigError: ONNX Runtime isn't installed.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("onnxruntime", "onnx", "this model's runtime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxRuntime:
    """Feeds columns, or one matrix, to an ONNX model."""

    concurrent = True

    def __init__(self, session: Any, artifact: Artifact, signature: Signature) -> None:
        """Call `session` for the output that the artifact names.

        Raises:
            ConfigError: The model's inputs are not the signature's fields.
        """
        self._session = session
        self._signature = signature
        self._output = [artifact.call]
        self._class_index = artifact.class_index
        self._kept = threading.local()
        inputs = session.get_inputs()
        if artifact.input == "matrix":
            self._matrix = inputs[0].name
            self._type = FEED_TYPES[inputs[0].type]
            return
        self._matrix = None
        by_name = {item.name: item for item in inputs}
        if set(by_name) != set(signature.names):
            raise ConfigError(
                problem(
                    "onnx model",
                    f"inputs {', '.join(signature.names)}",
                    ", ".join(by_name),
                    "Give a sample with the model's inputs as columns.",
                )
            )
        self._feeds = [_Feed(field, by_name[field.name]) for field in signature.fields]

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        if self._matrix is not None:
            rows = matrix_of(self._signature, columns)
            return self._run({self._matrix: rows.astype(self._type, copy=False)})
        pairs = zip(self._feeds, columns.columns, strict=True)
        return self._run({feed.name: feed.of_column(column) for feed, column in pairs})

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        if self._matrix is not None:
            rows = row_matrix(self._signature, values).astype(self._type, copy=False)
            found = self._run({self._matrix: rows})
        else:
            arrays, slots = self._one_row()
            for (slot, missing), value in zip(slots, values, strict=True):
                slot[:] = missing if value is None else value
            found = self._run(arrays)
        return tuple(plain(column[0]) for column in found)

    def _one_row(self) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
        """Give this thread's own input of one row, made once.

        Making it anew would cost nearly as much as a small model itself.
        """
        row = getattr(self._kept, "row", None)
        if row is None:
            arrays = {feed.name: feed.one_row() for feed in self._feeds}
            slots = [(arrays[feed.name].reshape(-1), feed.missing) for feed in self._feeds]
            row = self._kept.row = (arrays, slots)
        return row

    def _run(self, inputs: dict[str, Any]) -> list[Column]:
        return split_outputs(self._session.run(self._output, inputs)[0], self._class_index)


class _Feed:
    """How one field becomes one input of the model."""

    def __init__(self, field: Field, item: Any) -> None:
        self.name = field.name
        self._field = field
        self._type = FEED_TYPES[item.type]
        self._is_text = self._type is object
        self.missing: Any = MISSING_TEXT if self._is_text else np.nan
        width = field.length or 1
        flat = len(item.shape) != MATRIX_RANK and field.length is None
        self._shape = (-1,) if flat else (-1, width)

    def one_row(self) -> Any:
        return np.zeros([abs(size) for size in self._shape], self._type)

    def of_column(self, column: pa.Array) -> Any:
        if self._is_text:
            return text_values(column, missing=MISSING_TEXT).reshape(self._shape)
        values = column_values(self._field, column)
        if self._field.type == "int64" and self._type is np.float32:
            # As for one row, and for a column with nulls: rounded to float64 first.
            values = values.astype(np.float64)
        return values.astype(self._type, copy=False).reshape(self._shape)
