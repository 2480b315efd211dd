"""Statistics of a run: what its columns held, per partition and together, and beside the sample.

Values only. A partition's sketch is a function of its rows, whatever batches and threads they came
in; sketches of partitions add up exactly in any order, but for the rare texts beyond `MAX_UNSEEN`,
which are left out in the order of the partitions. So a resumed run has the same statistics.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from twofold.model.arrow import Numbers as Array

MAX_UNSEEN = 1000
"""Unseen texts that are counted one by one while partitions are added up."""
MAX_UNSEEN_PER_PARTITION = 64
MAX_REASONS = 20
"""Reasons of set-aside rows that are counted one by one, per partition."""
MAX_TEXT_CHARS = 80
OTHER_REASONS = "other reasons"
LAYOUT = 1


@dataclasses.dataclass(frozen=True, eq=False)
class NumberSketch:
    """How numbers are spread around an origin.

    Attributes:
        keys: Buckets that aren't empty, ascending; see `twofold.batch.buckets`.
        counts: Values in each.
        nulls: Nulls, and NaN.
        minimum: The least value; infinity if there is none.
        maximum: The greatest; minus infinity if there is none.
        total: Sum of the distances from the origin.
        squares: Sum of their squares, exact but for the spread within a bucket.
    """

    keys: Array
    counts: Array
    nulls: int
    minimum: float
    maximum: float
    total: Fraction
    squares: Fraction

    @property
    def values(self) -> int:
        """Values that are no nulls."""
        return int(self.counts.sum())


@dataclasses.dataclass(frozen=True)
class TextSketch:
    """How often each text came.

    Attributes:
        known: Rows of each text that the sample has, in its order.
        unseen: Rows of each other text, the most frequent ones only.
        rest: Rows of the other texts that aren't in `unseen`.
        nulls: Nulls.
    """

    known: tuple[int, ...]
    unseen: dict[str, int]
    rest: int
    nulls: int

    @property
    def values(self) -> int:
        """Texts that are no nulls."""
        return sum(self.known) + self.unseen_values

    @property
    def unseen_values(self) -> int:
        """Texts that the sample doesn't have."""
        return sum(self.unseen.values()) + self.rest


ColumnSketch = NumberSketch | TextSketch


@dataclasses.dataclass(frozen=True)
class Sketch:
    """What the rows of a partition, or of several, held.

    Attributes:
        rows: The rows predicted.
        columns: The fields, then the predictions.
        reasons: Rows set aside, by field and reason.
    """

    rows: int
    columns: tuple[ColumnSketch, ...]
    reasons: dict[tuple[str, str], int]


def added_up(sketches: Sequence[Sketch]) -> Sketch:
    """The sketch of the rows of several, of the same columns.

    Args:
        sketches: At least one.
    """
    columns: Any = zip(*(sketch.columns for sketch in sketches), strict=True)
    reasons: Counter[tuple[str, str]] = Counter()
    for sketch in sketches:
        reasons.update(sketch.reasons)
    return Sketch(
        sum(sketch.rows for sketch in sketches),
        tuple(
            _added_numbers(parts) if isinstance(parts[0], NumberSketch) else _added_texts(parts)
            for parts in columns
        ),
        dict(reasons),
    )


def _added_numbers(parts: Sequence[NumberSketch]) -> NumberSketch:
    keys, counts = summed(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )
    return NumberSketch(
        keys,
        counts,
        sum(part.nulls for part in parts),
        min(part.minimum for part in parts),
        max(part.maximum for part in parts),
        sum((part.total for part in parts), Fraction(0)),
        sum((part.squares for part in parts), Fraction(0)),
    )


def _added_texts(parts: Sequence[TextSketch]) -> TextSketch:
    unseen: Counter[str] = Counter()
    for part in parts:
        unseen.update(part.unseen)
    kept, left = most_frequent(unseen, MAX_UNSEEN)
    return TextSketch(
        tuple(map(sum, zip(*(part.known for part in parts), strict=True))),
        kept,
        sum(part.rest for part in parts) + left,
        sum(part.nulls for part in parts),
    )


def summed(keys: Array, counts: Array) -> tuple[Array, Array]:
    """Each key once, ascending, and the sum of its counts.

    Args:
        keys: Best in few ascending runs, of which the sort makes use.
        counts: Of each.
    """
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=starts[1:])
    first = np.flatnonzero(starts)
    return keys[first], np.add.reduceat(counts, first) if len(first) else counts


def most_frequent(counts: dict[str, int], limit: int) -> tuple[dict[str, int], int]:
    """The most frequent texts, ties by the text itself, and the rows of the others."""
    kept = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])
    return kept, sum(counts.values()) - sum(kept.values())


def count_reasons(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Count set-aside rows by field and reason; of rare reasons, only the field is kept."""
    counts = Counter(pairs)
    kept = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    found = Counter(dict(kept[:MAX_REASONS]))
    for (field, _), count in kept[MAX_REASONS:]:
        found[field, OTHER_REASONS] += count
    return dict(found)


class _Packed(msgspec.Struct, array_like=True):
    layout: int
    rows: int
    columns: list[Any]
    reasons: list[tuple[str, str, int]]


def encode_sketch(sketch: Sketch) -> bytes:
    """Pack a partition's sketch for the ledger."""
    columns = [
        _packed_numbers(item) if isinstance(item, NumberSketch) else dataclasses.astuple(item)
        for item in sketch.columns
    ]
    reasons = [(*pair, count) for pair, count in sorted(sketch.reasons.items())]
    return zlib.compress(
        msgspec.msgpack.encode(_Packed(LAYOUT, sketch.rows, columns, reasons)), level=1
    )


def _packed_numbers(sketch: NumberSketch) -> tuple[Any, ...]:
    # Byte by byte, the many zeros stand together, and compress to nothing.
    counts = sketch.counts.astype("<i8").view(np.uint8).reshape(-1, 8).T.tobytes()
    keys = np.diff(sketch.keys, prepend=0).astype("<i2").tobytes()
    limits = (sketch.minimum, sketch.maximum, float(sketch.total), float(sketch.squares))
    return (keys, counts, sketch.nulls, *limits)


def decode_sketch(data: bytes) -> Sketch | None:
    """Unpack what `encode_sketch` packed; None if it is of another layout, or damaged."""
    try:
        packed = msgspec.msgpack.decode(zlib.decompress(data), type=_Packed)
        if packed.layout != LAYOUT:
            return None
        columns = tuple(_unpacked(item) for item in packed.columns)
    except (zlib.error, msgspec.DecodeError, ValueError, TypeError):
        return None
    return Sketch(packed.rows, columns, {(f, r): count for f, r, count in packed.reasons})


def _unpacked(item: list[Any]) -> ColumnSketch:
    if not isinstance(item[0], bytes):
        known, unseen, rest, nulls = item
        return TextSketch(tuple(known), unseen, rest, nulls)
    keys, counts, nulls, minimum, maximum, total, squares = item
    planes = np.frombuffer(counts, np.uint8).reshape(8, -1)
    return NumberSketch(
        np.cumsum(np.frombuffer(keys, "<i2").astype(np.int32)),
        np.ascontiguousarray(planes.T).view("<i8").reshape(-1).astype(np.int64),
        nulls,
        minimum,
        maximum,
        Fraction(total),
        Fraction(squares),
    )


class Numbers(msgspec.Struct, frozen=True, kw_only=True):
    """A column of numbers in short; timestamps are ISO 8601, their deviation is in seconds.

    Attributes:
        mean: To seven digits of the distance from the sample's median.
        deviation: The standard deviation, to some 3 % of a value where values are alike.
        minimum: Exact up to 2^53.
        maximum: As the minimum.
        quantiles: `"0.01"` to `"0.99"`, each to 3 % of its distance from the sample's median.
    """

    mean: float | str
    deviation: float
    minimum: float | str
    maximum: float | str
    quantiles: dict[str, float | str]


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """A text, and its rows in the run and in the sample."""

    value: str
    rows: int
    sample_rows: int


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of the values in bins of one width; what lies beyond counts to the outer ones."""

    start: float
    stop: float
    shares: tuple[float, ...]
    sample_shares: tuple[float, ...]


class ColumnStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A field, or a prediction, beside the sample.

    Attributes:
        name: Its name.
        type: Its type in the signature.
        rows: Its values, nulls included (of a tensor, all the numbers in it).
        nulls: Of these, the nulls.
        sample_rows: Values in the sample; 0 if there is none.
        sample_nulls: Of these, the nulls.
        numbers: If it is of numbers and has any.
        sample_numbers: The same of the sample.
        histogram: The same as a picture.
        categories: If it is of texts or booleans: the most frequent ones that the sample has.
        unseen_rows: Rows with a text that the sample doesn't have.
        unseen: The most frequent ones of these texts.
        psi: Population stability index against the sample; None if there is none.
        psi_by_chance: What it stays below in 999 of 1,000 runs if nothing drifted.
    """

    name: str
    type: str
    rows: int
    nulls: int
    sample_rows: int = 0
    sample_nulls: int = 0
    numbers: Numbers | None = None
    sample_numbers: Numbers | None = None
    histogram: Histogram | None = None
    categories: tuple[Category, ...] = ()
    unseen_rows: int = 0
    unseen: tuple[Category, ...] = ()
    psi: float | None = None
    psi_by_chance: float | None = None

    @property
    def null_ratio(self) -> float:
        """Share of nulls in the run."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def sample_null_ratio(self) -> float:
        """Share of nulls in the sample."""
        return self.sample_nulls / self.sample_rows if self.sample_rows else 0.0

    @property
    def unseen_ratio(self) -> float:
        """Share of rows with a text that the sample doesn't have."""
        return self.unseen_rows / self.rows if self.rows else 0.0


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why rows were set aside, and how many; no field if the row, or the model, is at fault."""

    field: str
    reason: str
    rows: int


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """How good a run was: of the rows predicted, and why others were set aside.

    Attributes:
        rows: The rows predicted.
        predictions: What came out.
        fields: What went in, as the model saw it.
        quarantined: The most frequent reasons.
        warnings: Limits that were passed.
    """

    rows: int
    predictions: tuple[ColumnStatistics, ...]
    fields: tuple[ColumnStatistics, ...]
    quarantined: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> list[ColumnStatistics]:
        """Predictions and fields, those that drifted most first."""
        return sorted([*self.predictions, *self.fields], key=lambda item: -(item.psi or 0.0))
