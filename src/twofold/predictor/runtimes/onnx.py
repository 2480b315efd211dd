"""ONNX models in ONNX Runtime, one thread a call: the bits must not depend on the machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import ConfigError, missing_extra, problem
from twofold.model import arrow
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
        self._feeds = [
            (field, FEED_TYPES[by_name[field.name].type], _shape(by_name[field.name], field))
            for field in signature.fields
        ]

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        if self._matrix is not None:
            rows = matrix_of(self._signature, columns).astype(self._type, copy=False)
            return self._run({self._matrix: rows})
        feed = {
            field.name: _values(field, column, kind).reshape(shape)
            for (field, kind, shape), column in zip(self._feeds, columns.columns, strict=True)
        }
        return self._run(feed)

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        if self._matrix is not None:
            rows = row_matrix(self._signature, values).astype(self._type, copy=False)
            found = self._run({self._matrix: rows})
        else:
            found = self._run(
                {
                    field.name: np.array(
                        ("" if kind is object else np.nan) if value is None else value, kind
                    ).reshape(shape)
                    for (field, kind, shape), value in zip(self._feeds, values, strict=True)
                }
            )
        return tuple(plain(column[0]) for column in found)

    def _run(self, feed: dict[str, Any]) -> list[Column]:
        found = self._session.run(self._output, feed)[0]
        return split_outputs(found, self._class_index)


def _shape(item: Any, field: Field) -> tuple[int, ...]:
    if field.length:
        return (-1, field.length)
    return (-1, 1) if len(item.shape) == MATRIX_RANK else (-1,)


def _values(field: Field, column: pa.Array, kind: Any) -> Any:
    if kind is object:
        return text_values(column, missing="")
    if field.type == "int64" and kind is np.int64 and not column.null_count:
        return arrow.numbers(column)
    return column_values(field, column).astype(kind, copy=False)
