"""XGBoost boosters, read from XGBoost's own binary JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import missing_extra
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Signature, Value
from twofold.predictor.runtime import plain
from twofold.predictor.runtimes.matrix import matrix_of, row_matrix, split_outputs

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column


def open_xgboost(path: Path, artifact: Artifact, signature: Signature) -> XgboostRuntime:
    """Open a stored booster.

    Raises:
        ConfigError: XGBoost isn't installed.
    """
    try:
        import xgboost  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("xgboost", "xgboost", "this model's original runtime") from error
    return XgboostRuntime(xgboost.Booster(model_file=str(path)), artifact, signature)


class XgboostRuntime:
    """Calls `Booster.inplace_predict`, up to the best iteration if training stopped early."""

    concurrent = True

    def __init__(self, booster: Any, artifact: Artifact, signature: Signature) -> None:
        """Call `booster`."""
        # One thread: the caller brings its own, for batch and for requests alike.
        booster.set_param({"nthread": 1})
        best = booster.attr("best_iteration")
        self._iterations = (0, int(best) + 1) if best is not None else (0, 0)
        self._booster = booster
        self._signature = signature
        self._framed = artifact.input == "frame"

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        if self._framed:
            # pandas, only where the booster was trained on categoricals.
            from twofold.predictor.runtimes.frames import frame_of  # noqa: PLC0415

            return self._predict(frame_of(self._signature, columns))
        return self._predict(matrix_of(self._signature, columns))

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        if self._framed:
            found = self.predict_columns(columns_of(self._signature, [values]))
        else:
            found = self._predict(row_matrix(self._signature, values))
        return tuple(plain(column[0]) for column in found)

    def _predict(self, rows: Any) -> list[Column]:
        found = self._booster.inplace_predict(
            rows, iteration_range=self._iterations, missing=np.nan, validate_features=False
        )
        return split_outputs(found, None)
