"""A compiled model predicts where no library it was made with can be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

import twofold
from twofold.demo import customers

ROWS = 200
HEAVY = (
    "catboost",
    "joblib",
    "lightgbm",
    "onnx",
    "onnxruntime",
    "pandas",
    "scipy",
    "sklearn",
    "skops",
    "xgboost",
)
CHILD = f"""
import json, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Refuse())
import pyarrow.parquet as pq
import twofold

model = twofold.load(sys.argv[1])
table = pq.read_table("rows.parquet")
many = model.predict(table).tolist()
one = [model.predict_one(row) for row in table.slice(0, 20).to_pylist()]
print(json.dumps([many, one]))
"""


def test_compiled_pipeline_predicts_with_every_other_library_blocked(tmp_path: Path) -> None:
    real = customers.real_customers()
    sample = real.select(customers.features(real))
    rows = sample.slice(0, ROWS)
    pq.write_table(rows, tmp_path / "rows.parquet")
    predictor = twofold.pack(
        customers.train(real),
        name="churn",
        sample=sample,
        registry=tmp_path / "registry",
        runtime="compiled",
    )
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "churn"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    many, one = json.loads(done.stdout)
    assert many == predictor.predict(rows).tolist()
    assert one == many[: len(one)]
