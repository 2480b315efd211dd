"""A histogram of times with three significant digits, of bounded size, that can be added up.

It is the HdrHistogram of Gil Tene (hdrhistogram.org): buckets double in width, each split into
equal parts, so that every time from a microsecond to an hour is kept to one part in a thousand, in
34,000 counters, however many times there are.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from twofold.lab.findings import Latency

UNIT_S = 1e-9
"""Times below 2 microseconds are kept exactly to this; those above, to three digits."""
SUB_BITS = 11
"""2,048 parts of a bucket: the upper half of them is used, and 1 of 1,024 is less than 1/1,000."""
HALF = 1 << (SUB_BITS - 1)
MAX_S = 3600.0
MAX_UNITS = int(MAX_S / UNIT_S)
SIZE = (MAX_UNITS.bit_length() - SUB_BITS + 2) * HALF
SHARES = ("50", "90", "99", "99.9", "99.99")
"""In percent."""
MIN_BEYOND = 10
"""Values that have to lie beyond a percentile for it to say something."""


class PackedHistogram(msgspec.Struct, frozen=True):
    """A histogram on its way between processes: the buckets that aren't empty."""

    places: bytes
    counts: bytes
    sum_s: float
    max_s: float


class Histogram:
    """Counts of times.

    Attributes:
        count: How many there are.
        sum_s: Their sum, exactly.
        max_s: The longest, exactly; 0 of none.
    """

    def __init__(self) -> None:
        """Without any time."""
        self.count = 0
        self.sum_s = 0.0
        self.max_s = 0.0
        self._counts = np.zeros(SIZE, np.int64)

    def add(self, times_s: Any) -> None:
        """Count times; those below 0 count as 0, those beyond an hour as an hour.

        Args:
            times_s: An array of seconds.
        """
        times = np.clip(np.asarray(times_s, np.float64), 0, MAX_S)
        if not len(times):
            return
        units = np.rint(times / UNIT_S).astype(np.int64)
        self._counts += np.bincount(_places(units), minlength=SIZE)
        self.count += len(times)
        self.sum_s += float(times.sum())
        self.max_s = max(self.max_s, float(times.max()))

    def merge(self, other: Histogram) -> None:
        """Count all times of another one."""
        self._counts += other._counts
        self.count += other.count
        self.sum_s += other.sum_s
        self.max_s = max(self.max_s, other.max_s)

    def percentile(self, share: float) -> float:
        """The percentile of nearest rank, in seconds; 0 of none.

        Args:
            share: In percent, from 0 to 100.

        Returns:
            The upper end of the bucket that it lies in, but no more than the longest time.
        """
        if not self.count:
            return 0.0
        # A share as 99.9 is no exact number; the rank is that of the decimal one.
        rank = max(1, int(np.ceil(round(share * self.count / 100, 6))))
        place = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(_upper(place) * UNIT_S, self.max_s)

    def bears(self, share: float) -> bool:
        """Whether there are enough times for a percentile: at least ten lie beyond it."""
        return round(self.count * (100 - share) / 100, 6) >= MIN_BEYOND

    def latency(self) -> Latency:
        """The percentiles that so many times bear."""
        borne = {
            share: self.percentile(float(share)) for share in SHARES if self.bears(float(share))
        }
        mean_s = self.sum_s / self.count if self.count else 0.0
        return Latency(count=self.count, mean_s=mean_s, max_s=self.max_s, percentiles_s=borne)

    def packed(self) -> PackedHistogram:
        """To be sent to another process."""
        places = np.flatnonzero(self._counts)
        return PackedHistogram(
            places.astype("<u4").tobytes(),
            self._counts[places].astype("<i8").tobytes(),
            self.sum_s,
            self.max_s,
        )

    @staticmethod
    def unpacked(packed: PackedHistogram) -> Histogram:
        """What another process has sent."""
        histogram = Histogram()
        counts = np.frombuffer(packed.counts, "<i8")
        histogram._counts[np.frombuffer(packed.places, "<u4")] = counts
        histogram.count = int(counts.sum())
        histogram.sum_s, histogram.max_s = packed.sum_s, packed.max_s
        return histogram


def _places(units: Any) -> Any:
    # The exponent of a float64 is the number's length in bits; numbers below 2^53 are exact.
    bits = np.frexp(units.astype(np.float64))[1]
    shifts = np.maximum(bits - SUB_BITS, 0)
    return (shifts << (SUB_BITS - 1)) + (units >> shifts)


def _upper(place: int) -> int:
    """The highest time of a bucket, in units."""
    shift = max((place >> (SUB_BITS - 1)) - 1, 0)
    part = place - (shift << (SUB_BITS - 1))
    return ((part + 1) << shift) - 1
