"""Trying a runtime: does it agree with the original, alone and in numbers, and how fast is it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import TwofoldError
from twofold.model import arrow
from twofold.model.record import Candidate, RuntimeName
from twofold.model.rows import RowCheck
from twofold.model.signature import Output, Signature, Value
from twofold.predictor.door import Door
from twofold.predictor.parity import Difference, compare, same_bits
from twofold.predictor.runtime import Runtime

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

ROWS_PER_CALL = (0, 256, 1)
"""Tried in this order until a row gets the same bits alone and among others."""
SLICES = (7, 64, 1000)
MAX_SLICES = 32
MAX_ONE_BY_ONE_S = 1.5
MIN_ONE_BY_ONE_ROWS = 32
MAX_TIMING_S = 0.4
MIN_TIMED_CALLS = 5
TIMED_BATCH_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class Proof:
    """The rows a runtime has to agree on.

    Attributes:
        signature: The model's.
        output: The model's.
        rows: Canonical rows: of the sample, then the edge rows.
        reference: The original's predictions of them, one array per output.
        sample_rows: How many of the rows are of the sample.
        tolerance: See `parity.compare`.
    """

    signature: Signature
    output: Output
    rows: pa.RecordBatch
    reference: list[Column]
    sample_rows: int
    tolerance: float

    def values(self) -> list[list[Value]]:
        """The rows as canonical values."""
        check = RowCheck(self.signature)
        return [check(row) for row in self.rows.to_pylist()]


@dataclasses.dataclass(frozen=True)
class Trial:
    """A runtime that was tried.

    Attributes:
        candidate: How it did.
        predictions: What it predicted for the proof's rows; None if it didn't pass.
    """

    candidate: Candidate
    predictions: list[Column] | None


def failed(runtime: RuntimeName, reason: str, difference: Difference | None = None) -> Trial:
    """A runtime that could not be tried, or that differs from the original."""
    candidate = Candidate(
        runtime=runtime,
        passed=False,
        reason=reason,
        max_difference=difference.largest if difference else None,
        label_flips=difference.label_flips if difference else 0,
    )
    return Trial(candidate, None)


def try_runtime(name: RuntimeName, runtime: Runtime, proof: Proof) -> Trial:
    """Prove a runtime against the original, and time it.

    It passes if it agrees with the original on every row of the proof, and if each row gets
    equal bits alone and among others, with some fixed number of rows per call if need be.
    """
    reason = ""
    values = proof.values()
    for size in ROWS_PER_CALL:
        door = Door(runtime, proof.signature, proof.output, rows_per_call=size)
        try:
            found = door.columns(proof.rows)
            difference = compare(proof.reference, found, proof.output, tolerance=proof.tolerance)
            if not difference.passed:
                row = difference.first_row or 0
                kind = "sample" if row < proof.sample_rows else "edge"
                reason = f"{difference.reason}; first at {kind} row {row}"
                return failed(name, reason, difference)
            checked, reason = _alone_and_among_others(door, proof, values, found)
        except TwofoldError as error:
            return failed(name, str(error))
        if reason:
            continue
        one_row_s = _one_row_s(door, values[: proof.sample_rows])
        candidate = Candidate(
            runtime=name,
            passed=True,
            reason=difference.reason,
            exact=difference.exact,
            checked_rows=proof.rows.num_rows,
            one_by_one_rows=checked,
            max_difference=difference.largest,
            rows_per_call=size,
            one_row_s=one_row_s,
            batch_rows_per_s=_batch_rows_per_s(door, proof),
        )
        return Trial(candidate, found)
    return failed(name, f"the same row gets other predictions alone than among others: {reason}")


def _alone_and_among_others(
    door: Door, proof: Proof, values: list[list[Value]], whole: list[Column]
) -> tuple[int, str]:
    """Compare bits of single rows and of slices with those of the whole.

    Returns:
        How many rows were predicted one by one, and what differed ("" if nothing did).
    """
    total = proof.rows.num_rows
    for size in SLICES:
        starts = np.unique(np.linspace(0, max(0, total - size), MAX_SLICES).astype(int)).tolist()
        for start in starts:
            found = door.columns(proof.rows.slice(start, size))
            for part, column in zip(found, whole, strict=True):
                if not same_bits(part, column[start : start + size]):
                    return 0, f"in slices of {size} rows"
    stop_s = time.monotonic() + MAX_ONE_BY_ONE_S
    checked = 0
    for row in _spread(len(values)):
        found = door.values(values[row])
        for one, column in zip(found, whole, strict=True):
            if not same_bits(np.array([one], column.dtype), column[row : row + 1]):
                return checked, f"row {row} alone gives {one!r}, among others {column[row]!r}"
        checked += 1
        if time.monotonic() > stop_s and checked >= MIN_ONE_BY_ONE_ROWS:
            break
    return checked, ""


def _spread(count: int) -> Sequence[int]:
    """All row numbers, such that any first part of them is spread over the whole."""
    return np.random.default_rng(0).permutation(count).tolist()


def _one_row_s(door: Door, values: list[list[Value]]) -> float:
    return median_s(lambda turn: door.values(values[turn % len(values)]))


def _batch_rows_per_s(door: Door, proof: Proof) -> float:
    indices = np.arange(TIMED_BATCH_ROWS) % proof.sample_rows
    rows = proof.rows.take(arrow.from_numbers(indices))
    few = proof.rows.slice(0, 64)
    slow = median_s(lambda _: door.columns(few), calls=1) / few.num_rows
    if slow * TIMED_BATCH_ROWS > 10 * MAX_TIMING_S:  # a model of milliseconds a row
        rows = rows.slice(0, max(64, int(MAX_TIMING_S / slow)))
    return rows.num_rows / median_s(lambda _: door.columns(rows))


def median_s(call: Callable[[int], Any], *, calls: int = MIN_TIMED_CALLS) -> float:
    """Median seconds of a call, over at least `calls` of them and a bounded time."""
    call(0)
    times: list[float] = []
    stop_s = time.monotonic() + MAX_TIMING_S
    while len(times) < calls or (calls > 1 and time.monotonic() < stop_s):
        start_s = time.perf_counter()
        call(len(times))
        times.append(time.perf_counter() - start_s)
    return float(np.median(times))
