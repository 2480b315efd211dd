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


Together = Literal["sum", "most", "earliest"]


@dataclasses.dataclass(frozen=True)
class Family:
    """One metric: its name, and every combination of labels it has.

    Attributes:
        name: As Prometheus shows it.
        help: One sentence.
        kind: A gauge may fall and starts at zero with its worker; the others only grow.
        labels: Names of the labels.
        series: Values of the labels, one tuple per series.
        together: What counts of what the workers say: the sum; the most, where all say the same
            or the worst is of interest; or the earliest instant, where 0 is none.
    """

    name: str
    help: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    series: tuple[tuple[str, ...], ...]
    together: Together = "sum"

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
CAPACITY = "twofold_capacity_requests_per_second"
OVERLOADED_SINCE = "twofold_overloaded_since_timestamp_seconds"
ROW_COST = "twofold_row_cost_seconds"
IS_APART = "twofold_model_is_apart"
PACKED_ROW_COST = "twofold_packed_row_cost_seconds"
WORKERS = "twofold_workers"
MAX_CONNECTIONS = "twofold_max_connections"
BLOCKS = "twofold_event_loop_blocks_total"
LONGEST_BLOCK = "twofold_event_loop_longest_block_seconds"
BLOCKED_AT = "twofold_event_loop_blocked_timestamp_seconds"
RESTARTED_AT = "twofold_worker_restart_timestamp_seconds"
DIED_AT = "twofold_model_process_restart_timestamp_seconds"
RELOADED_AT = "twofold_reload_timestamp_seconds"
MAX_AGE = "twofold_answers_max_age_seconds"
STORE_DURATION = "twofold_store_duration_seconds"
STORE_TIMEOUT = "twofold_store_timeout_seconds"
STORE_AWAY_SINCE = "twofold_store_away_since_timestamp_seconds"


def layout_for(models: Sequence[tuple[str, str]], statuses: Sequence[int]) -> Layout:
    """The layout of a server of these models and HTTP statuses.

    Args:
        models: Name and version of each.
        statuses: Every status the server can answer.
    """
    return Layout(_of_server(statuses), _of_versions(tuple(models)))


def _of_versions(each: tuple[tuple[str, str], ...]) -> list[Family]:
    named = ("model", "version")
    ended = (*named, "outcome")
    outcomes = tuple((*model, str(outcome)) for model in each for outcome in Outcome)
    answered = tuple((*model, str(answer)) for model in each for answer in Answered)

    def gauge(name: str, text: str, together: Together = "sum") -> Family:
        return Family(name, text, "gauge", named, each, together)

    def times(name: str, text: str) -> Family:
        return Family(name, text, "histogram", ended, outcomes)

    return [
        Family(REQUESTS, "Prediction requests.", "counter", ended, outcomes),
        Family(ROWS, "Rows predicted.", "counter", named, each),
        times(DURATION, "From a request's first byte to its answer."),
        times(QUEUE, "From a request's first byte to its turn."),
        times(PREDICT, "Inside the model."),
        gauge(WAITING, "Requests that wait for the model."),
        gauge(IN_HAND, "Requests that the model's own process has."),
        gauge(
            CAPACITY,
            "Requests that could be answered, as the workers estimate it from what rows cost; 0 "
            "while nothing is known.",
        ),
        gauge(
            OVERLOADED_SINCE,
            "Since when requests are refused because of load, without a pause of seconds; 0 if "
            "they aren't.",
            "earliest",
        ),
        gauge(ROW_COST, "What predicting one row costs by itself, as learnt of late.", "most"),
        gauge(PACKED_ROW_COST, "What it cost when the version was packed; 0 if unknown.", "most"),
        gauge(
            IS_APART, "1 if it is predicted in processes of its own, 0 in the event loop.", "most"
        ),
        Family(
            ANSWERS,
            "Keys asked for, by what they were answered with.",
            "counter",
            (*named, "answer"),
            answered,
        ),
        gauge(
            SNAPSHOT_AS_OF,
            "When the input of the snapshot was true, that keys are answered "
            "from; 0 if there is none.",
            "most",
        ),
        gauge(SNAPSHOT_KEYS, "Keys of that snapshot.", "most"),
    ]


def _of_server(statuses: Sequence[int]) -> list[Family]:
    results = (("switched",), ("refused",))
    asked = (("answered",), ("failed",))
    coded = tuple((str(status),) for status in statuses)

    def gauge(name: str, text: str, together: Together = "sum") -> Family:
        return Family(name, text, "gauge", (), ((),), together)

    def counter(name: str, text: str) -> Family:
        return Family(name, text, "counter", (), ((),))

    return [
        Family(RESPONSES, "HTTP responses.", "counter", ("status",), coded),
        gauge(WORKERS, "Workers that answer."),
        gauge(CONNECTIONS, "Open connections."),
        gauge(MAX_CONNECTIONS, "Connections that the workers keep open together."),
        gauge(LAG, "How late the workers' event loops are, together."),
        counter(BLOCKS, "Times that an event loop stood still for a quarter of a second or more."),
        gauge(LONGEST_BLOCK, "The longest that one stood still within the last minute.", "most"),
        gauge(BLOCKED_AT, "When one last did for a quarter of a second or more.", "most"),
        counter(RESTARTS, "Workers that died and were replaced."),
        gauge(RESTARTED_AT, "When the last one was; 0 if none ever died.", "most"),
        counter(DEATHS, "Models' own processes that died or hung."),
        gauge(DIED_AT, "When the last one did; 0 if none ever did.", "most"),
        Family(RELOADS, "Changes of the served versions.", "counter", ("result",), results),
        Family(RELOADED_AT, "When the last one was.", "gauge", ("result",), results, "most"),
        gauge(MAX_AGE, "The age up to which stored predictions are fresh.", "most"),
        Family(
            STORE_REQUESTS,
            "Requests to a store of snapshots on a server; failed ones are "
            "those without an answer in time.",
            "counter",
            ("outcome",),
            asked,
        ),
        Family(
            STORE_DURATION, "How long they took, also those that failed.", "histogram", (), ((),)
        ),
        gauge(STORE_TIMEOUT, "How long they may take.", "most"),
        gauge(
            STORE_AWAY_SINCE,
            "Since when the store has failed so often that it is only tried now and then; 0 if it "
            "is asked.",
            "earliest",
        ),
    ]


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


def _earliest(instants: Sequence[float]) -> float:
    return min(filter(None, instants), default=0.0)


_TOGETHER: dict[Together, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "most": max,
    "earliest": _earliest,
}


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

    def own(self, slot: int) -> float:
        """What this process alone has counted at a slot."""
        return self._own[slot]

    def totals(self) -> Iterator[tuple[Family, tuple[str, ...], list[float]]]:
        """Sum over the regions: each series with its slots' values, in the layout's order."""
        layout = self.layout
        size = layout.region_slots
        regions = [
            self._all[start : start + layout.slots] for start in range(0, len(self._all), size)
        ]
        every = list(zip(*regions, strict=True))
        for family in layout.families:
            together = _TOGETHER[family.together]
            for labels in family.series:
                start = layout.slot(family.name, *labels)
                slots = every[start : start + family.width]
                yield family, labels, [together(values) for values in slots]
