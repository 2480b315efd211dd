"""The summary of a run: its sketch beside the sample's, in the manifest's words, with warnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from twofold.batch import drift
from twofold.batch.buckets import quantiles, shares_below
from twofold.batch.settings import BatchSettings
from twofold.batch.sketch import Measured
from twofold.batch.statistics import (
    Category,
    ColumnSketch,
    ColumnStatistics,
    Histogram,
    Numbers,
    NumberSketch,
    Reason,
    Sketch,
    Statistics,
    TextSketch,
)
from twofold.errors import problem

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
HISTOGRAM_BINS = 24
SHOWN_CATEGORIES = 20
SHOWN_UNSEEN = 5
SHOWN_REASONS = 20
DIGITS = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROS_PER_S = 1e6
FIX = "Look at the input and at what fills it; if the world has changed, train and pack anew."


def summarise(
    columns: Sequence[Measured],
    outputs: int,
    run: Sketch,
    sample: Sketch | None,
    limits: BatchSettings,
) -> Statistics:
    """Put a run's sketch beside the sample's.

    Args:
        columns: What was sketched: the fields, then the predictions.
        outputs: How many of them are predictions.
        run: The rows predicted.
        sample: The model's sample; None if there is none to compare with.
        limits: Beyond which there are warnings.
    """
    found: list[ColumnStatistics] = []
    warnings: list[str] = []
    for index, item in enumerate(columns):
        reference = sample.columns[index] if sample else None
        statistics = _column(item, run.columns[index], reference)
        found.append(statistics)
        if reference is not None and statistics.rows and statistics.sample_rows:
            warnings += _warnings(statistics, reference, limits)
    fields = len(found) - outputs
    reasons = sorted(run.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return Statistics(
        rows=run.rows,
        predictions=tuple(found[fields:]),
        fields=tuple(found[:fields]),
        quarantined=tuple(
            Reason(field=field, reason=reason, rows=rows)
            for (field, reason), rows in reasons[:SHOWN_REASONS]
        ),
        warnings=tuple(warnings),
    )


def _column(item: Measured, run: ColumnSketch, sample: ColumnSketch | None) -> ColumnStatistics:
    found = ColumnStatistics(
        name=item.name, type=item.type, rows=run.values + run.nulls, nulls=run.nulls
    )
    if sample is not None:
        found = msgspec.structs.replace(
            found, sample_rows=sample.values + sample.nulls, sample_nulls=sample.nulls
        )
    if isinstance(run, NumberSketch):
        reference = sample if isinstance(sample, NumberSketch) else None
        found = _with_numbers(found, item, run, reference)
        bins = drift.number_bins(run, reference) if reference and reference.values else None
    else:
        known = sample if isinstance(sample, TextSketch) else None
        found = _with_texts(found, item, run, known)
        bins = drift.text_bins(run, known) if known else None
    if bins is None or not found.rows or not found.sample_rows:
        return found
    return _with_drift(found, *bins)


def _with_drift(
    found: ColumnStatistics, counts: list[int], sample_counts: list[int]
) -> ColumnStatistics:
    used = sum(any(pair) for pair in zip(counts, sample_counts, strict=True))
    by_chance = drift.psi_by_chance(used, found.rows, found.sample_rows)
    return msgspec.structs.replace(
        found,
        psi=round(drift.psi(counts, sample_counts), DIGITS),
        psi_by_chance=round(by_chance, DIGITS),
    )


def _with_numbers(
    found: ColumnStatistics, item: Measured, run: NumberSketch, sample: NumberSketch | None
) -> ColumnStatistics:
    points, sample_points = (
        quantiles(sketch, QUANTILES, item) if sketch and sketch.values else []
        for sketch in (run, sample)
    )
    return msgspec.structs.replace(
        found,
        numbers=_numbers(item, run, points) if points else None,
        sample_numbers=_numbers(item, sample, sample_points) if sample and sample_points else None,
        histogram=_histogram(item, run, sample, [*points, *sample_points]),
    )


def _numbers(item: Measured, sketch: NumberSketch, points: Sequence[float]) -> Numbers:
    values = sketch.values
    distance = sketch.total / values
    variance = max(float(sketch.squares / values - distance * distance), 0.0)
    mean = min(max(item.origin + float(distance), sketch.minimum), sketch.maximum)
    deviation = math.sqrt(variance)
    names = [f"{ratio:g}" for ratio in QUANTILES]
    by_ratio = dict(zip(names, points, strict=True))
    if item.type != "timestamp":
        return Numbers(
            mean=mean,
            deviation=deviation,
            minimum=sketch.minimum,
            maximum=sketch.maximum,
            quantiles={**by_ratio},
        )
    return Numbers(
        mean=instant(mean),
        deviation=deviation / MICROS_PER_S,
        minimum=instant(sketch.minimum),
        maximum=instant(sketch.maximum),
        quantiles={ratio: instant(value) for ratio, value in by_ratio.items()},
    )


def instant(micros: float) -> str:
    """The time (of the field's own zone, or UTC) to the second, which is what is known of it."""
    try:
        return (EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return f"{micros / MICROS_PER_S:g} s since 1970"


def _histogram(
    item: Measured, run: NumberSketch, sample: NumberSketch | None, points: Sequence[float]
) -> Histogram | None:
    """The shares of both between the outermost of their quantiles."""
    if not points:
        return None
    start, stop = min(points), max(points)
    if start == stop:
        margin = abs(start) / 2 or 0.5
        start, stop = start - margin, stop + margin
    borders = np.linspace(start, stop, HISTOGRAM_BINS + 1)

    def shares(sketch: NumberSketch | None) -> tuple[float, ...]:
        if sketch is None or not sketch.values:
            return ()
        below = shares_below(sketch, borders, item.origin, item.grain)
        below[0], below[-1] = 0.0, 1.0
        return tuple(round(share, DIGITS) for share in np.diff(below).tolist())

    return Histogram(start=start, stop=stop, shares=shares(run), sample_shares=shares(sample))


def _with_texts(
    found: ColumnStatistics, item: Measured, run: TextSketch, sample: TextSketch | None
) -> ColumnStatistics:
    counts = sample.known if sample else (0,) * len(item.known)
    known = [
        Category(value=word, rows=rows, sample_rows=sample_rows)
        for word, rows, sample_rows in zip(item.known, run.known, counts, strict=True)
    ]
    known.sort(key=lambda category: (-max(category.rows, category.sample_rows), category.value))
    unseen = sorted(run.unseen.items(), key=lambda pair: (-pair[1], pair[0]))
    return msgspec.structs.replace(
        found,
        categories=tuple(known[:SHOWN_CATEGORIES]),
        unseen_rows=run.unseen_values,
        unseen=tuple(
            Category(value=word, rows=rows, sample_rows=0) for word, rows in unseen[:SHOWN_UNSEEN]
        ),
    )


def _warnings(found: ColumnStatistics, sample: ColumnSketch, limits: BatchSettings) -> list[str]:
    """What passes a limit by more than chance explains."""
    said: list[str] = []

    def say(limit: str, got: str) -> None:
        said.append(problem(found.name, limit, got, FIX))

    if found.psi is not None and found.psi > max(limits.max_psi, found.psi_by_chance or 0.0):
        say(f"a drift of at most {limits.max_psi:g} (max_psi)", f"a PSI of {found.psi:.3g}")
    before, now = found.sample_null_ratio, found.null_ratio
    both = (found.nulls + found.sample_nulls) / (found.rows + found.sample_rows)
    by_chance = drift.ratio_by_chance(both, found.rows, found.sample_rows)
    if abs(now - before) > max(limits.max_null_ratio_change, by_chance):
        say(
            f"about {before:.2%} nulls as in the sample (max_null_ratio_change)",
            f"{now:.2%}",
        )
    if isinstance(sample, TextSketch) and found.unseen_rows:
        by_chance = drift.unseen_by_chance(sample, found.rows)
        if found.unseen_ratio > max(limits.max_unseen_ratio, by_chance):
            shown = ", ".join(repr(category.value) for category in found.unseen)
            say(
                f"texts that the sample has in all but {limits.max_unseen_ratio:g} of the rows "
                "(max_unseen_ratio)",
                f"others in {found.unseen_ratio:.2%}, most often {shown}",
            )
    return said
