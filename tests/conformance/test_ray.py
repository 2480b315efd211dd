"""The Ray engine on a real cluster gives what the local engine gives, whoever is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import twofold

if os.environ.get("CI") != "true":
    pytest.importorskip("ray", reason="Ray isn't installed: pip install 'twofold[ray]'")

ROWS = 6_000
DEADLINE_S = 300

# Slow enough for a kill to land inside a partition, and says who it is.
MODEL = """
import os
import pathlib
import time

def predict(row):
    time.sleep(0.0005)
    if row["amount"] == 1234.0:
        raise ValueError("poison")
    if row["amount"] % 500 == 0:
        pathlib.Path(os.environ["WHO"], f"{os.getpid()}-{row['amount']:.0f}").touch()
    return row["amount"] * 2.0
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "who").mkdir()
    (folder / "slow_on_ray.py").write_text(MODEL, encoding="utf-8")
    sample = pa.table({"amount": pa.array([0.5, 1.0, 5000.5], pa.float64())})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("WHO", str(folder / "who"))
        twofold.pack(
            "slow_on_ray:predict", name="slow", sample=sample, registry=folder / "registry"
        )
    amounts = [None if row % 1000 == 7 else float(row) for row in range(ROWS)]
    ids = pa.array([f"c{row}" for row in range(ROWS)])
    table = pa.table({"id": ids, "amount": pa.array(amounts, pa.float64())})
    pq.write_table(table, folder / "in.parquet", row_group_size=700)
    lines = [f"c{row},{'' if row % 1000 == 7 else row}" for row in range(ROWS)]
    (folder / "in.csv").write_text("\n".join(["id,amount", *lines]) + "\n", encoding="utf-8")
    return folder


def command(folder: Path, output: Path, source: str, *flags: str) -> list[str]:
    return [
        *(sys.executable, "-m", "twofold", "batch", "run", "slow", str(folder / source)),
        *("--output", str(output), "--run-id", "night", "--key", "id"),
        *("--registry", str(folder / "registry"), "--partition-rows", "1000"),
        *("--batch-rows", "100", "--workers", "2", *flags),
    ]


def environment(folder: Path) -> dict[str, str]:
    source = Path(twofold.__file__).parents[1]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(source), str(folder)]),
        "WHO": str(folder / "who"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def run(folder: Path, output: Path, source: str, *flags: str) -> None:
    done = subprocess.run(
        command(folder, output, source, *flags),
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def columns(output: Path) -> dict[str, list[object]]:
    """Everything but the instant of the prediction, which differs from run to run."""
    parts = sorted((output / "night").glob("part-*.parquet"))
    table = pa.concat_tables([pq.read_table(part) for part in parts])
    return table.drop_columns(["predicted_at"]).to_pydict()


def quarantine_digest(output: Path) -> str:
    return hashlib.sha256((output / "night" / "quarantine.parquet").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def local(workplace: Path) -> Path:
    output = workplace / "local"
    run(workplace, output, "in.parquet")
    return output


def workers_seen(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in (folder / "who").iterdir()}


def wait_for_worker(folder: Path, others: set[int]) -> int:
    ends_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends_s:
        alive = [pid for pid in workers_seen(folder) - others if Path(f"/proc/{pid}").exists()]
        if alive:
            return alive[0]
        time.sleep(0.02)
    raise AssertionError("no worker of Ray began to predict")


@pytest.fixture
def driver(workplace: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command(workplace, tmp_path, "in.parquet", "--engine", "ray"),
        env=environment(workplace),
        cwd=workplace,
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("source", ["in.parquet", "in.csv"])
def test_ray_writes_the_rows_of_the_local_engine(
    workplace: Path, local: Path, tmp_path: Path, source: str
) -> None:
    before = workers_seen(workplace)
    run(workplace, tmp_path, source, "--engine", "ray")
    assert columns(tmp_path) == columns(local)
    assert quarantine_digest(tmp_path) == quarantine_digest(local)
    assert len(workers_seen(workplace) - before) >= 2


def test_killed_workers_cost_their_partitions_alone(
    workplace: Path, local: Path, tmp_path: Path, driver: subprocess.Popen[bytes]
) -> None:
    killed = workers_seen(workplace)
    for _ in range(2):
        worker = wait_for_worker(workplace, killed)
        os.kill(worker, signal.SIGKILL)
        killed |= {worker}
    assert driver.wait(DEADLINE_S) == 0
    assert columns(tmp_path) == columns(local)
    assert quarantine_digest(tmp_path) == quarantine_digest(local)


@pytest.mark.parametrize("engine", ["ray", "local"])
def test_killed_driver_leaves_a_run_that_any_engine_resumes(
    workplace: Path, local: Path, tmp_path: Path, driver: subprocess.Popen[bytes], engine: str
) -> None:
    parts = tmp_path / ".twofold" / "night"
    ends_s = time.monotonic() + DEADLINE_S
    while len(list(parts.glob("attempt-*/parts/part-*"))) < 2:
        assert time.monotonic() < ends_s
        assert driver.poll() is None
        time.sleep(0.02)
    driver.kill()
    driver.wait(DEADLINE_S)
    assert not (tmp_path / "night").exists()
    run(workplace, tmp_path, "in.parquet", "--engine", engine)
    assert columns(tmp_path) == columns(local)
    assert quarantine_digest(tmp_path) == quarantine_digest(local)


def test_address_where_no_cluster_is_is_named(workplace: Path, tmp_path: Path) -> None:
    flags = ["--engine", "ray", "--ray-address", "127.0.0.1:1"]
    done = subprocess.run(
        command(workplace, tmp_path, "in.parquet", *flags),
        env=environment(workplace) | {"RAY_GCS_RPC_TIMEOUT_S": "2"},
        cwd=workplace,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "ray_address: expected a Ray cluster, got" in done.stderr
