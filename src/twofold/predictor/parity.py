"""Parity: are two runtimes' predictions of the same rows equal, and if not, by how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from twofold.model.signature import Output

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

TOLERANCE = 1e-5
"""Default largest difference from the original, relative to `max(1, |original|)`."""
POSITIVE_FROM = 0.5


@dataclasses.dataclass(frozen=True)
class Difference:
    """How predictions differ from the reference's.

    Attributes:
        exact: Equal bit for bit.
        passed: Exact, or within tolerance without a flipped label.
        largest: Largest absolute difference; None if the values have no distance.
        label_flips: Rows whose label differs.
        reason: The finding in one sentence.
        first_row: The first row that isn't within tolerance, or has another label.
    """

    exact: bool
    passed: bool
    largest: float | None
    label_flips: int
    reason: str
    first_row: int | None = None


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays have the same type, and equal values bit for bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype.kind in "OU":
        return bool((one == other).all())
    return one.tobytes() == other.tobytes()


def compare(
    reference: Sequence[Column], found: Sequence[Column], output: Output, *, tolerance: float
) -> Difference:
    """Compare predictions with the reference's.

    Args:
        reference: One array per output.
        found: The same of the runtime in question.
        output: What they mean; decides what a label is.
        tolerance: Largest difference admitted, relative to `max(1, |reference|)`; labels must
            be equal in any case.
    """
    rows = len(reference[0])
    if all(same_bits(a, b) for a, b in zip(reference, found, strict=True)):
        return Difference(
            exact=True, passed=True, largest=0.0, label_flips=0, reason=f"bit-equal on {rows} rows"
        )
    flips = _flips(reference, found, output)
    if reference[0].dtype.kind not in "fi":
        return _unequal(flips, None, "labels")
    wanted = np.stack(reference).astype(np.float64)
    distance = np.abs(wanted - np.stack(found).astype(np.float64))
    largest = float(distance.max())
    beyond = (distance > tolerance * np.maximum(1.0, np.abs(wanted))).any(axis=0)
    if output.type == "int64" or output.kind == "label":
        beyond = (distance != 0).any(axis=0)
    if flips.any() or beyond.any():
        return _unequal(flips | beyond, largest, f"predictions, by up to {largest:.3g}", flips)
    reason = f"within {tolerance:g} on {rows} rows (largest {largest:.2g}), no label flipped"
    return Difference(exact=False, passed=True, largest=largest, label_flips=0, reason=reason)


def _unequal(bad: Any, largest: float | None, what: str, flips: Any = None) -> Difference:
    flipped = int((bad if flips is None else flips).sum())
    count, rows = int(bad.sum()), len(bad)
    reason = f"{count} of {rows} rows have other {what}; {flipped} labels flipped"
    first = int(np.flatnonzero(bad)[0])
    return Difference(
        exact=False,
        passed=False,
        largest=largest,
        label_flips=flipped,
        reason=reason,
        first_row=first,
    )


def _flips(reference: Sequence[Column], found: Sequence[Column], output: Output) -> Any:
    """Which rows have another label; none where predictions stand for no labels."""
    pairs = zip(_labels(reference, output), _labels(found, output), strict=True)
    return np.any([a != b for a, b in pairs], axis=0)


def _labels(columns: Sequence[Column], output: Output) -> list[Any]:
    """The labels that each row's predictions stand for: of its class, or of each target."""
    if output.kind == "probability":
        if output.classes is not None and len(columns) > 1:
            return [np.stack(columns).argmax(axis=0)]
        return [column > POSITIVE_FROM for column in columns]
    if output.kind == "label" or columns[0].dtype.kind != "f":
        return list(columns)
    return [np.zeros(len(columns[0]), np.bool_)]
