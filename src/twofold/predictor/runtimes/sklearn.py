"""scikit-learn estimators, read from skops (no code runs) or trusted pickles."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from twofold.errors import ConfigError, missing_extra, problem
from twofold.model.columns import columns_of
from twofold.model.record import Artifact
from twofold.model.signature import Signature, Value
from twofold.predictor.runtime import plain
from twofold.predictor.runtimes.matrix import matrix_of, row_matrix, split_outputs

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

TRUSTED_PACKAGES = ("sklearn.", "numpy.", "scipy.sparse")
"""Packages whose plain types skops may build; none of them runs code that a file brings."""


def open_sklearn(path: Path, artifact: Artifact, signature: Signature) -> SklearnRuntime:
    """Open a stored estimator.

    Raises:
        ConfigError: A library is missing, or the file asks for types that aren't trusted.
    """
    estimator = read_skops(path) if artifact.format == "skops" else read_pickle(path)
    return SklearnRuntime(estimator, artifact, signature)


def untrusted_types(path: Path) -> list[str]:
    """The types a skops file asks for that are not plain types of the known libraries."""
    sio = _skops()
    return [
        name
        for name in sio.get_untrusted_types(file=path)
        if not name.startswith(TRUSTED_PACKAGES)
    ]


def read_skops(path: Path) -> Any:
    """Read an estimator from a skops file, building known types only.

    Raises:
        ConfigError: skops isn't installed, or the file asks for other types.
    """
    unknown = untrusted_types(path)
    if unknown:
        raise ConfigError(
            problem(
                str(path),
                "types of scikit-learn and NumPy only",
                ", ".join(unknown[:5]),
                "Pack the estimator with --trust-pickle.",
            )
        )
    sio = _skops()
    return sio.load(path, trusted=sio.get_untrusted_types(file=path))


def read_pickle(path: Path) -> Any:
    """Read an estimator from a pickle or joblib file. This runs code that the file brings."""
    try:
        import joblib  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("joblib", "sklearn", f"reading {path.name}") from error
    return joblib.load(path)


def _skops() -> Any:
    try:
        import skops.io  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("skops", "sklearn", "this model's original runtime") from error
    return skops.io


class SklearnRuntime:
    """Calls an estimator's own `predict_proba` or `predict`."""

    concurrent = True

    def __init__(self, estimator: Any, artifact: Artifact, signature: Signature) -> None:
        """Call `estimator` as the artifact says."""
        self._call: Callable[[Any], Any] = getattr(estimator, artifact.call)
        self._class_index = artifact.class_index
        self._signature = signature
        self._framed = artifact.input == "frame"

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows."""
        return self._predict(self._frame(columns) if self._framed else self._matrix(columns))

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row."""
        if self._framed:
            found = self._predict(self._frame(columns_of(self._signature, [values])))
        else:
            found = self._predict(row_matrix(self._signature, values))
        return tuple(plain(column[0]) for column in found)

    def _frame(self, columns: pa.RecordBatch) -> Any:
        # pandas, only where the estimator was trained on a frame.
        from twofold.predictor.runtimes.frames import frame_of  # noqa: PLC0415

        return frame_of(self._signature, columns)

    def _matrix(self, columns: pa.RecordBatch) -> Any:
        return matrix_of(self._signature, columns)

    def _predict(self, rows: Any) -> list[Column]:
        with warnings.catch_warnings():
            # Unknown categories and the like warn once per call; the signature decided them.
            warnings.simplefilter("ignore")
            found = self._call(rows)
        return split_outputs(found, self._class_index)
