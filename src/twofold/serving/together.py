"""Predicting the rows of several requests in one call, so that a bad row costs nobody else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twofold.errors import PredictionFailed
from twofold.model.signature import Value

Rows = Sequence[Sequence[Value]]
Columns = Sequence[Sequence[Any]]
"""One plain value per row, for each output."""


def predict_together(
    groups: Sequence[Rows], predict: Callable[[Rows], Columns]
) -> list[Columns | Exception]:
    """Predict the rows of several requests together.

    Where the model fails, the requests are halved until the culprits stand alone (about
    2 log2(n) further calls for one among n).

    Args:
        groups: The rows of each request.
        predict: Predicts any number of rows, or raises.

    Returns:
        The predictions of each request, or why it failed.
    """
    answers: list[Columns | Exception] = [PredictionFailed("not predicted")] * len(groups)
    pending = [(0, len(groups))]
    while pending:
        start, stop = pending.pop()
        if start == stop:
            continue
        rows = groups[start] if stop - start == 1 else [r for g in groups[start:stop] for r in g]
        try:
            columns = predict(rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost the others
            if stop - start == 1:
                answers[start] = error
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
            continue
        at = 0
        for index in range(start, stop):
            until = at + len(groups[index])
            answers[index] = [column[at:until] for column in columns]
            at = until
    return answers
