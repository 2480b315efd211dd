"""The runtime of libraries that take a NumPy matrix or a pandas frame of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Signature, Value
from twofold.predictor.runtime import plain
from twofold.predictor.runtimes.matrix import matrix_of, row_matrix, split_outputs

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column


class TabularRuntime:
    """Turns canonical rows into a library's kind of rows, and its result into columns."""

    concurrent = True

    def __init__(
        self, predict: Callable[[Any], Any], artifact: Artifact, signature: Signature
    ) -> None:
        """Call `predict` with a matrix or a frame, as the artifact says."""
        self._predict = predict
        self._class_index = artifact.class_index
        self._framed = artifact.input == "frame"
        self._numeric_bools = artifact.format in ("lightgbm-text", "xgboost-ubj")
        self._signature = signature

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        if self._framed:
            return self._split(self._frame(columns))
        return self._split(matrix_of(self._signature, columns))

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        if self._framed:
            found = self._split(self._frame(columns_of(self._signature, [values])))
        else:
            found = self._split(row_matrix(self._signature, values))
        return tuple(plain(column[0]) for column in found)

    def _frame(self, columns: pa.RecordBatch) -> Any:
        # pandas, only where the model was trained on a frame.
        from twofold.predictor.runtimes.frames import frame_of  # noqa: PLC0415

        return frame_of(self._signature, columns, numeric_bools=self._numeric_bools)

    def _split(self, rows: Any) -> list[Column]:
        return split_outputs(self._predict(rows), self._class_index)
