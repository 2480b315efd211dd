"""What a worker notes of itself several times a second, so that others can tell what is wrong.

Nothing here is on a request's way: it is all read from what is counted and learnt anyway.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from twofold.serving.metrics import (
    BLOCKED_AT,
    BLOCKS,
    BOUNDS_S,
    CAPACITY,
    IS_APART,
    LONGEST_BLOCK,
    OVERLOADED_SINCE,
    PACKED_ROW_COST,
    ROW_COST,
    Metrics,
)
from twofold.serving.service import Served, Service

BLOCK_S = 0.25
"""A loop that stands still for so long is blocked: whoever asks meanwhile can tell."""
MEMORY_S = 60.0
PAUSE_S = 5.0
"""After so many seconds without a refusal an overload is over."""
WINDOW_S = 1.0
"""Rates are taken over so many seconds at least."""
LEAST_BUSY_RATIO = 0.1
"""A worker that is less busy tells too little of what it could do."""
FORGET = 0.7
"""Weight of what was known of requests' rows, when another second has passed."""


class Episode:
    """Since when something goes on that is seen again and again; it ends with a pause."""

    def __init__(self, pause_s: float = PAUSE_S) -> None:
        """Begin with nothing going on."""
        self._pause_s = pause_s
        self._since_s: float | None = None

    def since_s(self, last_s: float, now_s: float) -> float | None:
        """Since when it goes on, monotonic seconds; None if it doesn't.

        Args:
            last_s: When it was last seen.
            now_s: The current instant.
        """
        if now_s - last_s > self._pause_s:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = last_s
        return self._since_s


class Longest:
    """The longest of what happened within the last minute."""

    def __init__(self, memory_s: float = MEMORY_S) -> None:
        """Begin with nothing."""
        self._memory_s = memory_s
        # Each is longer than those after it: a shorter one that came before doesn't matter.
        self._seen: deque[tuple[float, float]] = deque()

    def see(self, took_s: float, now_s: float) -> float:
        """Take in what took so many seconds, and give the longest."""
        seen = self._seen
        while seen and seen[-1][1] <= took_s:
            seen.pop()
        seen.append((now_s, took_s))
        while seen[0][0] < now_s - self._memory_s:
            seen.popleft()
        return seen[0][1]


class Vitals:
    """Notes how a worker is."""

    def __init__(
        self,
        service: Service,
        *,
        longest_block_s: Callable[[], float],
        every_s: float,
        unix_s: Callable[[], float] = time.time,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        """Note what doesn't change.

        Args:
            service: The models.
            longest_block_s: The longest that something asked for kept the event loop since this was
                last called.
            every_s: How often `note` is called, if the loop isn't blocked.
            unix_s: The time, seconds since 1970.
            cpu_s: What this process has used of a processor, seconds.
        """
        self._service = service
        self._metrics = service.metrics
        self._longest_block_s = longest_block_s
        self._every_s = every_s
        self._unix_s = unix_s
        layout = service.metrics.layout
        self._blocks, self._blocked_at = layout.slot(BLOCKS), layout.slot(BLOCKED_AT)
        self._longest_slot = layout.slot(LONGEST_BLOCK)
        self._longest = Longest()
        self._noted_s: float | None = None
        every = [item for versions in service.versions.values() for item in versions.values()]
        self._work = _Work(service, every, cpu_s)
        self._shedding = [
            (item, Episode(), layout.slot(OVERLOADED_SINCE, item.name, item.version))
            for item in every
        ]

    def note(self) -> None:
        """Note how the worker is now."""
        metrics, now_s, unix_s = self._metrics, self._service.clock(), self._unix_s()
        self._note_blocks(now_s, unix_s)
        for item, episode, slot in self._shedding:
            since_s = episode.since_s(item.last_shed_s, now_s)
            metrics.set(slot, 0.0 if since_s is None else unix_s - (now_s - since_s))
        self._work.note(now_s)

    def _note_blocks(self, now_s: float, unix_s: float) -> None:
        # That is what was asked for; being called late tells of all the rest, as of a process that
        # was stopped.
        took_s = self._longest_block_s()
        if self._noted_s is not None:
            took_s = max(took_s, now_s - self._noted_s - self._every_s)
        self._noted_s = now_s
        self._metrics.set(self._longest_slot, self._longest.see(took_s, now_s))
        if took_s >= BLOCK_S:
            self._metrics.add(self._blocks)
            self._metrics.set(self._blocked_at, unix_s)


class _Work:
    """What rows cost, and how many requests could be answered."""

    def __init__(self, service: Service, every: list[Served], cpu_s: Callable[[], float]) -> None:
        self._metrics = service.metrics
        self._cpu_s = cpu_s
        self._models = [_Model(item, service.metrics) for item in every]
        self._began_s = -math.inf
        self._cpu_before_s = 0.0

    def note(self, now_s: float) -> None:
        passed_s = now_s - self._began_s
        if passed_s < WINDOW_S:
            return
        cpu_s = self._cpu_s()
        used_s = cpu_s - self._cpu_before_s
        self._began_s, self._cpu_before_s = now_s, cpu_s
        answered = sum(model.look() for model in self._models)
        # Of models that are predicted as requests are read, all that a worker does is their cost.
        is_known = math.isfinite(passed_s) and used_s >= LEAST_BUSY_RATIO * passed_s
        per_cpu_s = answered / used_s if is_known and answered else None
        for model in self._models:
            model.note(per_cpu_s)


class _Model:
    """The same of one version."""

    def __init__(self, served: Served, metrics: Metrics) -> None:
        self._served = served
        self._metrics = metrics
        layout, labels = metrics.layout, (served.name, served.version)
        self._capacity = layout.slot(CAPACITY, *labels)
        self._row_cost = layout.slot(ROW_COST, *labels)
        self._slots = (served.ok_slot, served.rows_slot, served.predict_slot + len(BOUNDS_S) + 1)
        self._before = self._counted()
        self._mean_rows = 1.0
        self._row_s: float | None = None
        metrics.set(layout.slot(PACKED_ROW_COST, *labels), packed_row_s(served))
        metrics.set(layout.slot(IS_APART, *labels), float(served.model is None))

    def _counted(self) -> tuple[float, float, float]:
        ok, rows, predict_s = (self._metrics.own(slot) for slot in self._slots)
        return ok, rows, predict_s

    def look(self) -> float:
        """See what was answered since the last look, and give how many requests."""
        now, before = self._counted(), self._before
        self._before = now
        ok, rows, predict_s = (new - old for new, old in zip(now, before, strict=True))
        if ok > 0.0:
            self._mean_rows += (1.0 - FORGET) * (rows / ok - self._mean_rows)
        if rows > 0.0:
            self._row_s = predict_s / rows
        return ok

    def note(self, per_cpu_s: float | None) -> None:
        lane = self._served.lane
        if lane is not None:
            self._metrics.set(self._capacity, lane.rows_per_s / max(self._mean_rows, 1.0))
            self._metrics.set(self._row_cost, lane.cost.curve(1))
            return
        if per_cpu_s is not None:
            self._metrics.set(self._capacity, per_cpu_s)
        if self._row_s is not None:
            self._metrics.set(self._row_cost, self._row_s)


def packed_row_s(served: Served) -> float:
    """What one row cost when the version was packed, seconds; 0 if it isn't known."""
    record = served.record
    for item in record.parity.candidates:
        if item.runtime == record.runtimes.real_time and item.one_row_s is not None:
            return item.one_row_s
    return 0.0
