"""Counters and histograms over one shared array of float64 slots, correct across processes.

Every worker process writes to its own region of the array and to no other, so that no increment
needs a lock; whoever is asked sums the regions. A worker that replaces a dead one goes on with
the region, so counters never fall. The array is all zeros at first.
"""

from __future__ import annotations

import dataclasses
import enum
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from twofold.serving.native import native

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
    GONE = "gone"


class Answered(enum.StrEnum):
    """What a key that was asked for was answered with."""

    STORED = "stored"
    STALE = "stale"
    LIVE = "live"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    REFUSED = "refused"
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
        is_shared: Whether all workers say the same of it: then it isn't summed, but the greatest
            of what they say counts.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    series: tuple[tuple[str, ...], ...]
    is_shared: bool = False

    @property
    def width(self) -> int:
        """Slots of one series; a histogram's are its buckets, then the sum of its values."""
        return len(BOUNDS_S) + 2 if self.kind == "histogram" else 1


MAX_VERSIONS = 256
"""Versions that a server may have served since it was started, and still shows."""


class Layout:
    """Which slot of a region holds what.

    What a server counts of itself comes first, then a block for each version. So the layouts of
    two generations of workers agree on all that both know, and one array does for both.
    """

    def __init__(self, own: Sequence[Family], each: Sequence[Family]) -> None:
        """Lay the families out.

        Args:
            own: What the server counts of itself.
            each: What is counted of each version: families of equal models, in equal order.
        """
        self.families = (*each, *own)
        self._starts: dict[tuple[str, ...], int] = {}
        self.slots = 0
        for family in own:
            self._place(family, family.series)
        self._own_slots = self.slots
        versions = dict.fromkeys(labels[:2] for family in each for labels in family.series)
        for version in versions:
            for family in each:
                self._place(family, [item for item in family.series if item[:2] == version])
        self._block_slots = (self.slots - self._own_slots) // max(1, len(versions))

    def _place(self, family: Family, series: Iterable[tuple[str, ...]]) -> None:
        for labels in series:
            self._starts[(family.name, *labels)] = self.slots
            self.slots += family.width

    def slot(self, family: str, *labels: str) -> int:
        """The first slot of a series."""
        return self._starts[(family, *labels)]

    @property
    def region_slots(self) -> int:
        """Slots of one region, with room for the versions to come."""
        return self._own_slots + MAX_VERSIONS * self._block_slots

    def size_bytes(self, regions: int) -> int:
        """Size of the shared array."""
        return self.region_slots * regions * SLOT_BYTES

    def clear_version(self, shared: memoryview, place: int) -> None:
        """Set the block of the version at a place to zero in all regions, for another one."""
        numbers = shared.cast("d")
        first = self._own_slots + place * self._block_slots
        for start in range(first, len(numbers), self.region_slots):
            for slot in range(start, start + self._block_slots):
                numbers[slot] = 0.0


REQUESTS = "twofold_requests_total"
ROWS = "twofold_rows_predicted_total"
DURATION = "twofold_request_duration_seconds"
QUEUE = "twofold_queue_duration_seconds"
PREDICT = "twofold_predict_duration_seconds"
RESPONSES = "twofold_http_responses_total"
WAITING = "twofold_waiting_requests"
IN_HAND = "twofold_in_hand_requests"
LAG = "twofold_event_loop_lag_seconds"
CONNECTIONS = "twofold_connections"
RESTARTS = "twofold_worker_restarts_total"
RELOADS = "twofold_reloads_total"
DEATHS = "twofold_model_process_restarts_total"
ANSWERS = "twofold_answers_total"
SNAPSHOT_AS_OF = "twofold_snapshot_as_of_timestamp_seconds"
SNAPSHOT_KEYS = "twofold_snapshot_keys"
STORE_REQUESTS = "twofold_store_requests_total"


def layout_for(models: Sequence[tuple[str, str]], statuses: Sequence[int]) -> Layout:
    """The layout of a server of these models and HTTP statuses.

    Args:
        models: Name and version of each.
        statuses: Every status the server can answer.
    """
    named = ("model", "version")
    ended = (*named, "outcome")
    each = tuple(models)
    outcomes = tuple((*model, str(outcome)) for model in each for outcome in Outcome)
    answered = tuple((*model, str(answer)) for model in each for answer in Answered)
    results = (("switched",), ("refused",))
    asked = (("answered",), ("failed",))
    coded = tuple((str(status),) for status in statuses)
    each_version = [
        Family(REQUESTS, "Prediction requests.", "counter", ended, outcomes),
        Family(ROWS, "Rows predicted.", "counter", named, each),
        Family(
            DURATION, "From a request's first byte to its answer.", "histogram", ended, outcomes
        ),
        Family(QUEUE, "From a request's first byte to its turn.", "histogram", ended, outcomes),
        Family(PREDICT, "Inside the model.", "histogram", ended, outcomes),
        Family(WAITING, "Requests that wait for the model.", "gauge", named, each),
        Family(IN_HAND, "Requests that the model's own process has.", "gauge", named, each),
        Family(
            ANSWERS,
            "Keys asked for, by what they were answered with.",
            "counter",
            (*named, "answer"),
            answered,
        ),
        Family(
            SNAPSHOT_AS_OF,
            "When the input of the snapshot was true, that keys are answered "
            "from; 0 if there is none.",
            "gauge",
            named,
            each,
            is_shared=True,
        ),
        Family(SNAPSHOT_KEYS, "Keys of that snapshot.", "gauge", named, each, is_shared=True),
    ]
    own = [
        Family(RESPONSES, "HTTP responses.", "counter", ("status",), coded),
        Family(CONNECTIONS, "Open connections.", "gauge", (), ((),)),
        Family(LAG, "How late the workers' event loops are, together.", "gauge", (), ((),)),
        Family(RESTARTS, "Workers that died and were replaced.", "counter", (), ((),)),
        Family(DEATHS, "Models' own processes that died or hung.", "counter", (), ((),)),
        Family(RELOADS, "Changes of the served versions.", "counter", ("result",), results),
        Family(
            STORE_REQUESTS,
            "Requests to a store of snapshots on a server; failed ones are "
            "those without an answer in time.",
            "counter",
            ("outcome",),
            asked,
        ),
    ]
    return Layout(own, each_version)


class _Tally:
    """What `twofold._wire.Tally` does, where it wasn't built; `src/wire/tally.c` says more."""

    def __init__(self, own: memoryview[float]) -> None:
        self._own = own

    def add(self, slot: int, amount: float = 1.0) -> None:
        self._own[slot] += amount

    def observe(self, slot: int, value: float) -> None:
        own = self._own
        own[slot + bisect_left(BOUNDS_S, value)] += 1.0
        own[slot + len(BOUNDS_S) + 1] += value

    def answered(  # noqa: PLR0913, PLR0917 - as the native one
        self,
        ok_slot: int,
        rows_slot: int,
        rows: int,
        duration_slot: int,
        duration_s: float,
        queue_slot: int,
        queue_s: float,
        predict_slot: int,
        predict_s: float,
    ) -> None:
        self.add(ok_slot)
        self.add(rows_slot, rows)
        self.observe(duration_slot, duration_s)
        self.observe(queue_slot, queue_s)
        self.observe(predict_slot, predict_s)


class Metrics:
    """One process's view of the shared array: writes its own region, reads all.

    Attributes:
        layout: What the slots mean.
        add: Adds an amount (by default 1) to the counter or gauge at a slot.
        observe: Puts a value into the histogram that starts at a slot.
        answered: Counts a request that was answered; see `_Tally.answered`.
        tally: What does all this natively; None where it wasn't built.
    """

    def __init__(self, layout: Layout, shared: memoryview, region: int) -> None:
        """Write to one region of the array.

        Args:
            layout: What the slots mean.
            shared: The whole array, as bytes.
            region: Which region is this process's.
        """
        self.layout = layout
        self._all = shared.cast("d")
        size = layout.region_slots
        own = self._all[region * size : (region + 1) * size]
        built = native()
        self.tally: Any = None if built is None else built.Tally(own, BOUNDS_S)
        tally = _Tally(own) if self.tally is None else self.tally
        self.add: Callable[..., None] = tally.add
        self.observe: Callable[[int, float], None] = tally.observe
        self.answered: Callable[..., None] = tally.answered
        self._own = own
        self.clear_gauges()

    def clear_gauges(self) -> None:
        """Set this process's gauges to zero: it begins, or ends."""
        for family in self.layout.families:
            if family.kind == "gauge":
                for labels in family.series:
                    self._own[self.layout.slot(family.name, *labels)] = 0.0

    def set(self, slot: int, value: float) -> None:
        """Set a gauge."""
        self._own[slot] = value

    def totals(self) -> Iterator[tuple[Family, tuple[str, ...], list[float]]]:
        """Sum over the regions: each series with its slots' values, in the layout's order."""
        layout = self.layout
        size = layout.region_slots
        regions = [
            self._all[start : start + layout.slots] for start in range(0, len(self._all), size)
        ]
        every = list(zip(*regions, strict=True))
        for family in layout.families:
            together = max if family.is_shared else sum
            for labels in family.series:
                start = layout.slot(family.name, *labels)
                slots = every[start : start + family.width]
                yield family, labels, [together(values) for values in slots]
