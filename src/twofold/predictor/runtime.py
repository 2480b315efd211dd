"""What a runtime is: the numeric engine behind the door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from twofold.model.signature import Value

if TYPE_CHECKING:
    import pyarrow as pa

    Column = np.ndarray[tuple[int], np.dtype[Any]]


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python value it stands for; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


class Runtime(Protocol):
    """Predicts rows that were already validated against the signature.

    Columns are canonical: one Arrow column per field, in the signature's order; bool, int64,
    float32, float64, string, timestamp[us] or fixed-size list of float64; NaN already made null.
    One whose attribute `reads_codes` is true is also given text as `arrow.CODED`.
    """

    @property
    def concurrent(self) -> bool:
        """Whether several threads may call it at once."""
        ...

    def predict_columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict many rows: one array per output name, each as long as `columns`."""
        ...

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row, its values in the signature's order: one value per output name."""
        ...
