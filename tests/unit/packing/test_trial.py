"""Trying a runtime: what is held against it, and what it takes to pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twofold.errors import ConfigError
from twofold.model.arrow import null_mask, numbers
from twofold.model.columns import columns_of
from twofold.model.signature import Field, Output, Signature, Value
from twofold.packing.trial import Proof, failed, median_s, try_runtime

SIGNATURE = Signature(fields=(Field(name="x", type="float64", nullable=True),))
VALUE = Output(kind="value", type="float64")
PAIR = Output(kind="value", type="float64", names=("low", "high"))
PROBABILITY = Output(kind="probability", type="float64")
LABEL = Output(kind="label", type="string")
ROWS = 40
TINY = 1e-9

Xs = Any
Many = Callable[[Xs], list[Any]]


@dataclasses.dataclass
class Fake:
    """A runtime made of a function of x; null is given as NaN."""

    many: Many
    one: Callable[[float], tuple[Any, ...]] | None = None
    concurrent = True

    def predict_columns(self, columns: pa.RecordBatch) -> list[Any]:
        column = columns.column(0)
        return self.many(np.where(null_mask(column), np.nan, numbers(column)))

    def predict_values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        x = np.nan if values[0] is None else float(values[0])  # type: ignore[arg-type]
        if self.one is not None:
            return self.one(x)
        return tuple(column[0].item() for column in self.many(np.array([x])))


def filled(xs: Xs) -> Any:
    return np.where(np.isnan(xs), -1.0, xs)


def proof_of(
    output: Output, reference: Many, *, rows: int = ROWS, tolerance: float = 1e-5, edges: int = 0
) -> Proof:
    values: list[list[Value]] = [[None if row % 5 == 4 else row / 8] for row in range(rows)]
    columns = columns_of(SIGNATURE, values)
    xs = np.array([np.nan if value is None else value for (value,) in values], float)
    return Proof(
        signature=SIGNATURE,
        output=output,
        rows=columns,
        reference=reference(xs),
        sample_rows=rows - edges,
        tolerance=tolerance,
    )


def doubled(xs: Xs) -> list[Any]:
    return [filled(xs) * 2]


def test_a_runtime_of_equal_bits_passes_with_all_its_outputs() -> None:
    def pair(xs: Xs) -> list[Any]:
        return [filled(xs), filled(xs) * 2]

    proof = proof_of(PAIR, pair, edges=3)
    trial = try_runtime("original", Fake(pair), proof)
    found = trial.candidate
    assert (found.runtime, found.passed, found.exact) == ("original", True, True)
    assert found.reason == "bit-equal on 40 rows"
    assert (found.checked_rows, found.one_by_one_rows) == (ROWS, ROWS)
    assert (found.max_difference, found.rows_per_call) == (0.0, 0)
    assert found.one_row_s is not None
    assert found.batch_rows_per_s is not None
    assert min(found.one_row_s, found.batch_rows_per_s) > 0
    assert trial.predictions is not None
    for column, wanted in zip(trial.predictions, proof.reference, strict=True):
        assert column.tobytes() == wanted.tobytes()


def test_bits_that_depend_on_the_number_of_rows_are_cured_by_a_fixed_number() -> None:
    calls: set[int] = set()

    def many(xs: Xs) -> list[Any]:
        calls.add(len(xs))
        return [filled(xs) * 2 + TINY * len(xs)]

    trial = try_runtime("onnx", Fake(many), proof_of(VALUE, doubled))
    found = trial.candidate
    assert (found.passed, found.exact, found.rows_per_call) == (True, False, 256)
    assert found.max_difference == pytest.approx(256 * TINY)
    assert found.reason.startswith("within 1e-05 on 40 rows (largest 2.6e-07)")
    # 256 rows a call, and the whole and its slices before that.
    assert calls == {ROWS, 7, 256}


def test_bits_that_depend_on_a_rows_place_are_cured_by_one_row_a_call() -> None:
    def many(xs: Xs) -> list[Any]:
        return [filled(xs) * 2 + TINY * np.arange(len(xs))]

    proof = proof_of(VALUE, doubled, rows=9)
    trial = try_runtime("onnx", Fake(many), proof)
    assert (trial.candidate.passed, trial.candidate.rows_per_call) == (True, 1)
    # One row a call: each row is the first of its call.
    assert trial.candidate.exact
    assert trial.candidate.one_by_one_rows == 9


ALONE = "the same row gets other predictions alone than among others: "


class Counter:
    """Counts calls: a model with a state."""

    def __init__(self) -> None:
        self.calls = 0

    def noise(self) -> float:
        self.calls += 1
        return TINY * self.calls


def test_a_runtime_with_a_state_never_passes() -> None:
    counter = Counter()
    trial = try_runtime(
        "original", Fake(lambda xs: [filled(xs) * 2 + counter.noise()]), proof_of(VALUE, doubled)
    )
    assert trial.predictions is None
    assert not trial.candidate.passed
    assert trial.candidate.reason == ALONE + "in slices of 7 rows"


def test_a_state_is_noticed_in_any_of_several_outputs() -> None:
    counter = Counter()
    trial = try_runtime(
        "original",
        Fake(lambda xs: [filled(xs), filled(xs) + counter.noise()]),
        proof_of(PAIR, lambda xs: [filled(xs), filled(xs)]),
    )
    assert trial.candidate.reason == ALONE + "in slices of 7 rows"


def test_a_state_is_noticed_where_only_missing_values_show_it() -> None:
    counter = Counter()

    def many(xs: Xs) -> list[Any]:
        return [np.where(np.isnan(xs), counter.noise(), xs)]

    proof = proof_of(VALUE, lambda xs: [np.where(np.isnan(xs), 0.0, xs)])
    assert try_runtime("onnx", Fake(many), proof).candidate.reason.startswith(ALONE)


def test_a_row_that_is_other_alone_is_named_with_both_predictions() -> None:
    counter = Counter()

    def many(xs: Xs) -> list[Any]:
        # In slices all is well; only calls of many equal rows, as padding makes them, are not.
        noise = counter.noise() if len(xs) == 256 else 0.0
        return [filled(xs) * 2 + noise]

    fake = Fake(many, one=lambda _: (-7.5,))
    reason = try_runtime("onnx", fake, proof_of(VALUE, doubled, rows=1)).candidate.reason
    assert reason == ALONE + "row 0 alone gives -7.5, among others np.float64(0.0)"


def test_predictions_beyond_tolerance_name_the_first_row_of_the_sample() -> None:
    def many(xs: Xs) -> list[Any]:
        return [np.where(xs == 3 / 8, 2.5, filled(xs) * 2)]

    trial = try_runtime("onnx", Fake(many), proof_of(VALUE, doubled))
    assert trial.candidate.reason == (
        "1 of 40 rows have other predictions, by up to 1.75; 0 labels flipped; "
        "first at sample row 3"
    )
    assert trial.predictions is None


def test_a_runtime_wrong_on_the_edge_only_says_so() -> None:
    def many(xs: Xs) -> list[Any]:
        return [np.where(xs == 38 / 8, 2.5, filled(xs) * 2)]

    trial = try_runtime("onnx", Fake(many), proof_of(VALUE, doubled, edges=2))
    assert trial.candidate.reason.endswith("first at edge row 38")


def test_missing_values_taken_otherwise_than_the_original_are_noticed() -> None:
    zeros = Fake(lambda xs: [np.nan_to_num(xs) * 2])
    trial = try_runtime("onnx", zeros, proof_of(VALUE, doubled))
    assert trial.candidate.reason == (
        "8 of 40 rows have other predictions, by up to 2; 0 labels flipped; first at sample row 4"
    )


def test_a_flipped_label_fails_within_any_tolerance() -> None:
    half = Fake(lambda xs: [np.full(len(xs), 0.5 + TINY)])
    proof = proof_of(PROBABILITY, lambda xs: [np.full(len(xs), 0.5)], tolerance=1.0)
    reason = try_runtime("onnx", half, proof).candidate.reason
    assert reason == (
        "40 of 40 rows have other predictions, by up to 1e-09; 40 labels flipped; "
        "first at sample row 0"
    )


def test_labels_must_be_the_originals() -> None:
    def words(xs: Xs) -> list[Any]:
        return [np.where(filled(xs) > 1, "high", "low").astype(object)]

    proof = proof_of(LABEL, lambda xs: [np.where(filled(xs) > 2, "high", "low").astype(object)])
    reason = try_runtime("onnx", Fake(words), proof).candidate.reason
    assert reason.startswith("6 of 40 rows have other labels; 6 labels flipped; first at sample")


def raising(error: Exception) -> Any:
    def call(_: Any) -> Any:
        raise error

    return call


def test_a_runtime_that_raises_is_a_failed_candidate() -> None:
    fake = Fake(raising(ValueError("no such node\nat line 3")))
    trial = try_runtime("onnx", fake, proof_of(VALUE, doubled))
    assert trial == failed("onnx", "the model raised ValueError: no such node")


def test_a_runtime_that_raises_for_one_row_alone_is_a_failed_candidate() -> None:
    fake = Fake(doubled, one=raising(ConfigError("one row needs a library")))
    trial = try_runtime("onnx", fake, proof_of(VALUE, doubled))
    assert trial == failed("onnx", "one row needs a library")


def test_a_runtime_that_loses_rows_or_is_not_finite_is_a_failed_candidate() -> None:
    lossy = try_runtime("onnx", Fake(lambda xs: [xs[1:]]), proof_of(VALUE, doubled))
    assert "expected 40 predictions, got 39" in lossy.candidate.reason
    endless = try_runtime(
        "onnx", Fake(lambda xs: [np.full(len(xs), np.nan)]), proof_of(VALUE, doubled)
    )
    assert "expected a finite float64, got NaN" in endless.candidate.reason


def test_the_rows_of_a_proof_are_canonical_values() -> None:
    signature = Signature(
        fields=(
            Field(name="n", type="int64", nullable=True),
            Field(name="f", type="float32"),
            Field(name="t", type="timestamp", nullable=True, zoned=True),
            Field(name="v", type="tensor", length=2),
            Field(name="b", type="bool"),
            Field(name="s", type="string", nullable=True),
        )
    )
    micros = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * 10**6 + 1
    rows: list[list[Value]] = [
        [2**62, 0.1, micros, [1.0, 2.0], True, None],
        [None, -0.0, None, [0.5, -1.0], False, ""],
        [-1, 1e-45, 0, [3.0, 4.0], True, "nan"],
    ]
    columns = columns_of(signature, rows).slice(1)
    proof = Proof(signature, VALUE, columns, [], 2, 0.0)
    assert proof.values() == [
        [None, -0.0, None, [0.5, -1.0], False, ""],
        [-1, np.float32(1e-45).item(), 0, [3.0, 4.0], True, "nan"],
    ]


def test_a_call_is_timed_after_one_to_warm_up() -> None:
    turns: list[int] = []
    median_s(turns.append, calls=1)
    assert turns == [0, 0]


def test_a_slow_model_with_a_small_sample_is_timed_on_few_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclasses.dataclass
    class Clock:
        now_s: float = 0.0

        def monotonic(self) -> float:
            return self.now_s

        perf_counter = monotonic

    clock = Clock()

    def slow(xs: Xs) -> list[Any]:
        clock.now_s += 0.002 * len(xs)
        return doubled(xs)

    monkeypatch.setattr("twofold.packing.trial.time", clock)
    found = try_runtime("original", Fake(slow), proof_of(VALUE, doubled, rows=4)).candidate
    assert found.batch_rows_per_s == pytest.approx(500)
    assert clock.now_s < 5.0


def test_a_quick_call_is_timed_at_least_so_often_in_turn() -> None:
    turns: list[int] = []
    median_s(turns.append, calls=9)
    assert len(turns) >= 10
    assert turns == [0, *range(len(turns) - 1)]
