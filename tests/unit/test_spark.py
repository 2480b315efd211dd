"""What Spark's executors do with their parts of a DataFrame; Spark itself: tests/conformance."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import twofold
from twofold import spark
from twofold.errors import ConfigError

MODEL = """
def predict(row):
    if row["amount"] == 666.0:
        raise ValueError("poison")
    return row["amount"] * 2.0
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("spark")
    (folder / "spark_doubler.py").write_text(MODEL, encoding="utf-8")
    sample = pa.table({"amount": pa.array([0.0, 1.0, 5.0], pa.float64())})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        where = folder / "registry"
        twofold.pack("spark_doubler:predict", name="doubler", sample=sample, registry=where)
        yield where


def predicted(registry: Path, *batches: dict[str, Any]) -> pa.Table:
    made = [pa.RecordBatch.from_pydict(columns) for columns in batches]
    return pa.Table.from_batches(spark.predict_batches(str(registry), "doubler@1", made))


def test_predictions_stand_beside_all_columns(registry: Path) -> None:
    found = predicted(registry, {"id": [1, 2], "amount": [1.5, 2.5]}, {"id": [3], "amount": [4.0]})
    assert found.to_pydict() == {
        "id": [1, 2, 3],
        "amount": [1.5, 2.5, 4.0],
        "prediction": [3.0, 5.0, 8.0],
        "prediction_error": [None, None, None],
    }


def test_bad_rows_have_a_reason_in_the_place_of_a_prediction(registry: Path) -> None:
    found = predicted(registry, {"id": [1, 2, 3, 4], "amount": [1.0, None, 666.0, 4.0]})
    assert found.column("prediction").to_pylist() == [2.0, None, None, 8.0]
    first, null, poison, last = found.column("prediction_error").to_pylist()
    assert (first, last) == (None, None)
    assert null.startswith("amount: expected float64, got null")
    assert "the model raised ValueError: poison" in poison


def test_part_of_bad_rows_alone_is_no_failure(registry: Path) -> None:
    found = predicted(registry, {"amount": pa.array([None, None], pa.float64())})
    assert found.column("prediction").to_pylist() == [None, None]
    assert all(found.column("prediction_error").to_pylist())


def test_empty_part_has_the_columns(registry: Path) -> None:
    found = predicted(registry, {"amount": pa.array([], pa.float64())})
    assert found.num_rows == 0
    assert found.column_names == ["amount", "prediction", "prediction_error"]


def test_missing_spark_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(ConfigError, match=r"pip install pyspark"):
        spark.predict(None, "doubler")
