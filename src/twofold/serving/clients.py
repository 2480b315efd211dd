"""Who asks, and how it ends: the few clients that matter most, over all workers and without a lock.

Only refusals and failures are counted, and, where there are keys, what is admitted: nothing that a
server without keys answers costs anything here. Each worker keeps a few clients, as Space-Saving
does (Metwally, Agrawal, El Abbadi, ICDT 2005): a newcomer takes the place of the lightest one and
inherits its weight, so that a heavy client is never kept out. What is shown of a client is only
what was really counted of it. All counts fade, so that they are rates of the last seconds, and who
is quiet again is forgotten.

Every worker writes to its own region of the shared array and reads all, as in `metrics`. A reader
may meet an entry while it goes to another client; for that instant it has no name.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping

MAX_CLIENTS = 8
"""Of each worker."""
FADE_S = 10.0
"""In so many seconds a count loses 63 %: divided by it, counts are rates."""
LEAST_PER_S = 0.01
"""A client with less of everything isn't shown any more."""
NAME_BYTES = 128
NUMBER_BYTES = 8


class Ended(enum.IntEnum):
    """How a request of a client ended; the value is its place in an entry."""

    ADMITTED = 0
    SHED = 1
    LATE = 2
    OVER_QUOTA = 3
    INVALID = 4
    FAILED = 5


WEIGHT = len(Ended)
LENGTH = WEIGHT + 1
NUMBERS = LENGTH + 1
"""Of an entry: its counts, its weight, and the length of its name, 0 while it has none."""
ENTRY_BYTES = NUMBERS * NUMBER_BYTES + NAME_BYTES


class Clients:
    """One worker's view of the clients: writes its own entries, reads all."""

    def __init__(self, shared: memoryview, *, regions: int, region: int, now_s: float) -> None:
        """Take part with one region, without clients.

        Args:
            shared: The whole array, as bytes.
            regions: How many workers take part.
            region: Which of them this is.
            now_s: The current instant, monotonic seconds.
        """
        self._entries = [
            _Entry(shared[start : start + ENTRY_BYTES])
            for start in range(0, self.size_bytes(regions), ENTRY_BYTES)
        ]
        self._own = self._entries[region * MAX_CLIENTS : (region + 1) * MAX_CLIENTS]
        self._places: dict[str, _Entry] = {}
        self._faded_s = now_s
        self.clear()

    @staticmethod
    def size_bytes(regions: int) -> int:
        """Size of the shared array."""
        return regions * MAX_CLIENTS * ENTRY_BYTES

    @classmethod
    def of_one_process(cls) -> Clients:
        """Clients that no other worker sees."""
        return cls(memoryview(bytearray(cls.size_bytes(1))), regions=1, region=0, now_s=0.0)

    def note(self, client: str, ended: Ended) -> None:
        """Count a request of a client."""
        entry = self._places.get(client)
        if entry is None:
            if ended is Ended.ADMITTED and len(self._places) >= MAX_CLIENTS:
                # Who is served well takes nobody's place: it would change hands with each request.
                return
            entry = min(self._own, key=_weight_of)
            self._places.pop(entry.client, None)
            self._places[client] = entry
            entry.take(client)
        entry.add(ended)

    def fade(self, now_s: float) -> None:
        """Let the past count less; to be called about once a second.

        Args:
            now_s: The current instant, monotonic seconds.
        """
        keep = math.exp(-max(0.0, now_s - self._faded_s) / FADE_S)
        self._faded_s = now_s
        for entry in self._own:
            entry.fade(keep)
        for client, entry in list(self._places.items()):
            if entry.weight < LEAST_PER_S * FADE_S:
                del self._places[client]
                entry.clear()

    def clear(self) -> None:
        """Forget this worker's clients: it begins, or ends."""
        self._places.clear()
        for entry in self._own:
            entry.clear()

    def rates(self) -> Mapping[str, Mapping[Ended, float]]:
        """Requests per second of each client, over all workers, the most refused first."""
        found: dict[str, dict[Ended, float]] = {}
        for entry in self._entries:
            name = entry.name
            if name:
                rates = found.setdefault(name, dict.fromkeys(Ended, 0.0))
                for ended, count in entry.counts():
                    rates[ended] += count / FADE_S
        return dict(sorted(found.items(), key=lambda item: -_refused(item[1])))


def _refused(rates: Mapping[Ended, float]) -> float:
    return sum(rates.values()) - rates[Ended.ADMITTED]


class _Entry:
    """One client, in shared memory.

    Attributes:
        client: Whom this worker put there; what the others see may be cut.
    """

    def __init__(self, shared: memoryview) -> None:
        self.client = ""
        self._numbers = shared[: NUMBERS * NUMBER_BYTES].cast("d")
        self._text = shared[NUMBERS * NUMBER_BYTES :]

    @property
    def name(self) -> str:
        length = int(self._numbers[LENGTH])
        return bytes(self._text[:length]).decode("utf-8", "replace")

    @property
    def weight(self) -> float:
        return self._numbers[WEIGHT]

    def take(self, client: str) -> None:
        """Be another client's; the weight stays."""
        numbers, self.client = self._numbers, client
        numbers[LENGTH] = 0.0
        text = client.encode("utf-8", "replace")[:NAME_BYTES]
        self._text[: len(text)] = text
        for place in Ended:
            numbers[place] = 0.0
        numbers[LENGTH] = float(len(text))

    def add(self, ended: Ended) -> None:
        self._numbers[ended] += 1.0
        self._numbers[WEIGHT] += 1.0

    def fade(self, keep: float) -> None:
        for place in range(LENGTH):
            self._numbers[place] *= keep

    def clear(self) -> None:
        self.client = ""
        self._numbers[LENGTH] = 0.0
        for place in range(LENGTH):
            self._numbers[place] = 0.0

    def counts(self) -> Iterator[tuple[Ended, float]]:
        for ended in Ended:
            yield ended, self._numbers[ended]


def _weight_of(entry: _Entry) -> float:
    return entry.weight
