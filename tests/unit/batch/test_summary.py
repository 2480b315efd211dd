"""The summary: what the manifest tells of a run beside its sample, and when it warns."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from twofold.batch.settings import BatchSettings
from twofold.batch.sketch import sketcher_of
from twofold.batch.statistics import ColumnStatistics, Statistics
from twofold.batch.summary import summarise
from twofold.model.signature import Field, Output, Signature

SIGNATURE = Signature(
    fields=(
        Field(name="amount", type="float64", nullable=True),
        Field(name="plan", type="string"),
        Field(name="since", type="timestamp"),
    )
)
OUTPUT = Output(kind="label", type="bool")
JANUARY = int(dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000
DAY = 86_400_000_000


def columns(amounts: list[float | None], plans: list[str], *, trues: int = 0) -> list[pa.Array]:
    count = len(amounts)
    times = [JANUARY + DAY * (at % 31) for at in range(count)]
    return [
        pa.array(amounts, pa.float64()),
        pa.array(plans, pa.string()),
        pa.array(times, pa.timestamp("us")),
        pa.array([at < trues for at in range(count)], pa.bool_()),
    ]


def usual(count: int) -> list[pa.Array]:
    amounts: list[float | None] = [float(at % 100) for at in range(count)]
    return columns(amounts, [("basic", "pro")[at % 2] for at in range(count)])


def summary(run: list[pa.Array], sample: list[pa.Array] | None, **limits: Any) -> Statistics:
    made = sketcher_of(SIGNATURE, OUTPUT, sample)
    then = made.partition([made.sketch(sample)], ()) if sample else None
    now = made.partition([made.sketch(run)], [("amount", "bad"), ("amount", "bad"), ("", "no")])
    return summarise(made.columns, 1, now, then, BatchSettings(**limits))


def field(found: Statistics, name: str) -> ColumnStatistics:
    return next(item for item in found.columns if item.name == name)


def test_a_run_like_its_sample_has_no_drift_and_no_warning() -> None:
    found = summary(usual(1000), usual(500))
    assert found.warnings == ()
    assert [item.name for item in found.fields] == ["amount", "plan", "since"]
    assert [item.name for item in found.predictions] == ["prediction"]
    assert all((item.psi or 0.0) < 0.01 for item in found.columns)


def test_numbers_texts_times_and_labels_are_told() -> None:
    found = summary(usual(1000), usual(500))
    numbers = field(found, "amount").numbers
    assert numbers is not None
    assert (numbers.mean, numbers.minimum, numbers.maximum) == (49.5, 0.0, 99.0)
    assert numbers.deviation == pytest.approx(np.arange(100.0).std(), rel=1e-3)
    assert numbers.quantiles["0.5"] == pytest.approx(49.5, abs=1.5)
    times = field(found, "since").numbers
    assert times is not None
    assert (times.minimum, times.maximum) == ("2026-01-01T00:00:00", "2026-01-31T00:00:00")
    assert times.deviation == pytest.approx(np.arange(31).std() * 86_400, rel=0.01)
    plans = field(found, "plan").categories
    assert [(item.value, item.rows, item.sample_rows) for item in plans] == [
        ("basic", 500, 250),
        ("pro", 500, 250),
    ]
    labels = field(found, "prediction").categories
    assert [(item.value, item.rows) for item in labels] == [("false", 1000), ("true", 0)]


def test_histogram_has_shares_of_all_values() -> None:
    histogram = field(summary(usual(1000), usual(500)), "amount").histogram
    assert histogram is not None
    assert sum(histogram.shares) == pytest.approx(1.0, abs=1e-3)
    assert sum(histogram.sample_shares) == pytest.approx(1.0, abs=1e-3)


def test_reasons_of_rows_set_aside_are_counted() -> None:
    reasons = summary(usual(10), None).quarantined
    assert [(item.field, item.reason, item.rows) for item in reasons] == [
        ("amount", "bad", 2),
        ("", "no", 1),
    ]


def test_a_shift_is_warned_of_with_field_limit_and_measure() -> None:
    moved = [float(at % 100) + 60 for at in range(1000)]
    run = columns([*moved], ["basic"] * 1000, trues=900)
    found = summary(run, usual(500))
    said = [warning.partition(":")[0] for warning in found.warnings]
    assert said == ["amount", "plan", "prediction"]
    assert "max_psi" in found.warnings[0]
    assert summary(run, usual(500), max_psi=50.0).warnings == ()


def test_a_small_run_is_not_warned_of_what_chance_explains() -> None:
    run = columns([1.0, 90.0, 95.0], ["basic"] * 3)
    found = summary(run, usual(500))
    psi = field(found, "amount").psi
    assert psi is not None
    assert psi > 0.2
    assert found.warnings == ()


def test_more_nulls_than_in_the_sample_are_warned_of() -> None:
    amounts = [None if at % 5 == 0 else float(at % 100) for at in range(1000)]
    run = columns([*amounts], [("basic", "pro")[at % 2] for at in range(1000)])
    found = summary(run, usual(500), max_psi=50.0)
    assert len(found.warnings) == 1
    assert "max_null_ratio_change" in found.warnings[0]
    assert "20.00%" in found.warnings[0]
    assert field(found, "amount").null_ratio == 0.2


def test_unseen_texts_are_named_and_warned_of() -> None:
    plans = ["gold" if at % 10 == 0 else ("basic", "pro")[at % 2] for at in range(1000)]
    run = columns([float(at % 100) for at in range(1000)], plans)
    found = summary(run, usual(500), max_psi=50.0)
    (warning,) = found.warnings
    assert "max_unseen_ratio" in warning
    assert "'gold'" in warning
    assert field(found, "plan").unseen_ratio == 0.1
    assert [item.value for item in field(found, "plan").unseen] == ["gold"]


def test_without_a_sample_nothing_is_compared() -> None:
    found = summary(usual(10), None)
    assert found.warnings == ()
    assert all(item.psi is None and item.sample_rows == 0 for item in found.columns)


@pytest.mark.parametrize("sample", [None, usual(100), usual(0)])
def test_a_run_without_rows_has_a_summary(sample: list[pa.Array] | None) -> None:
    found = summary(usual(0), sample)
    assert found.rows == 0
    assert found.warnings == ()
    assert all(item.numbers is None and item.psi is None for item in found.columns)


def test_the_summary_is_plain_json() -> None:
    found = summary(usual(50), usual(20))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Statistics) == found
