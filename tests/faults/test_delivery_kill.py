"""A process that is killed while it delivers a run; whoever goes on delivers it exactly once."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from twofold.app.batch import resume_run

sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import child, pack_doubler

Child = contextlib.AbstractContextManager[subprocess.Popen[str]]

ROWS = 4_000
DEADLINE_S = 120

# Says each step and, of a delivery, each batch of rows on a line of its own, and waits for leave to
# go on, so that a kill hits it.
CHILD = """
import os
import sys
from pathlib import Path
from twofold.app.batch import BatchSettings, RunRequest, Watch, run_batch

def say(*what):
    # In one piece: two threads may say something.
    os.write(1, (" ".join(map(str, what)) + "\\n").encode())
    sys.stdin.readline()

def rows(progress):
    if progress.target:
        say("rows", progress.rows_done)

folder = Path(sys.argv[1])
request = RunRequest(
    model="doubler",
    input=str(folder / "in.parquet"),
    output=Path(sys.argv[2]),
    registry=folder / "registry",
    key="id",
    run_id="night",
    into=(sys.argv[3],),
)
settings = BatchSettings(workers=2, batch_rows=512, partition_rows=512)
watch = Watch(progress=rows, step=lambda step: say("step", step.name))
result = run_batch(request, settings=settings, watch=watch)
print("state", result.deliveries[0].state, flush=True)
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    pack_doubler(folder, "quick_doubler")
    ids = pa.array([f"c{number}" for number in range(ROWS)])
    amounts = pa.array([float(number) for number in range(ROWS)])
    pq.write_table(pa.table({"id": ids, "amount": amounts}), folder / "in.parquet")
    return folder


def started(workplace: Path, output: Path, target: str, leave: int) -> Child:
    return child(CHILD, workplace, output, target, leave=leave)


def kill_at(workplace: Path, output: Path, target: str, event: str) -> None:
    with started(workplace, output, target, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for line in process.stdout:
            if line == f"{event}\n":
                process.send_signal(signal.SIGKILL)
                break
            process.stdin.write("\n")
            process.stdin.flush()
        process.wait(DEADLINE_S)
    assert process.returncode == -signal.SIGKILL


def run_to_the_end(workplace: Path, output: Path, target: str) -> str:
    with started(workplace, output, target, subprocess.DEVNULL) as process:
        said, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    return said.splitlines()[-1].removeprefix("state ")


def target_in(folder: Path, kind: str) -> str:
    return f"delta:{folder}/lake" if kind == "delta" else f"sqlite:{folder}/crm.db?table=p"


def delivered(folder: Path, kind: str) -> list[tuple[str, float]]:
    """The rows that are there; none if the table isn't."""
    if kind == "delta":
        if not DeltaTable.is_deltatable(f"{folder}/lake"):
            return []
        rows = DeltaTable(f"{folder}/lake").to_pyarrow_table().select(["id", "prediction"])
        return sorted((row["id"], row["prediction"]) for row in rows.to_pylist())
    with contextlib.closing(sqlite3.connect(f"{folder}/crm.db")) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'p'").fetchall():
            return []
        return sorted(connection.execute("SELECT id, prediction FROM p").fetchall())


EXPECTED = sorted((f"c{number}", 2.0 * number) for number in range(ROWS))
KILLS = [
    ("sqlite", ["step DELIVER"]),
    ("sqlite", ["rows 512", "rows 2048", "step DELIVER_COMMIT"]),
    ("sqlite", ["step DELIVERED"]),
    ("delta", ["step DELIVER"]),
    ("delta", ["rows 512", "rows 2048", "rows 4000"]),
    ("delta", ["step DELIVERED"]),
]


@pytest.mark.parametrize(("kind", "events"), KILLS)
def test_a_run_whose_delivery_was_killed_is_delivered_exactly_once(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, events: list[str]
) -> None:
    target, output = target_in(tmp_path, kind), tmp_path / "out"
    is_there = events == ["step DELIVERED"]
    for event in events:
        kill_at(workplace, output, target, event)
        assert (output / "night" / "manifest.json").exists()
        assert delivered(tmp_path, kind) == (EXPECTED if is_there else [])
    monkeypatch.chdir(tmp_path)
    (done,) = resume_run(output, "night").deliveries
    assert done.state == ("already delivered" if is_there else "delivered")
    assert delivered(tmp_path, kind) == EXPECTED
    assert run_to_the_end(workplace, output, target) == "already delivered"
    assert delivered(tmp_path, kind) == EXPECTED


@pytest.mark.parametrize("kind", ["sqlite", "delta"])
def test_of_two_processes_that_deliver_at_once_one_does(
    workplace: Path, tmp_path: Path, kind: str
) -> None:
    target, output = target_in(tmp_path, kind), tmp_path / "out"
    kill_at(workplace, output, target, "step DELIVER")
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(started(workplace, output, target, subprocess.PIPE))
            for _ in range(2)
        ]
        for child in both:
            assert child.stdout is not None
            while child.stdout.readline() not in {"step DELIVER\n", ""}:
                child.stdin.write("\n")
                child.stdin.flush()
        for child in both:
            child.stdin.write("\n" * 100)
            child.stdin.flush()
        states = [child.communicate(timeout=DEADLINE_S)[0].splitlines()[-1] for child in both]
    assert sorted(states) == ["state already delivered", "state delivered"]
    assert delivered(tmp_path, kind) == EXPECTED
