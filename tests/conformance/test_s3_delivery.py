"""A real S3 server as the target of a run: as files below a folder, and as a Delta table."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from twofold.app.batch import (
    BatchSettings,
    RepairRequest,
    RunRequest,
    Step,
    Watch,
    deliver_run,
    repair_run,
    resume_run,
    run_batch,
)
from twofold.batch import objects
from twofold.errors import DeliveryFailed, InvalidInput

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import pack_doubler
from s3 import KEY, SECRET, Bucket

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ROWS, BAD = 1_500, 7
EXPECTED = {f"c{n}": 2.0 * n for n in range(ROWS)}
LARGE = 700_000
"""Rows whose part is longer than one request may be."""


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_doubler(tmp_path_factory.mktemp("models"), "s3_delivered")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No store is taken over from a test with another environment."""
    objects._store.cache_clear()
    yield
    objects._store.cache_clear()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    amounts = [None if n == BAD else float(n) for n in range(ROWS)]
    columns = {"id": [f"c{n}" for n in range(ROWS)], "amount": pa.array(amounts, pa.float64())}
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def run(registry: Path, source: Path, output: Path, *into: str, **watch: Any) -> Any:
    request = RunRequest(
        model="doubler",
        input=str(source),
        output=output,
        registry=registry,
        key="id",
        run_id="night",
        into=into,
    )
    settings = BatchSettings(workers=2, partition_rows=500, batch_rows=100)
    return run_batch(request, settings=settings, watch=Watch(clock=lambda: NOW, **watch))


def mend(registry: Path, output: Path) -> None:
    """Put the row in that was set aside."""
    mended = pa.table({"row": [BAD], "id": [f"c{BAD}"], "amount": [float(BAD)]})
    pq.write_table(mended, output / "fix.parquet")
    repair_run(RepairRequest(str(output / "fix.parquet"), output, "night", registry))


def read(bucket: Bucket) -> dict[str, float]:
    """Read as everybody should: what the manifest lists, and nothing else."""
    there = bucket.contents()
    manifest = json.loads(there["p/night/manifest.json"])
    found: dict[str, float] = {}
    for file in manifest["files"]:
        data = there[f"p/night/{file['name']}"]
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
        for row in pq.ParquetFile(pa.BufferReader(data)).read().to_pylist():
            assert row["id"] not in found
            found[row["id"]] = row["prediction"]
    return found


def test_a_run_is_delivered_once_and_its_repair_takes_its_place(
    registry: Path, source: Path, tmp_path: Path, bucket: Bucket
) -> None:
    into = f"{bucket.url}/p"
    first = run(registry, source, tmp_path / "out", into)
    assert [(done.target, done.state) for done in first.deliveries] == [(into, "delivered")]
    assert read(bucket) == {key: value for key, value in EXPECTED.items() if key != f"c{BAD}"}
    before = bucket.contents()
    assert before["p/night/quarantine.parquet"]
    again = deliver_run(tmp_path / "out", "night")
    assert [done.state for done in again.deliveries] == ["already delivered"]
    assert bucket.contents() == before
    mend(registry, tmp_path / "out")
    assert [done.state for done in deliver_run(tmp_path / "out", "night").deliveries] == [
        "delivered"
    ]
    assert read(bucket) == EXPECTED
    parts = [key for key in bucket.contents() if "/part-" in key]
    assert len(parts) == 3


@pytest.mark.parametrize("kill", [Step.DELIVER, Step.DELIVER_COMMIT, Step.DELIVERED])
def test_a_delivery_that_is_cut_off_shows_nothing_and_is_finished_by_resuming(
    registry: Path, source: Path, tmp_path: Path, bucket: Bucket, kill: Step
) -> None:
    def at(step: Step) -> None:
        if step is kill:
            raise Killed

    with pytest.raises(Killed):
        run(registry, source, tmp_path, f"{bucket.url}/p", step=at)
    assert ("p/night/manifest.json" in bucket.contents()) == (kill is Step.DELIVERED)
    resumed = resume_run(tmp_path, "night")
    wanted = "already delivered" if kill is Step.DELIVERED else "delivered"
    assert [done.state for done in resumed.deliveries] == [wanted]
    assert len(read(bucket)) == ROWS - 1


def test_another_run_of_the_same_name_is_refused_before_it_predicts(
    registry: Path, source: Path, tmp_path: Path, bucket: Bucket
) -> None:
    run(registry, source, tmp_path / "one", f"{bucket.url}/p")
    with pytest.raises(InvalidInput, match="no other run night there"):
        run(registry, source, tmp_path / "two", f"{bucket.url}/p")
    assert not (tmp_path / "two" / "night").exists()


def test_a_file_longer_than_a_request_is_delivered_in_parts(
    registry: Path, tmp_path: Path, bucket: Bucket
) -> None:
    amounts = np.random.default_rng(7).random(LARGE)  # so that nothing can be compressed
    pq.write_table(pa.table({"id": amounts, "amount": amounts}), tmp_path / "in.parquet")
    request = RunRequest(
        model="doubler",
        input=str(tmp_path / "in.parquet"),
        output=tmp_path / "out",
        registry=registry,
        key="id",
        run_id="night",
        format="arrow",
        into=(f"{bucket.url}/p",),
    )
    result = run_batch(request, settings=BatchSettings(partition_rows=2_000_000))
    (entry,) = result.manifest.files
    assert entry.bytes > objects.PUT_BYTES
    data = bucket.contents()[f"p/night/{entry.name}"]
    assert hashlib.sha256(data).hexdigest() == entry.sha256
    assert [key for method, key, _ in bucket.asked() if method == "PUT" and "partNumber" in key]


def test_a_delta_table_in_a_bucket_takes_a_run_once(
    registry: Path, source: Path, tmp_path: Path, bucket: Bucket
) -> None:
    into = f"delta:{bucket.url}/offers"
    run(registry, source, tmp_path / "out", into)
    mend(registry, tmp_path / "out")
    states = [deliver_run(tmp_path / "out", "night").deliveries[0].state for _ in range(2)]
    assert states == ["delivered", "already delivered"]
    found = DeltaTable(f"{bucket.url}/offers").to_pyarrow_table().to_pylist()
    assert {row["id"]: row["prediction"] for row in found} == EXPECTED
    assert len(found) == ROWS


def test_a_bucket_that_is_not_there_leaves_the_run_committed_and_no_secret_shown(
    registry: Path, source: Path, tmp_path: Path, bucket: Bucket
) -> None:
    run(registry, source, tmp_path)
    with pytest.raises(DeliveryFailed, match="The run is committed in") as caught:
        deliver_run(tmp_path, "night", [f"{bucket.url}-absent/p"])
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_wrong_endpoint_is_named_for_a_table_as_for_files(
    registry: Path, source: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(registry, source, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{KEY}@nowhere")
    objects._store.cache_clear()
    for target in (f"delta:{bucket.url}/offers", f"{bucket.url}/p"):
        with pytest.raises(DeliveryFailed, match="AWS_ENDPOINT_URL: expected a URL") as caught:
            deliver_run(tmp_path, "night", [target])
        assert KEY not in str(caught.value)
