"""What other batch tools do with bad rows, and with a run that ends early: twofold does none of it.

Each test is named after what was seen of some tool: of scripts with pandas, of writers that stream,
of Spark, Ray Data or Daft.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = 2_000
MODULE = """
import os
import time

def charge(row):
    if "SLOWLY" in os.environ:
        time.sleep(0.001)
    if row["amount"] == 13.0:
        raise ValueError("no thirteens")
    return row["amount"] * 2.0
"""
LIMIT_S = 120


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "twofold", *arguments]


def batch(folder: Path, source: str, *more: str, code: int = 0) -> Any:
    flags = ["--output", "out", "--run-id", "night", "--key", "id", "--json", *more]
    done = subprocess.run(
        command("batch", "run", "charge", source, *flags),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def quarantine(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "out" / "night" / "quarantine.parquet").to_pylist()


def predictions(folder: Path) -> pa.Table:
    parts = sorted((folder / "out" / "night").glob("part-*.parquet"))
    return pa.concat_tables(pq.read_table(part) for part in parts)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    (folder / "rules.py").write_text(MODULE, encoding="utf-8")
    (folder / "sample.csv").write_text("amount\n1.5\n2.5\n", encoding="utf-8")
    pack = command("pack", "rules:charge", "--name", "charge", "--sample", "sample.csv")
    subprocess.run(pack, cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)
    return folder


@pytest.fixture
def folder(packed: Path, tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "registry").symlink_to(packed / "registry")
    return tmp_path


def write_rows(folder: Path, changed: dict[int, float | None]) -> str:
    amounts = [changed.get(row, float(row) + 100) for row in range(ROWS)]
    ids = [f"c{row}" for row in range(ROWS)]
    columns = {"id": pa.array(ids), "amount": pa.array(amounts, pa.float64())}
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=300)
    return "rows.parquet"


@pytest.mark.parametrize("value", [float("nan"), None, float("inf")])
def test_nan_is_predicted_silently(folder: Path, value: float | None) -> None:
    done = batch(folder, write_rows(folder, {7: value}))
    (row,) = quarantine(folder)
    assert (row["row"], row["key"], row["field"]) == (7, "c7", "amount")
    assert "expected" in row["reason"]
    assert (done["manifest"]["rows_predicted"], done["manifest"]["rows_quarantined"]) == (1999, 1)
    assert "c7" not in predictions(folder)["id"].to_pylist()


def test_text_in_a_number_column_becomes_null_and_the_exit_code_0_says_all_is_well(
    folder: Path,
) -> None:
    lines = ["id,amount", *(f"c{row},{'abc' if row == 4 else row + 100}" for row in range(50))]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    batch(folder, "rows.csv")
    (row,) = quarantine(folder)
    assert (row["row"], row["key"], row["field"]) == (4, "c4", "amount")
    assert "'abc'" in row["reason"]
    assert predictions(folder)["prediction"].null_count == 0
    # With no bad row allowed, the exit code says so, and nothing is there to be taken for a result.
    (folder / "rows.csv").rename(folder / "other.csv")
    flags = ("--max-quarantined-rows", "0", "--run-id", "strict")
    assert "at most 0 rows" in batch(folder, "other.csv", *flags, code=3)
    assert not (folder / "out" / "strict").exists()


def test_a_job_whose_every_block_failed_exits_0_having_written_nothing(folder: Path) -> None:
    source = write_rows(folder, dict.fromkeys(range(ROWS), 13.0))
    said = batch(folder, source, code=3)
    assert "quarantine" in said
    assert not (folder / "out" / "night").exists()


def test_one_row_that_the_model_fails_on_fails_its_neighbours_and_is_not_named(
    folder: Path,
) -> None:
    done = batch(folder, write_rows(folder, {777: 13.0}))
    (row,) = quarantine(folder)
    assert (row["row"], row["key"]) == (777, "c777")
    assert "no thirteens" in row["reason"]
    assert done["manifest"]["rows_predicted"] == ROWS - 1


def test_running_twice_doubles_every_row(folder: Path) -> None:
    source = write_rows(folder, {})
    assert batch(folder, source)["state"] == "committed"
    before = {path: path.read_bytes() for path in (folder / "out" / "night").iterdir()}
    assert batch(folder, source)["state"] == "already committed"
    assert {path: path.read_bytes() for path in (folder / "out" / "night").iterdir()} == before
    ids = predictions(folder)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == ROWS


def test_a_killed_job_leaves_half_a_result_and_starts_from_the_beginning(folder: Path) -> None:
    source = write_rows(folder, {7: None})
    flags = ("--partition-rows", "200", "--batch-rows", "100")
    whole = ("--output", "out", "--run-id", "night", "--key", "id")
    process = subprocess.Popen(
        command("batch", "run", "charge", source, *whole, *flags),
        cwd=folder,
        env=os.environ | {"SLOWLY": "1"},
        stderr=subprocess.DEVNULL,
    )
    parts = folder / "out" / ".twofold" / "night" / "attempt-000001" / "parts"
    stop_s = time.monotonic() + LIMIT_S
    while len(list(parts.glob("part-*.parquet"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < stop_s
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Who reads the output folder finds no result, rather than half of one.
    assert list((folder / "out").glob("[!.]*")) == []
    done = batch(folder, source, *flags)
    assert done["rows_resumed"] >= 400
    assert predictions(folder)["id"].to_pylist() == [f"c{row}" for row in range(ROWS) if row != 7]
