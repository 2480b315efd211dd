"""Finding the rows a model fails on, so that they never cost their neighbours an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa

from twofold.errors import PredictionFailed

T = TypeVar("T")


def predict_apart(
    columns: pa.RecordBatch, predict: Callable[[pa.RecordBatch], T]
) -> tuple[list[T], dict[int, PredictionFailed]]:
    """Predict rows; where the model fails, halve until the culprits stand alone.

    One bad row among n costs about 2 log2(n) further calls.

    Args:
        columns: Canonical rows.
        predict: Predicts some of them, or raises PredictionFailed.

    Returns:
        The results of the calls that succeeded, in row order, and for each other row (by its
        index in `columns`) why it failed.
    """
    results: list[T] = []
    failed: dict[int, PredictionFailed] = {}
    waiting = [(0, columns.num_rows)]
    while waiting:
        start, stop = waiting.pop()
        if start == stop:
            continue
        try:
            results.append(predict(columns.slice(start, stop - start)))
        except PredictionFailed as error:
            if stop - start == 1:
                failed[start] = error
                continue
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]
    return results, failed
