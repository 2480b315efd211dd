"""The command line, as a user types it: results, exit codes, and what it says when it is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

ROWS = [{"id": index, "x": index / 10, "s": "ab"[index % 2]} for index in range(100)]
MODULE = """
import time

def score(row):
    return row["x"] * 2 + (1 if row["s"] == "a" else 0)

def slow(row):
    time.sleep(0.002)
    return row["x"]

def fragile(row):
    if row["x"] == 5.0:
        raise ValueError("no fives")
    return row["x"]
"""


def run(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "twofold", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def as_json(folder: Path, *arguments: str, code: int = 0) -> Any:
    return json.loads(run(folder, *arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "rules.py").write_text(MODULE)
    table = pa.Table.from_pylist(ROWS)
    pq.write_table(table, folder / "rows.parquet")
    pcsv.write_csv(table, folder / "rows.csv")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name in ("score", "slow", "fragile"):
        pack = ("pack", f"rules:{name}", "--name", name, "--sample", "rows.csv", "--drop", "id")
        run(folder, *pack)
    return folder


def test_models_are_listed_and_shown(folder: Path) -> None:
    listed = as_json(folder, "models")
    assert [item["name"] for item in listed] == ["fragile", "score", "slow"]
    shown = run(folder, "models", "score").stdout
    for words in ("score@1", "float64", "a, b", "original", "batch and real time give equal bits"):
        assert words in shown
    record = as_json(folder, "models", "score@1")
    assert record["signature"]["ignored"] == ["id"]


def test_an_alias_moves(folder: Path) -> None:
    run(folder, "alias", "score", "canary", "1")
    assert as_json(folder, "models")[1]["aliases"] == ["canary"]
    assert run(folder, "predict", "score:canary", "--row", '{"x": 1, "s": "a"}').stdout == "3.0\n"


def test_one_row_is_predicted(folder: Path) -> None:
    answer = as_json(folder, "predict", "score", "--row", '[1.5, "b"]')
    assert answer == {"prediction": 3.0, "model": "score", "version": "1", "source": "live"}


@pytest.mark.parametrize("source", ["rows.parquet", "rows.csv", "rows.jsonl"])
def test_a_batch_commits_every_row_in_order(folder: Path, source: str) -> None:
    output = f"out-{source}"
    command = ("batch", "run", "score", source, "--output", output, "--key", "id", "--keep", "s")
    done = as_json(folder, *command, "--run-id", "night")
    assert done["state"] == "committed"
    parts = sorted((folder / output / "night").glob("part-*.parquet"))
    rows = pa.concat_tables(pq.read_table(part) for part in parts).to_pylist()
    # The key of a CSV or JSON Lines file is passed through as the text it is.
    key = int if source.endswith(".parquet") else str
    assert [row["id"] for row in rows] == [key(row["id"]) for row in ROWS]
    assert [row["prediction"] for row in rows] == [
        row["x"] * 2 + (1 if row["s"] == "a" else 0) for row in ROWS
    ]
    assert rows[0].keys() == {
        "id",
        "s",
        "prediction",
        "model_version",
        "run_id",
        "predicted_at",
    }
    again = as_json(folder, *command, "--run-id", "night")
    assert again["state"] == "already committed"
    listed = as_json(folder, "batch", "list", "--output", output)
    assert [(item["run_id"], item["state"]) for item in listed] == [("night", "committed")]
    status = as_json(folder, "batch", "status", "night", "--output", output)
    assert status["manifest"]["rows_in"] == len(ROWS)


def test_a_line_that_is_no_row_is_set_aside(folder: Path) -> None:
    lines = [
        '{"id": "a", "x": 1.5, "s": "a"}',
        '{"id": "b", "x": ',
        '{"id": "c", "x": "1", "s": "b"}',
    ]
    (folder / "some.ndjson").write_text("\n".join(lines))
    command = ("batch", "run", "score", "some.ndjson", "--output", "lines", "--key", "id")
    run(folder, *command, "--run-id", "night", "--max-quarantined-ratio", "1")
    found = pq.read_table(folder / "lines" / "night" / "quarantine.parquet").to_pylist()
    assert [(row["row"], row["key"], row["field"]) for row in found] == [
        (1, None, ""),
        (2, "c", "x"),
    ]


def test_what_the_names_of_folders_say_are_columns(folder: Path) -> None:
    for text in ("b", "a"):
        below = folder / "days" / f"day=2026-01-3{ord(text) % 2}" / f"s={text}"
        below.mkdir(parents=True)
        pq.write_table(pa.table({"id": [1, 2], "x": [1.0, 2.0]}), below / "rows.parquet")
    command = ("batch", "run", "score", "days", "--output", "by-day", "--key", "id")
    run(folder, *command, "--keep", "day", "--run-id", "night")
    [part] = (folder / "by-day" / "night").glob("part-*.parquet")
    found = pq.read_table(part).select(["day", "id", "prediction"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("2026-01-30", 1, 2.0),
        ("2026-01-30", 2, 4.0),
        ("2026-01-31", 1, 3.0),
        ("2026-01-31", 2, 5.0),
    ]


def test_a_row_the_model_fails_on_is_set_aside_alone(folder: Path) -> None:
    done = as_json(
        folder, "batch", "run", "fragile", "rows.parquet", "--output", "f", "--key", "id"
    )
    manifest = done["manifest"]
    assert (manifest["rows_predicted"], manifest["rows_quarantined"]) == (99, 1)
    aside = pq.read_table(Path(folder, done["folder"], "quarantine.parquet")).to_pylist()
    assert [(row["row"], row["key"]) for row in aside] == [(50, "50")]
    assert "no fives" in aside[0]["reason"]


def test_a_run_beyond_its_error_budget_exits_with_3_and_commits_nothing(folder: Path) -> None:
    command = ("batch", "run", "fragile", "rows.parquet", "--output", "g", "--run-id", "night")
    done = run(folder, *command, "--max-quarantined-rows", "0", code=3)
    assert "Nothing was committed" in done.stderr
    assert not (folder / "g" / "night").exists()


def test_ctrl_c_leaves_a_run_that_resumes_to_the_same_bytes(folder: Path) -> None:
    many = pa.concat_tables([pa.Table.from_pylist(ROWS)] * 15)
    pq.write_table(many, folder / "many.parquet")
    command = ["batch", "run", "slow", "many.parquet", "--output", "h", "--run-id", "night"]
    command += ["--partition-rows", "300", "--batch-rows", "100"]
    process = subprocess.Popen(
        [sys.executable, "-m", "twofold", *command], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    ledger = folder / "h" / ".twofold" / "night" / "attempt-000001" / "ledger.jsonl"
    stop_s = time.monotonic() + 60
    while not (ledger.exists() and ledger.read_text().count("\n") > 1):
        assert time.monotonic() < stop_s
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    assert "Traceback" not in talk
    assert not (folder / "h" / "night").exists()
    assert as_json(folder, "batch", "list", "--output", "h")[0]["state"] == "interrupted"
    done = as_json(folder, "batch", "resume", "night", "--output", "h")
    assert done["rows_resumed"] > 0
    assert done["manifest"]["rows_predicted"] == 1500


def test_parity_is_proven_on_ones_own_rows(folder: Path) -> None:
    report = as_json(folder, "verify", "score", "rows.parquet")
    assert (report["passed"], report["speeds"], report["rows"]) == (True, 0, 100)
    shown = run(folder, "verify", "score", "rows.parquet").stdout
    assert "batch and real time: equal bit for bit" in shown


WRONG: Sequence[tuple[str, int, str]] = [
    ("models nope", 1, "expected a model among: fragile, score, slow, got 'nope'"),
    ("models ../evil", 1, "model name: expected 1 to 64 letters"),
    ("models score@9", 1, "expected a version among: 1, got '9'"),
    ("predict score", 2, "Missing option '--row'"),
    ("predict score --row {", 2, "--row: expected JSON"),
    ("predict score --row 5", 1, "--row: expected an object or a list, got 5"),
    ('predict score --row {"x":1}', 1, "row.s: expected string, got nothing. Send s."),
    ('predict score --row {"x":"1","s":"a"}', 1, "row.x: expected float64, got string '1'"),
    ('predict score --row {"x":1,"s":"z"}', 1, "expected one of 'a', 'b', got 'z'"),
    ('predict score --row {"x":1,"s":"a","y":2}', 1, "row.y: expected only the model's fields"),
    ("batch run score missing.parquet --output o", 1, "missing.parquet"),
    ("batch run score rules.py --output o", 1, "rules.py"),
    ("batch run score rows.parquet", 2, "Missing option '--output'"),
    ("batch run score rows.parquet --output o --key nope", 1, "nope"),
    ("batch run score rows.parquet --output o --run-id ../up", 1, "--run-id"),
    ("batch run score rows.parquet --output o --workers -1", 2, "--workers: expected 0 to"),
    ("batch run score rows.parquet --output o --workers x --batch-rows y", 2, "--batch-rows"),
    ("batch status nope --output o", 1, "nope"),
    ("alias score champion 7", 1, "expected a version among: 1, got '7'"),
    ("alias score ../x 1", 1, "alias: expected 1 to 64"),
    ("pack nope.joblib --name m --sample rows.csv", 1, "nope.joblib: expected a model file"),
    ("pack rules:score --name m --sample nope.csv", 1, "nope.csv: expected a file"),
    ("pack rules:score --name ../m --sample rows.csv", 1, "model name"),
    ("pack rules:score --name m --sample rows.csv --type x=number", 2, "--type x=number"),
    ("pack rules:score --name m --sample rows.csv --drop nope", 1, "--drop nope"),
    ("pack rules:score --name m --sample rows.csv --nullable nope", 1, "--nullable nope"),
    ("serve", 2, "Missing argument"),
    ("serve nope --port 0", 1, "expected a model among"),
    ("serve score --port 99999", 2, "--port: expected 0 to 65535, got 99999"),
    ("nonsense", 2, "No such command"),
]


@pytest.mark.parametrize(("line", "code", "words"), WRONG, ids=[line for line, _, _ in WRONG])
def test_what_is_wrong_is_said(folder: Path, line: str, code: int, words: str) -> None:
    done = run(folder, *line.split(), code=code)
    assert words in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_errors_are_json_for_machines(folder: Path) -> None:
    error = as_json(folder, "models", "nope", code=1)
    assert (error["code"], error["exit_code"]) == ("UnknownModel", 1)


def test_a_pipe_that_closes_is_no_error(folder: Path) -> None:
    shell = f"{sys.executable} -m twofold models score | head -n 1"
    done = subprocess.run(
        ["bash", "-c", shell], cwd=folder, capture_output=True, text=True, check=False
    )
    assert "score@1" in done.stdout
    assert "Traceback" not in done.stderr
