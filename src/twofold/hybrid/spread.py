"""How predictions are spread over bins, and how far one snapshot's are from another's.

The bins of a snapshot come from the run's statistics, or from its first rows where there are none,
the counts from all rows: so the next one is compared with exact shares, whatever the bins are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from twofold.batch.drift import psi, psi_by_chance
from twofold.batch.statistics import ColumnStatistics
from twofold.model import arrow
from twofold.stores.snapshot import Spread

if TYPE_CHECKING:
    from twofold.model.arrow import Numbers as Array

BINS = 10
LABELS = 20


class SpreadCount:
    """Counts the predictions of one output by bins that are given, or made of the first ones."""

    def __init__(self, bins: Spread | None = None) -> None:
        """Begin with no predictions.

        Args:
            bins: Another snapshot's, by whose bins they are counted.
        """
        self._bins = bins
        self._rows: Array = np.zeros(0, np.int64)

    def add(self, column: pa.Array) -> None:
        """Count some."""
        if not len(column):
            return
        if self._bins is None:
            self._bins = bins_of(column)
        places = _places(column, self._bins)
        bins = max(len(self._bins.edges), len(self._bins.labels)) + 1
        counts = np.bincount(places, minlength=bins)
        self._rows = counts if not len(self._rows) else self._rows + counts

    @property
    def spread(self) -> Spread:
        """All that was counted."""
        bins = self._bins or Spread()
        return Spread(edges=bins.edges, labels=bins.labels, rows=tuple(self._rows.tolist()))


def bins_told(told: ColumnStatistics) -> Spread | None:
    """Make bins of what a run's statistics tell of all its predictions; None if they don't.

    The first rows alone would show little of the others where the input is sorted.
    """
    if told.numbers is None:
        return None
    quantiles = [*told.numbers.quantiles.values()]
    points = [value for value in (told.numbers.minimum, *quantiles) if isinstance(value, float)]
    if len(points) <= len(quantiles) or not np.isfinite(points).all():
        return None
    return _binned(points[0], sorted(points[1:]))


def _binned(least: float, points: Sequence[float]) -> Spread:
    # Where most are the same, as 0, what becomes less than that has left its bin, too.
    less = float(np.nextafter(least, np.finfo(np.float64).min))
    return Spread(edges=tuple(dict.fromkeys([less, *points])))


def bins_of(column: pa.Array) -> Spread:
    """Make bins: the deciles of numbers, and what is less than all; the most frequent labels."""
    if _is_number(column):
        values = arrow.numbers(column).astype(np.float64)
        values = np.sort(values[np.isfinite(values)])
        if not len(values):
            return Spread()
        at = (np.arange(1, BINS) * len(values)) // BINS
        return _binned(float(values[0]), values[at].tolist())
    counted = column.cast(pa.string()).value_counts()
    pairs = [(item["counts"].as_py(), item["values"].as_py()) for item in counted]
    pairs.sort(key=lambda pair: (-pair[0], pair[1]))
    return Spread(labels=tuple(label for _, label in pairs[:LABELS]))


def _is_number(column: pa.Array) -> bool:
    return pa.types.is_floating(column.type) or pa.types.is_integer(column.type)


def _places(column: pa.Array, bins: Spread) -> Array:
    if not bins.labels:
        values = arrow.numbers(column).astype(np.float64) if _is_number(column) else None
        if values is None:  # the model's predictions are of another kind by now
            return np.zeros(len(column), np.int64)
        # Up to and including its edge; what is no number is the greatest.
        return np.searchsorted(np.array(bins.edges), values, side="left")
    coded = column.cast(pa.string()).dictionary_encode()
    place_of = {label: place for place, label in enumerate(bins.labels)}
    others = len(bins.labels)
    places = [place_of.get(label, others) for label in coded.dictionary.to_pylist()]
    return np.array(places, np.int64)[arrow.numbers(coded.indices)]


def drift(now: Spread, before: Spread) -> tuple[float, float]:
    """How far predictions are from those of another snapshot, counted by its bins.

    Returns:
        The population stability index, and what it stays below by chance.
    """
    rows, rows_before = sum(now.rows), sum(before.rows)
    if not rows or not rows_before or len(now.rows) != len(before.rows):
        return 0.0, 0.0
    pairs: Sequence[tuple[int, int]] = list(zip(now.rows, before.rows, strict=True))
    used = sum(any(pair) for pair in pairs)
    return psi(now.rows, before.rows), psi_by_chance(used, rows, rows_before)
