"""How much each key may ask for, over all workers together and without a lock.

Rules of this file:
- A worker writes to its own numbers and to no others (as in `metrics`), and reads all.
- Whatever a decision needs is in the shared numbers: a worker that replaces a dead one, or that
  sees a key for the first time, knows what all the others know.
- Amounts are kept in seconds, never in requests: one request costs `1 / rate` seconds of its
  key's time. So a quota may change, or a slot go to another key, at any instant: what stays of the
  past is seconds, which pass.

It is a token bucket, told by the clock (the "virtual scheduling" of ITU-T I.371, GCRA). Let
`level = now - spent by all`: it rises with time and falls with each request. The highest it ever
stood is where it stood when the bucket was last full: a full bucket lets time pass unused. So
`highest - level` seconds are missing from the bucket. Only a request that takes from a full bucket
can see a new highest; its worker notes it. Spent seconds are summed over the workers, of the
highest levels the highest counts: that is all that workers must tell each other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterable

MAX_KEYS = 1_024
SLOTS = 4 * MAX_KEYS
"""More than keys, so that most names have the slot that their hash says; see `slots_of`."""
NUMBER_BYTES = 8

MIN_PER_S = 0.00001
"""About one request a day."""
MAX_PER_S = 1_000_000.0
MAX_BURST_REQUESTS = 10_000_000
ROUNDING_S = 0.000001
"""Sums of the seconds of a machine that has been up for years are exact to a tenth of this. Without
it a full bucket would now and then let in one request too few."""


@dataclasses.dataclass(frozen=True)
class Quota:
    """What one key may ask for.

    Attributes:
        max_requests_per_s: In the long run.
        burst_requests: At once, after a rest.
        cost_s: The time that one request uses up.
        room_s: The time that may be missing from the bucket for one more request to be let in.
    """

    max_requests_per_s: float
    burst_requests: int
    cost_s: float = dataclasses.field(init=False, repr=False)
    room_s: float = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Work out what every request needs."""
        rate = self.max_requests_per_s
        object.__setattr__(self, "cost_s", 1 / rate)
        object.__setattr__(self, "room_s", (self.burst_requests - 1) / rate + ROUNDING_S)


def default_burst(max_requests_per_s: float) -> int:
    """The burst of a key that names none: two seconds of requests at once."""
    return max(1, math.ceil(2 * max_requests_per_s))


def slots_of(names: Iterable[str], slots: int = SLOTS) -> dict[str, int]:
    """Give every name a slot of its own; all workers, whenever they ask, give the same.

    The slots depend on the names alone, not on their order. A name has the slot that its hash
    says; of several with one slot all but the first by hash take the next free ones. So a name
    keeps its slot whatever comes and goes, save one that collided with what came or went: it moves
    to another slot, and finds the bucket there as its last owner left it.

    Args:
        names: All of them; at most `slots`.
        slots: How many there are.
    """
    taken: dict[int, str] = {}
    for digest, name in sorted((_digest(name), name) for name in set(names)):
        slot = digest % slots
        while slot in taken:
            slot = (slot + 1) % slots
        taken[slot] = name
    return {name: slot for slot, name in taken.items()}


def _digest(name: str) -> int:
    # Python's own hash differs from process to process.
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


class Quotas:
    """One worker's view of what the keys have used: writes its own numbers, reads all."""

    def __init__(
        self, shared: memoryview, *, regions: int, region: int, capacity_keys: int = SLOTS
    ) -> None:
        """Take part with one region.

        Args:
            shared: The whole array, as bytes; all zeros at first.
            regions: How many workers take part.
            region: Which of them this is.
            capacity_keys: Slots of keys.
        """
        self._numbers = shared[: self.size_bytes(regions, capacity_keys)].cast("d")
        self._regions = regions
        self._region = region
        self._views: dict[int, tuple[memoryview[float], memoryview[float]]] = {}

    @staticmethod
    def size_bytes(regions: int, capacity_keys: int = SLOTS) -> int:
        """Size of the shared array; memory is used only for the slots of keys with a quota."""
        return 2 * regions * capacity_keys * NUMBER_BYTES

    @classmethod
    def of_one_process(cls) -> Quotas:
        """Quotas that nobody else takes part in."""
        return cls(memoryview(bytearray(cls.size_bytes(1))), regions=1, region=0)

    def take(self, key_slot: int, quota: Quota, now_s: float) -> float:
        """Let one request in, or say when to come back.

        In any `t` seconds at most `burst + rate * t` requests of a key are let in, and at most one
        more for each worker but one: requests that several workers look at in the same instant
        don't see each other. They are made up for afterwards.

        Args:
            key_slot: The key's slot.
            quota: What the key may ask for.
            now_s: The current instant, seconds of the clock that all workers share
                (CLOCK_MONOTONIC is the same in all processes of a machine).

        Returns:
            0 if it is in, else the seconds until there is room for one.
        """
        # The view of a key is kept: making it would cost a third of the whole.
        spent_s, highest_s = self._views.get(key_slot) or self._view(key_slot)
        level_s = now_s - sum(spent_s)
        missing_s = max(highest_s) - level_s
        if missing_s > quota.room_s:
            return missing_s - quota.room_s + ROUNDING_S
        if missing_s < 0.0:
            # Noted before it is spent: who reads in between sees a full bucket, not a fuller one.
            highest_s[self._region] = level_s
        spent_s[self._region] += quota.cost_s
        return 0.0

    def _view(self, key_slot: int) -> tuple[memoryview[float], memoryview[float]]:
        """What each worker has spent of a key, and the highest level that each has seen."""
        # They lie together, so that few cache lines are read.
        start = key_slot * 2 * self._regions
        middle = start + self._regions
        view = self._numbers[start:middle], self._numbers[middle : middle + self._regions]
        self._views[key_slot] = view
        return view
