"""Drift: how far the rows of a run are from the sample, and how far chance alone would take them.

The measure is the population stability index, PSI = sum((p - q) * ln(p / q)) over bins, with the
shares p of the run and q of the sample; below 0.1 is taken for stable and above 0.2 (some say
0.25) for a shift (Siddiqi, Credit Risk Scorecards, 2006). Without any shift it isn't 0 but about
(1/n + 1/m) times a chi-squared variable of bins - 1 degrees of freedom, for n and m rows (Yurdakul
and Naranjo, Journal of Risk Model Validation 14(4), 2020): a sample of 64 rows alone makes it 0.14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from twofold.batch.statistics import NumberSketch, TextSketch

if TYPE_CHECKING:
    from twofold.model.arrow import Numbers as Array

NUMBER_BINS = 10
TEXT_BINS = 20
MIN_BIN_ROWS = 5
"""Rows of the sample below which a text has no bin of its own: the usual bound of such tests."""
MIN_SHARE = 1e-4
"""An empty bin counts as half a row, and as no less than this, whose logarithm is -9."""
CHANCE_Z = 3.0902
"""The normal quantile of 0.999: warnings by chance come once in a thousand columns."""


def psi(counts: Sequence[float], sample_counts: Sequence[float]) -> float:
    """The population stability index of a run against a sample, by bin; neither is empty."""
    rows, sample_rows = sum(counts), sum(sample_counts)
    found = 0.0
    for count, sample_count in zip(counts, sample_counts, strict=True):
        if count == sample_count == 0:
            continue
        share = max(count / rows, _least(rows) if count == 0 else 0.0)
        sample_share = max(
            sample_count / sample_rows, _least(sample_rows) if sample_count == 0 else 0.0
        )
        found += (share - sample_share) * math.log(share / sample_share)
    return found


def _least(rows: float) -> float:
    return max(0.5 / rows, MIN_SHARE)


def psi_by_chance(bins: int, rows: float, sample_rows: float) -> float:
    """What the index stays below in 999 of 1,000 runs if nothing has drifted."""
    if bins < 2:  # noqa: PLR2004 - all in one bin: it is always 0
        return 0.0
    return (1 / rows + 1 / sample_rows) * _chi_squared(bins - 1)


def _chi_squared(degrees: int) -> float:
    """The 0.999 quantile, by Wilson and Hilferty's cube (1931): to 3 %."""
    part = 2 / (9 * degrees)
    return degrees * (1 - part + CHANCE_Z * math.sqrt(part)) ** 3


def ratio_by_chance(ratio: float, rows: float, sample_rows: float) -> float:
    """How far two shares lie apart at most, as above, if both come from `ratio`."""
    return CHANCE_Z * math.sqrt(ratio * (1 - ratio) * (1 / rows + 1 / sample_rows))


def number_bins(run: NumberSketch, sample: NumberSketch) -> tuple[list[int], list[int]]:
    """Count both by the sample's deciles, ended where buckets end, and then the nulls."""
    tops = _deciles(sample)
    counted: list[list[int]] = []
    for sketch in (run, sample):
        places = np.searchsorted(tops, sketch.keys, side="left")
        counts = np.bincount(places, sketch.counts, len(tops) + 1)
        counted.append([*(int(count) for count in counts), sketch.nulls])
    return counted[0], counted[1]


def _deciles(sample: NumberSketch) -> Array:
    """The last bucket of each bin but the last; a bucket with a tenth or more has its own."""
    wanted = sample.values / NUMBER_BINS
    tops: list[int] = []
    held, below, goal = 0, 0, wanted
    counts = [*sample.counts.tolist()]
    for index, key in enumerate(sample.keys.tolist()[:-1]):
        held += counts[index]
        below += counts[index]
        if below >= goal or counts[index + 1] >= wanted:
            tops.append(key)
            held = 0
            # The next decile but for one that is all but reached.
            goal = wanted * (int(below / wanted + 0.5) + 1)
    # A rest that is too small for a bin of its own belongs to the one before.
    if tops and held + counts[-1] < wanted / 2:
        tops.pop()
    return np.array(tops, np.int32)


def text_bins(run: TextSketch, sample: TextSketch) -> tuple[list[int], list[int]]:
    """Count both by the sample's most frequent texts, then all others, seen or not; then nulls.

    A rare text of the sample isn't told from an unseen one: which of them a sample happens to
    have is chance.
    """
    order = sorted(range(len(sample.known)), key=lambda place: -sample.known[place])
    own = [place for place in order[:TEXT_BINS] if sample.known[place] >= MIN_BIN_ROWS]
    counted: list[list[int]] = []
    for sketch in (run, sample):
        counts = [sketch.known[place] for place in own]
        counted.append([*counts, sketch.values - sum(counts), sketch.nulls])
    return counted[0], counted[1]


def unseen_by_chance(sample: TextSketch, rows: float) -> float:
    """The share of unseen texts up to which the sample is too small rather than the run new.

    A sample's share of texts that it has once estimates the share of those it doesn't have (Good,
    Biometrika 40, 1953).
    """
    values = sample.values
    if values == 0:
        return 1.0
    once = (sample.known.count(1) + 1) / (values + 1)
    return min(1.0, once + ratio_by_chance(min(once, 1.0), rows, values))
