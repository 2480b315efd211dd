"""`twofold.spark.predict` on a real Spark, with its Python workers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from foreign import HERE, environment, skip
from models import people

import twofold

DEADLINE_S = 300


def test_spark_gives_every_row_its_prediction_or_its_reason(registry: Path, tmp_path: Path) -> None:
    python = environment("spark") / "python"
    if shutil.which("java") is None:
        skip("needs Java, for Spark")
    rows = people(500)
    for row, (name, value) in {17: ("plan", "gold"), 333: ("age", None)}.items():
        rows[row][name] = value
    table = pa.Table.from_pylist(rows).append_column("id", pa.array(range(len(rows))))
    pq.write_table(table, tmp_path / "in.parquet")
    source = Path(twofold.__file__).parents[1]
    command = [python, HERE / "clients" / "spark_client.py", registry, "churn"]
    done = subprocess.run(
        [*command, tmp_path / "in.parquet", tmp_path / "out"],
        env=os.environ | {"PYTHONPATH": str(source), "PYSPARK_PYTHON": str(python)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = pq.read_table(tmp_path / "out").sort_by("id")
    assert found.column("id").to_pylist() == list(range(len(rows)))
    errors = found.column("prediction_error").to_pylist()
    assert [row for row, error in enumerate(errors) if error] == [17, 333]
    assert errors[17].startswith("plan: expected one of")
    good = [row for row in range(len(rows)) if not errors[row]]
    model = twofold.load("churn", registry=registry)
    wanted = model.predict([rows[row] for row in good])
    got = [found.column("prediction")[row].as_py() for row in good]
    assert got == list(wanted)
