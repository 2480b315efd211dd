"""A real S3 server as the input of a run: the same bytes as from the disk, whatever happens."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow import ipc

import twofold
from twofold.app.batch import BatchSettings, RunRequest, Step, Watch, run_batch
from twofold.batch import delta, objects
from twofold.errors import ConfigError, InvalidInput

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import pack_doubler
from s3 import KEY, SECRET, Bucket

NOW = datetime(2026, 1, 31, tzinfo=UTC)
ROWS = 2_000
DEADLINE_S = 120

MODEL = """
import os
import time

def predict(row):
    time.sleep(float(os.environ.get("ROW_S", "0")))
    return row["amount"] * 2.0
"""
CHILD = """
import sys
from datetime import datetime, timezone
from pathlib import Path
from twofold.app.batch import BatchSettings, RunRequest, Watch, run_batch

request = RunRequest(
    model="doubler",
    input=sys.argv[1],
    output=Path(sys.argv[2]),
    registry=Path(sys.argv[3]),
    key="id",
    run_id="night",
)
watch = Watch(
    progress=lambda progress: print(progress.rows_done, flush=True),
    clock=lambda: datetime(2026, 1, 31, tzinfo=timezone.utc),
)
settings = BatchSettings(workers=2, batch_rows=100, partition_rows=500)
result = run_batch(request, settings=settings, watch=watch)
print("resumed", result.rows_resumed)
"""


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_doubler(
        tmp_path_factory.mktemp("models"), "s3_doubler", MODEL, extra_fields="ignore"
    )


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No store is taken over from a test with another environment."""
    objects._store.cache_clear()
    yield
    objects._store.cache_clear()


def rows(first: int, count: int = ROWS, **more: Any) -> pa.Table:
    numbers = range(first, first + count)
    amounts = pa.array([None if n % 997 == 7 else float(n) for n in numbers], pa.float64())
    return pa.table({"id": pa.array([f"c{n}" for n in numbers]), "amount": amounts} | more)


def write(table: pa.Table, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=700)
    elif path.suffix == ".csv":
        pc.write_csv(table, path)
    elif path.suffix == ".jsonl":
        table.to_pandas().to_json(path, orient="records", lines=True)
    else:
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=300)
    return path


def run(registry: Path, source: Path | str, output: Path, **watch: Any) -> Any:
    request = RunRequest(
        model="doubler",
        input=str(source),
        output=output,
        registry=registry,
        key="id",
        keep=watch.pop("keep", ()),
        run_id="night",
    )
    settings = BatchSettings(workers=2, partition_rows=500, batch_rows=100)
    return run_batch(request, settings=settings, watch=Watch(clock=lambda: NOW, **watch))


def digests(output: Path) -> dict[str, str]:
    files = (output / "night").glob("*.parquet")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def predicted(output: Path) -> dict[str, float]:
    tables = [pq.ParquetFile(path).read() for path in (output / "night").glob("part-*.parquet")]
    return {row["id"]: row["prediction"] for table in tables for row in table.to_pylist()}


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "arrow"])
def test_parts_have_the_bytes_of_a_run_over_local_files(
    registry: Path, tmp_path: Path, bucket: Bucket, kind: str
) -> None:
    folder = tmp_path / "in"
    for day, name in enumerate(["a b+c&=#é", "p%20q", "plain"]):
        write(rows(day * ROWS), folder / f"day={day}" / f"{name}.{kind}")
    write(rows(0, 1), folder / "_hidden" / f"x.{kind}")
    url = bucket.put_folder(folder, "data/in")
    one = f"day=0/a b+c&=#é.{kind}"
    cases = [(one, ()), ("", ("day",)), (f"day=[02]/*.{kind}", ("day",)), (f"**/p*.{kind}", ())]
    for number, (below, keep) in enumerate(cases):
        local, stored = tmp_path / f"local-{number}", tmp_path / f"stored-{number}"
        here = run(registry, folder / below, local, keep=keep).manifest
        there = run(registry, f"{url}/{below}".rstrip("/"), stored, keep=keep).manifest
        assert digests(stored) == digests(local)
        assert len(digests(stored)) >= 5
        assert there.rows_in == here.rows_in
        assert [Path(file.path).name for file in there.input.files] == [
            Path(file.path).name for file in here.input.files
        ]


def test_needed_columns_are_fetched_and_no_others(
    registry: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = {f"x{n}": pa.array([f"{row:0200d}" for row in range(4_000)]) for n in range(4)}
    path = tmp_path / "wide.parquet"
    table = rows(0, 4_000, **beside)
    pq.write_table(table, path, row_group_size=2_000, use_dictionary=False, compression="none")
    url = bucket.put("wide.parquet", path)
    spans: list[int] = []
    fetch = objects.ObjectFile._fetch

    def counted(self: objects.ObjectFile, span: tuple[int, int]) -> bytes:
        spans.append(span[1] - span[0])
        return fetch(self, span)

    monkeypatch.setattr(objects.ObjectFile, "_fetch", counted)
    request = RunRequest("doubler", url, tmp_path, registry, key="id", run_id="night")
    run_batch(request, settings=BatchSettings(batch_rows=1_000))
    got = [status for method, key, status in bucket.asked() if (method, key) == ("GET", path.name)]
    assert got == [206] * len(spans)
    assert len(got) <= 12
    assert sum(spans) < path.stat().st_size * 0.2


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("step", [Step.START, Step.FINISH])
def test_object_that_is_overwritten_meanwhile_ends_the_run(
    registry: Path, tmp_path: Path, bucket: Bucket, kind: str, step: Step
) -> None:
    path = write(rows(0), tmp_path / f"in.{kind}")
    url = bucket.put(path.name, path)
    other = write(rows(1), tmp_path / f"other.{kind}")

    def overwrite(now: Step) -> None:
        if now is step:
            bucket.put(path.name, other)

    with pytest.raises(InvalidInput, match=rf"{url}.*written to meanwhile"):
        run(registry, url, tmp_path, step=overwrite)
    assert not (tmp_path / "night").exists()
    with pytest.raises(InvalidInput, match="another content of the input"):
        run(registry, url, tmp_path)


def test_object_that_is_deleted_meanwhile_ends_the_run(
    registry: Path, tmp_path: Path, bucket: Bucket
) -> None:
    url = bucket.put("in.csv", write(rows(0), tmp_path / "in.csv"))

    def delete(step: Step) -> None:
        if step is Step.START:
            bucket.delete("in.csv")

    with pytest.raises(InvalidInput, match=rf"{url}: expected a readable csv file, got no such"):
        run(registry, url, tmp_path, step=delete)


SILENT = "a server that never answers"


@pytest.mark.parametrize("prefix", ["", "delta:"])
@pytest.mark.parametrize(
    ("key", "changed", "says"),
    [
        ("{}-absent/in.csv", {}, "NoSuchBucket"),
        ("{}-absent/in", {}, "NoSuchBucket"),
        ("{}/absent.csv", {}, "nothing there|No files in log"),
        ("{}/absent", {}, "nothing there|No files in log"),
        ("{}/in.csv", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Connection refused"),
        ("{}/in.csv", {"AWS_ENDPOINT_URL": "http://absent.invalid"}, "failed to lookup address"),
        ("{}/in.csv", {"AWS_ENDPOINT_URL": SILENT}, "timed out|error sending request"),
        ("{}/in.csv", {"AWS_ENDPOINT_URL": "127.0.0.1"}, "AWS_ENDPOINT_URL: expected a URL"),
        ("{}/in.csv", {"AWS_ENDPOINT_URL_S3": f"http://x:{SECRET}@localhost"}, "without a user"),
        ("{}/in.csv", {"AWS_ALLOW_HTTP": None}, "set AWS_ALLOW_HTTP=true"),
        ("{}/in.csv", {"AWS_SECRET_ACCESS_KEY": None}, "Missing SecretAccessKey"),
        ("{}/in.csv", {"AWS_ACCESS_KEY_ID": None}, "Missing AccessKeyId"),
        (
            "{}/in.csv",
            {
                "AWS_ACCESS_KEY_ID": None,
                "AWS_SECRET_ACCESS_KEY": None,
                "AWS_METADATA_ENDPOINT": SILENT,
            },
            "no credentials in the environment",
        ),
    ],
)
def test_what_is_not_there_or_not_answered_is_said_and_no_secret(
    registry: Path,
    tmp_path: Path,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    key: str,
    changed: dict[str, str | None],
    says: str,
) -> None:
    bucket.put("in.csv", write(rows(0), tmp_path / "in.csv"))
    for options in (objects.LIMITS, delta.STORE_OPTIONS):
        monkeypatch.setitem(options, "timeout", "1 s")
    monkeypatch.setitem(delta.STORE_OPTIONS, "retry_timeout", "1s")
    monkeypatch.setattr(objects, "RETRY_TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for name, value in changed.items():
            if value == SILENT:
                monkeypatch.setenv(name, f"http://127.0.0.1:{silent.getsockname()[1]}")
            elif value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)
        with pytest.raises((InvalidInput, ConfigError), match=says) as caught:
            run(registry, f"{prefix}s3://{key.format(bucket.name)}", tmp_path / "out")
    assert SECRET not in str(caught.value)
    assert KEY not in str(caught.value)
    assert "<" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_keys_that_nobody_has_are_refused_by_the_server(
    registry: Path, tmp_path: Path, bucket: Bucket
) -> None:
    url = bucket.put("in.csv", write(rows(0), tmp_path / "in.csv"))
    with bucket.server.checking_keys(), pytest.raises(InvalidInput, match="403 Forbidden") as one:
        run(registry, url, tmp_path)
    with bucket.server.checking_keys(), pytest.raises(InvalidInput, match="InvalidAcc") as other:
        run(registry, bucket.url, tmp_path)
    for caught in (one, other):
        assert KEY not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_no_key_is_in_what_a_run_leaves(registry: Path, tmp_path: Path, bucket: Bucket) -> None:
    url = bucket.put("in.parquet", write(rows(0), tmp_path / "in.parquet"))

    def killed(step: Step) -> None:
        if step is Step.COMMIT:
            raise Killed

    output = tmp_path / "out"
    for step in (killed, lambda _: None):
        try:
            run(registry, url, output, step=step)
        except Killed:
            assert list((output / ".twofold" / "night").iterdir())
        files = [path.read_bytes() for path in output.rglob("*") if path.is_file()]
        assert files
        assert not any(word.encode() in data for word in (KEY, SECRET) for data in files)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "arrow"])
def test_killed_run_goes_on_to_the_same_bytes(
    registry: Path, tmp_path: Path, bucket: Bucket, kind: str
) -> None:
    path = write(rows(0), tmp_path / f"in.{kind}")
    url = bucket.put(path.name, path)
    run(registry, path, tmp_path / "local")
    source = Path(twofold.__file__).parents[1]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(source), str(registry.parent)]),
        "ROW_S": "0.0003",
    }
    command = [sys.executable, "-c", CHILD, url, str(tmp_path / "out"), str(registry)]
    for at_rows in (600, 1_300):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= at_rows:
                    process.kill()
                    break
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "out" / "night").exists()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert int(done.stdout.split()[-1]) >= 500
    assert digests(tmp_path / "out") == digests(tmp_path / "local")


def table_options(bucket: Bucket) -> dict[str, str]:
    return bucket.server.environment | {"AWS_CONDITIONAL_PUT": "etag"}


def test_a_delta_table_is_read_at_its_newest_or_at_a_named_version(
    registry: Path, tmp_path: Path, bucket: Bucket
) -> None:
    url, options = f"{bucket.url}/some/table", table_options(bucket)
    days = pa.array(["a b/c:%é", "x=1"] * 4)
    first = rows(0, 8, day=days)
    write_deltalake(url, first, partition_by=["day"], storage_options=options)
    write_deltalake(url, rows(10, 8, day=days), mode="append", storage_options=options)
    DeltaTable(url, storage_options=options).delete("id = 'c12'")
    names = [f"c{n}" for n in (*range(7), *range(10, 18))]  # c7 has no amount
    wanted = {name: 2.0 * int(name[1:]) for name in names}

    newest = run(registry, url, tmp_path / "newest", keep=("day",))
    assert newest.manifest.input.given == f"delta:{url}@2"
    assert predicted(tmp_path / "newest") == {n: v for n, v in wanted.items() if n != "c12"}
    run(registry, f"delta:{url}@1", tmp_path / "middle")
    assert predicted(tmp_path / "middle") == wanted
    run(registry, f"delta:{url}@0", tmp_path / "first", keep=("day",))
    parts = (tmp_path / "first" / "night").glob("part-*.parquet")
    kept = {row["id"]: row["day"] for part in parts for row in pq.read_table(part).to_pylist()}
    by_id = dict(zip(first["id"].to_pylist(), days.to_pylist(), strict=True))
    assert kept == {name: day for name, day in by_id.items() if name != "c7"}
    with pytest.raises(InvalidInput, match="a Delta table with version 9, got"):
        run(registry, f"delta:{url}@9", tmp_path / "none")


def test_a_run_goes_on_with_the_version_of_the_table_that_it_began_with(
    registry: Path, tmp_path: Path, bucket: Bucket
) -> None:
    url, options = f"{bucket.url}/table", table_options(bucket)
    write_deltalake(url, rows(0), storage_options=options)

    def killed(step: Step) -> None:
        if step is Step.FINISH:
            raise Killed

    with pytest.raises(Killed):
        run(registry, url, tmp_path, step=killed)
    write_deltalake(url, rows(5_000), mode="overwrite", storage_options=options)
    result = run(registry, url, tmp_path)
    assert result.manifest.input.given == f"delta:{url}@0"
    assert "c1" in predicted(tmp_path)


def test_files_of_a_delta_table_are_not_read_without_its_log(
    registry: Path, tmp_path: Path, bucket: Bucket
) -> None:
    url, options = f"{bucket.url}/x/table.v1", table_options(bucket)
    table = rows(0, 4, day=pa.array(["1", "2"] * 2))
    write_deltalake(url, table, partition_by=["day"], storage_options=options)
    (file, *_) = [key for key in bucket.contents() if key.endswith(".parquet")]
    below = [url, f"{url}/*/*.parquet", f"{url}/day=1", f"{bucket.url}/{file}", f"{bucket.url}/x"]
    for source in (*below, bucket.url, f"{url}/day=1/*.parquet", f"{bucket.url}/**/*.parquet"):
        with pytest.raises(InvalidInput, match=rf"some of {url}\. Read it as delta:{url}"):
            run(registry, source, tmp_path)
    bucket.put("x/tablet/in.csv", b"id,amount\n1,2\n")
    assert run(registry, f"{bucket.url}/x/tablet", tmp_path).manifest.rows_in == 1
