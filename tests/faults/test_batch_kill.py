"""A batch run whose process is killed, again and again, by the operating system."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.app.batch import BatchSettings, RunState, resume_run

sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import child, pack_doubler

Child = AbstractContextManager[subprocess.Popen[str]]

ROWS = 4_000
PARTITION_ROWS = 512
DEADLINE_S = 120
LOST = 5

# Slow enough for a kill to land inside a batch; fails on one row, to be set aside.
MODEL = """
import time

def predict(row):
    time.sleep(0.0001)
    if row["amount"] == 1234.0:
        raise ValueError("poison")
    return row["amount"] * 2.0
"""

# Says each event on a line of its own; before a durable step it waits for leave to go on, so
# that a kill can hit the very step. At a progress event it doesn't, so a kill lands anywhere.
CHILD = """
import os
import sys
from datetime import datetime, timezone
from pathlib import Path
from twofold.app.batch import BatchSettings, RunRequest, Watch, run_batch
from twofold.errors import LeaseHeld

def say(text):
    # In one piece, as two threads say something: who reads it looks at whole lines.
    os.write(1, f"{text}\\n".encode())

def at(step):
    say(f"step {step.name}")
    sys.stdin.readline()

folder = Path(sys.argv[1])
now = datetime(2026, 1, 31, tzinfo=timezone.utc)
request = RunRequest(
    model="doubler",
    input=str(folder / "in.parquet"),
    output=Path(sys.argv[2]),
    registry=folder / "registry",
    key="id",
    run_id="night",
)
settings = BatchSettings(workers=2, batch_rows=100, partition_rows=int(sys.argv[3]))
watch = Watch(
    progress=lambda progress: say(f"progress {progress.rows_done}"),
    clock=lambda: now,
    step=at,
)
try:
    result = run_batch(request, settings=settings, watch=watch)
except LeaseHeld:
    sys.exit(5)
say(f"resumed {result.rows_resumed}")
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    pack_doubler(folder, "slow_doubler", MODEL)
    amounts = [float(number) for number in range(ROWS)]
    table = pa.table(
        {
            "id": pa.array([f"c{number}" for number in range(ROWS)], pa.string()),
            "amount": pa.array([None if n % 1000 == 7 else n for n in amounts], pa.float64()),
        }
    )
    pq.write_table(table, folder / "in.parquet", row_group_size=700)
    return folder


def started(workplace: Path, output: Path, leave: int) -> Child:
    return child(CHILD, workplace, output, str(PARTITION_ROWS), leave=leave)


def run_to_the_end(workplace: Path, output: Path) -> int:
    """Run without disturbance; gives the rows taken over from earlier attempts."""
    with started(workplace, output, subprocess.DEVNULL) as process:
        said, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    return int(said.splitlines()[-1].removeprefix("resumed "))


def kill_at(
    workplace: Path, output: Path, event: str, count: int, *, by: signal.Signals = signal.SIGKILL
) -> None:
    """Start a run and end it when it says an event for the `count`-th time."""
    with started(workplace, output, subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for line in process.stdout:
            count -= line.startswith(event)
            if count == 0:
                process.send_signal(by)
                break
            if line.startswith("step"):
                process.stdin.write("\n")
                process.stdin.flush()
        process.wait(DEADLINE_S)
    assert process.returncode == -by


def digests(output: Path) -> dict[str, str]:
    parts = (output / "night").glob("*.parquet")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}


@pytest.fixture(scope="module")
def undisturbed(workplace: Path) -> dict[str, str]:
    output = workplace / "undisturbed"
    run_to_the_end(workplace, output)
    return digests(output)


def test_killed_runs_end_with_the_bytes_of_an_undisturbed_one(
    workplace: Path, undisturbed: dict[str, str]
) -> None:
    output = workplace / "killed"
    for event, count in [
        ("progress", 1),
        ("progress 300", 1),
        ("step WRITE", 2),
        ("step RENAME", 1),
        ("progress", 9),
        ("step FINISH", 1),
        ("progress", 15),
    ]:
        kill_at(workplace, output, event, count)
        assert not (output / "night").exists()
    assert run_to_the_end(workplace, output) >= 2 * PARTITION_ROWS
    assert digests(output) == undisturbed
    manifest = json.loads((output / "night" / "manifest.json").read_bytes())
    assert manifest["rows_in"] == ROWS
    assert manifest["rows_quarantined"] == 5
    assert set(undisturbed) == {file["name"] for file in manifest["files"]} | {"quarantine.parquet"}


@pytest.mark.parametrize(
    "step", ["START", "WRITE", "RENAME", "FINISH", "QUARANTINE", "MANIFEST", "COMMIT"]
)
def test_process_whose_lease_was_lost_commits_nothing_beside_the_one_that_has_it(
    workplace: Path, undisturbed: dict[str, str], step: str
) -> None:
    output = workplace / f"forgotten-{step}"
    with started(workplace, output, subprocess.PIPE) as late:
        assert late.stdout is not None
        assert late.stdin is not None
        for line in late.stdout:
            if line == f"step {step}\n":
                break
            if line.startswith("step"):
                late.stdin.write("\n")
                late.stdin.flush()
        # As a network file system does that was restarted: the lock is gone, its holder isn't.
        (output / ".twofold" / "night" / "lease").unlink()
        run_to_the_end(workplace, output)
        late.communicate("\n" * 100, timeout=DEADLINE_S)
    assert late.returncode == LOST
    assert digests(output) == undisturbed


@pytest.mark.parametrize("step", ["START", "QUARANTINE", "MANIFEST", "COMMIT", "SYNC"])
def test_run_killed_at_its_start_or_around_its_commit_is_whole_afterwards(
    workplace: Path, undisturbed: dict[str, str], step: str
) -> None:
    output = workplace / f"killed-{step}"
    kill_at(workplace, output, f"step {step}", 1)
    # The commit is the rename, which comes after its own event and before the next.
    assert (output / "night").exists() == (step == "SYNC")
    if step == "SYNC":
        assert digests(output) == undisturbed
    run_to_the_end(workplace, output)
    assert digests(output) == undisturbed


def test_run_ended_by_control_c_goes_on_later(workplace: Path, undisturbed: dict[str, str]) -> None:
    output = workplace / "interrupted"
    kill_at(workplace, output, "progress 712", 1, by=signal.SIGINT)
    assert not (output / "night").exists()
    assert run_to_the_end(workplace, output) >= PARTITION_ROWS
    assert digests(output) == undisturbed


def test_killed_run_is_resumed_by_its_name_alone(
    workplace: Path, undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(workplace))
    output = workplace / "by-name"
    kill_at(workplace, output, "progress 712", 1)
    result = resume_run(output, "night", settings=BatchSettings(batch_rows=64))
    assert result.rows_resumed >= PARTITION_ROWS
    assert digests(output) == undisturbed
    again = resume_run(output, "night")
    assert again.state is RunState.ALREADY_COMMITTED
    assert again.manifest == result.manifest
