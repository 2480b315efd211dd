"""Counters and histograms over one shared array of float64 slots, correct across processes.

Every worker process writes to its own region of the array and to no other, so that no increment
needs a lock; whoever is asked sums the regions. A worker that replaces a dead one goes on with
the region, so counters never fall. The array is all zeros at first.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Literal

BOUNDS_S = (
    0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets, seconds: a compiled model answers in tens of
microseconds, an overloaded server in seconds."""

SLOT_BYTES = 8


class Outcome(enum.StrEnum):
    """How a prediction request ended."""

    OK = "ok"
    INVALID = "invalid"
    REFUSED = "refused"
    LATE = "late"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class Family:
    """One metric: its name, and every combination of labels it has.

    Attributes:
        name: As Prometheus shows it.
        help: One sentence.
        kind: A gauge may fall and starts at zero with its worker; the others only grow.
        labels: Names of the labels.
        series: Values of the labels, one tuple per series.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    series: tuple[tuple[str, ...], ...]

    @property
    def width(self) -> int:
        """Slots of one series; a histogram's are its buckets, then the sum of its values."""
        return len(BOUNDS_S) + 2 if self.kind == "histogram" else 1


class Layout:
    """Which slot of a region holds what; the same in all processes of a server."""

    def __init__(self, families: Sequence[Family]) -> None:
        """Lay the families out one after the other."""
        self.families = tuple(families)
        self._starts: dict[tuple[str, ...], int] = {}
        self.slots = 0
        for family in families:
            for labels in family.series:
                self._starts[(family.name, *labels)] = self.slots
                self.slots += family.width

    def slot(self, family: str, *labels: str) -> int:
        """The first slot of a series."""
        return self._starts[(family, *labels)]

    def size_bytes(self, workers: int) -> int:
        """Size of the shared array: a region for each worker and one for the supervisor."""
        return self.slots * (workers + 1) * SLOT_BYTES


REQUESTS = "twofold_requests_total"
ROWS = "twofold_rows_predicted_total"
DURATION = "twofold_request_duration_seconds"
PREDICT = "twofold_predict_duration_seconds"
RESPONSES = "twofold_http_responses_total"
CONNECTIONS = "twofold_connections"
RESTARTS = "twofold_worker_restarts_total"


def layout_for(models: Sequence[tuple[str, str]], statuses: Sequence[int]) -> Layout:
    """The layout of a server of these models and HTTP statuses.

    Args:
        models: Name and version of each.
        statuses: Every status the server can answer.
    """
    named = ("model", "version")
    each = tuple(models)
    outcomes = tuple((*model, str(outcome)) for model in each for outcome in Outcome)
    coded = tuple((str(status),) for status in statuses)
    return Layout(
        [
            Family(REQUESTS, "Prediction requests.", "counter", (*named, "outcome"), outcomes),
            Family(ROWS, "Rows predicted.", "counter", named, each),
            Family(
                DURATION, "From a request's first byte to its prediction.", "histogram", named, each
            ),
            Family(PREDICT, "Inside the model.", "histogram", named, each),
            Family(RESPONSES, "HTTP responses.", "counter", ("status",), coded),
            Family(CONNECTIONS, "Open connections.", "gauge", (), ((),)),
            Family(RESTARTS, "Workers that died and were replaced.", "counter", (), ((),)),
        ]
    )


class Metrics:
    """One process's view of the shared array: writes its own region, reads all."""

    def __init__(self, layout: Layout, shared: memoryview, region: int) -> None:
        """Write to one region of the array.

        Args:
            layout: What the slots mean.
            shared: The whole array, as bytes.
            region: Which region is this process's.
        """
        self.layout = layout
        self._all = shared.cast("d")
        self._own = self._all[region * layout.slots : (region + 1) * layout.slots]
        for family in layout.families:
            if family.kind == "gauge":
                for labels in family.series:
                    self._own[layout.slot(family.name, *labels)] = 0.0

    def add(self, slot: int, amount: float = 1.0) -> None:
        """Add to a counter, or move a gauge."""
        self._own[slot] += amount

    def observe(self, slot: int, value: float) -> None:
        """Put one value into the histogram that starts at `slot`."""
        own = self._own
        own[slot + bisect_left(BOUNDS_S, value)] += 1.0
        own[slot + len(BOUNDS_S) + 1] += value

    def totals(self) -> Iterator[tuple[Family, tuple[str, ...], list[float]]]:
        """Sum over the regions: each series with its slots' values, in the layout's order."""
        size = self.layout.slots
        regions = [self._all[start : start + size] for start in range(0, len(self._all), size)]
        sums = [sum(values) for values in zip(*regions, strict=True)]
        slots = itertools.count()
        for family in self.layout.families:
            for labels in family.series:
                yield family, labels, [sums[next(slots)] for _ in range(family.width)]
