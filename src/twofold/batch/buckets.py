"""Buckets of numbers: by sign, exponent and five bits of the mantissa of a float32.

A number's key is what its distance from an origin has in these bits: 0 nearest the origin, then
1, 2, ... outwards above it and -1, -2, ... below. A bucket is 2 to 3 % of its distance wide, so
quantiles keep that relative error, as in HDR Histogram (Tene) and DDSketch (Masson, Rim, Lee, VLDB
2019), while finding a bucket takes a shift. `src/kernel/sketch.c` counts the same.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.batch.statistics import NumberSketch, summed
from twofold.model.kernel import kernel

if TYPE_CHECKING:
    from twofold.model.arrow import Numbers as Array

REST_BITS = 18
BUCKETS = 1 << (32 - REST_BITS)
NEGATIVE = BUCKETS // 2
ENDS = BUCKETS >> 5
"""Signs and exponents."""
BEYOND = 255 << 5
"""The key of infinity, to which the distance between far numbers may round; NaN lies beyond."""
MAX_DISTANCE = float(np.finfo(np.float32).max)
GRAIN_RATIO = 1 / 32
"""Distances below this share of the usual one are told apart no further."""
ENTRY = np.dtype([("bucket", "<u4"), ("count", "<u4"), ("rests", "<u8")])
"""A bucket that isn't empty; shared with `src/kernel/sketch.h`."""


def bucket_entries(distances: Array) -> Array:
    """Count float32 distances by bucket, as the kernel does."""
    bits = np.ascontiguousarray(distances, np.float32).view(np.uint32)
    buckets, rests = bits >> REST_BITS, bits & ((1 << REST_BITS) - 1)
    counts = np.bincount(buckets, minlength=BUCKETS)
    sums = np.bincount(buckets, weights=rests, minlength=BUCKETS)
    found = np.flatnonzero(counts)
    entries = np.empty(len(found), ENTRY)
    entries["bucket"], entries["count"], entries["rests"] = found, counts[found], sums[found]
    return entries


def number_sketches(
    entries: Sequence[Array], limits: Array, nulls: Sequence[int], grains: Sequence[int]
) -> list[NumberSketch]:
    """Make sketches of a partition's columns of numbers, in whatever order its batches come.

    Args:
        entries: Of each batch; the buckets of each column are numbered after those of the other.
        limits: Least and greatest value, a line for each column.
        nulls: Nulls of each column.
        grains: The first key that is told apart from 0, of each column.
    """
    columns = len(grains)
    every = _merged(entries, columns)
    used, counts, rests = (every[name].astype(np.int64) for name in ("bucket", "count", "rests"))
    owners, buckets = used // BUCKETS, used % BUCKETS
    sizes = buckets % NEGATIVE
    is_number = sizes <= BEYOND
    nans = np.bincount(owners[~is_number], counts[~is_number], columns)
    owners, buckets, counts, rests, sizes = (
        item[is_number] for item in (owners, buckets, counts, rests, sizes)
    )
    exponents = sizes >> 5
    leading = (np.where(exponents, 32, 0) + (sizes & 31)) << REST_BITS
    whole = counts * leading + rests
    sums = np.ldexp(whole.astype(np.float64), np.maximum(exponents, 1) - 150)
    squares = np.bincount(owners, sums * (sums / counts), columns)
    totals = _totals(owners, buckets >> 5, whole, columns)
    least = np.maximum(np.asarray(grains, np.int64), 1)[owners]
    keys = np.where(sizes < least, 0, np.where(buckets < NEGATIVE, sizes, -sizes))
    kept, together = summed(owners * (2 * BUCKETS) + keys + BUCKETS, counts)
    kept_owners, kept_keys = np.divmod(kept, 2 * BUCKETS)
    borders = range(columns + 1)
    kept_bounds = np.searchsorted(kept_owners, borders).tolist()
    kept_keys = (kept_keys - BUCKETS).astype(np.int32)
    found: list[NumberSketch] = []
    for index in range(columns):
        own = slice(*kept_bounds[index : index + 2])
        sketch = NumberSketch(
            kept_keys[own],
            together[own],
            nulls[index] + int(nans[index]),
            float(limits[index, 0]) + 0.0,  # minus zero is zero, whichever came first
            float(limits[index, 1]) + 0.0,
            totals[index],
            Fraction(float(squares[index])),
        )
        found.append(sketch)
    return found


def _merged(entries: Sequence[Array], columns: int) -> Array:
    """The entries of all batches, those of one bucket put together, in the order of the buckets."""
    native = kernel()
    if native is not None:
        held = tuple(item.tobytes() for item in entries)
        return np.frombuffer(native.merge(held, columns), ENTRY)
    every = np.concatenate([np.empty(0, ENTRY), *entries])
    used, at = np.unique(every["bucket"], return_inverse=True)
    merged = np.empty(len(used), ENTRY)
    merged["bucket"] = used
    for name in ("count", "rests"):
        merged[name] = np.bincount(at, every[name], len(used))  # exact below 2^53
    return merged


def _totals(owners: Array, ends: Array, whole: Array, columns: int) -> list[Fraction]:
    """The sum of each column's distances, as near as one number can be.

    Args:
        owners: The column of each bucket.
        ends: Its sign and exponent.
        whole: Its sum in units of what these stand for.
        columns: How many there are.
    """
    # Whole numbers below 2^53 are summed exactly; few are left for the exact sum of floats.
    found = np.bincount(owners * ENDS + ends, whole, columns * ENDS).reshape(columns, ENDS)
    exponents = np.maximum(np.arange(ENDS) % (ENDS // 2), 1) - 150
    signs = np.where(np.arange(ENDS) < ENDS // 2, 1.0, -1.0)
    sums = np.ldexp(found, exponents) * signs
    return [Fraction(math.fsum(line[line != 0.0].tolist())) for line in sums]


def key_of(distance: float) -> int:
    """The key of a distance that is a finite number of at least 0."""
    return int(np.float32(distance).view(np.uint32)) >> REST_BITS


def edges(keys: Array, grain: int) -> tuple[Array, Array]:
    """The distances between which the values of buckets lie."""
    borders, sizes = _borders(), np.abs(keys)
    inner, outer = borders[sizes], borders[sizes + 1]
    middle = float(borders[max(grain, 1)])
    lower = np.where(keys > 0, inner, -outer)
    upper = np.where(keys > 0, outer, -inner)
    return np.where(keys == 0, -middle, lower), np.where(keys == 0, middle, upper)


@functools.cache
def _borders() -> Array:
    """The distance at which each key begins, one more than the last included."""
    found = np.full(BEYOND + 2, MAX_DISTANCE)
    found[:BEYOND] = (np.arange(BEYOND, dtype=np.uint32) << REST_BITS).view(np.float32)
    return found


def shares_below(sketch: NumberSketch, points: Array, origin: float, grain: int) -> Array:
    """The share of values up to each of some points, values being even within a bucket."""
    lower, upper = edges(sketch.keys, grain)
    borders = np.stack([lower, upper], axis=1).reshape(-1)
    below = np.cumsum(sketch.counts)
    heights = np.stack([below - sketch.counts, below], axis=1).reshape(-1) / below[-1]
    found = np.interp(points - origin, borders, heights)
    return np.where(points >= sketch.maximum, 1.0, np.where(points < sketch.minimum, 0.0, found))


def quantiles(sketch: NumberSketch, ratios: Sequence[float], measured: Any) -> list[float]:
    """The values below which some shares of the values lie.

    Args:
        sketch: With at least one value.
        ratios: The shares.
        measured: Has the `origin`, `grain` and `type` of the column.
    """
    below = np.cumsum(sketch.counts)
    ranks = np.asarray(ratios) * below[-1]
    at = np.minimum(np.searchsorted(below, ranks, side="left"), len(below) - 1)
    keys, counts = sketch.keys[at], sketch.counts[at]
    lower, upper = edges(keys, measured.grain)
    if measured.type == "int64":
        # Small whole distances are where buckets begin.
        found = np.where(keys == 0, 0.0, np.where(keys > 0, lower, upper))
    else:
        before = (below[at] - counts).astype(np.float64)
        found = lower + (upper - lower) * (ranks - before) / counts
    return np.clip(measured.origin + found, sketch.minimum, sketch.maximum).tolist()
