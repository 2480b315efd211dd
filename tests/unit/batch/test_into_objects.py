"""A folder of an object store as a target, here of one in memory.

A store that is served is put in the place of this one by a fixture named `store`: all that these
tests want of it are `obstore`'s functions and conditional writes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import obstore
import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from twofold.batch import into_objects as module
from twofold.batch import objects
from twofold.batch.into_objects import IntoObjects, into_objects
from twofold.batch.manifest import Manifest
from twofold.batch.target import NotDelivered
from twofold.batch.watch import Step
from twofold.errors import InvalidInput, TwofoldError

TARGET = into_objects("s3://bucket/lake/predictions/")
FOLDER = "lake/predictions/night/"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    store = MemoryStore()
    monkeypatch.setattr(objects, "_store", lambda root: store)
    return store


def everything(store: Any) -> dict[str, bytes]:
    keys = [meta["path"] for found in obstore.list(store) for meta in found]
    return {key: obstore.get(store, key).bytes().to_bytes() for key in keys}


def seen(store: Any) -> Manifest:
    """What a reader sees who looks for the manifest first: all it lists, as it says."""
    files = everything(store)
    manifest = msgspec.json.decode(files[FOLDER + "manifest.json"], type=Manifest)
    listed = [*manifest.files, *([manifest.quarantine] if manifest.quarantine else [])]
    for entry in listed:
        content = files[FOLDER + entry.name]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.bytes, entry.sha256)
    return manifest


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow"])
def test_the_files_of_a_run_come_as_they_are(bench: Any, store: Any, kind: str) -> None:
    run = bench.run_with_bad_rows(format=kind)
    counted: list[int] = []
    assert bench.deliver(TARGET, rows=counted.append) == "delivered"
    assert counted == [7, 14, 18]
    found = everything(store)
    names = {name.removeprefix(FOLDER) for name in found}
    assert names == {path.name for path in run.folder.iterdir()} | {"_delivery.json"}
    for path in run.folder.iterdir():
        assert found[FOLDER + path.name] == path.read_bytes()
    assert bench.deliver(TARGET) == "already delivered"
    assert everything(store) == found


def test_the_manifest_comes_last(bench: Any, store: Any, crash: type) -> None:
    def at(step: Step) -> None:
        if step is Step.DELIVER_COMMIT:
            raise crash

    bench.run_with_bad_rows()
    with pytest.raises(crash):
        bench.deliver(TARGET, at=at)
    names = {name.removeprefix(FOLDER) for name in everything(store)}
    assert "manifest.json" not in names
    assert {"part-000000.parquet", "quarantine.parquet"} < names
    assert bench.deliver(TARGET) == "delivered"
    seen(store)


def test_a_reader_sees_the_run_before_its_repair_or_after_it(bench: Any, store: Any) -> None:
    bench.run_with_bad_rows()
    bench.deliver(TARGET)
    before = seen(store)
    bench.mend(9)

    def at(step: Step) -> None:
        assert seen(store) == before

    assert bench.deliver(TARGET, at=at) == "delivered"
    after = seen(store)
    assert (after.rows_predicted, len(after.repairs)) == (19, 1)
    assert after.quarantine is not None
    assert after.quarantine.name == "quarantine-repair-1.parquet"
    # Who lists the folder instead finds each row once.
    names = [name for name in everything(store) if "/part-" in name]
    assert sorted(names) == [FOLDER + file.name for file in after.files]
    assert FOLDER + "quarantine.parquet" not in everything(store)
    assert bench.deliver(TARGET) == "already delivered"
    bench.mend(1)
    assert bench.deliver(TARGET) == "delivered"
    assert seen(store).quarantine is None
    assert not [name for name in everything(store) if "quarantine" in name]


def test_what_a_crash_left_of_before_a_repair_is_deleted_by_the_next_delivery(
    bench: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run_with_bad_rows()
    bench.deliver(TARGET)
    bench.mend(9)
    with monkeypatch.context() as patch:
        patch.setattr(IntoObjects, "_clean_up", lambda *_: None)
        bench.deliver(TARGET)
    late = FOLDER + "part-000000-repair-2.parquet"  # of a repair that is just on its way
    theirs = FOLDER + "notes.parquet"
    for key in (late, theirs):
        obstore.put(store, key, b"x")
    assert FOLDER + "part-000001.parquet" in everything(store)
    assert bench.deliver(TARGET) == "already delivered"
    found = everything(store)
    assert FOLDER + "part-000001.parquet" not in found
    assert {late, theirs} < set(found)


def test_another_run_of_that_name_is_refused_before_and_after(
    bench: Any, store: Any, tmp_path: Path
) -> None:
    TARGET.check("night", None)
    bench.run_with_bad_rows()
    bench.deliver(TARGET)
    with pytest.raises(NotDelivered, match="no other run night there"):
        TARGET.check("night", None)
    TARGET.check("morning", None)
    found = everything(store)
    other = type(bench)(tmp_path / "elsewhere")
    other.run_with_bad_rows(rows=21)
    with pytest.raises(NotDelivered, match="no other run night there"):
        other.deliver(TARGET)
    assert everything(store) == found


def test_of_two_runs_of_one_name_at_once_one_writes_nothing(
    bench: Any, store: Any, tmp_path: Path
) -> None:
    bench.run_with_bad_rows()
    other = type(bench)(tmp_path / "elsewhere")
    other.run_with_bad_rows(rows=21)

    def at(step: Step) -> None:
        if step is Step.DELIVER_COMMIT:
            with pytest.raises(NotDelivered, match="no other run night there"):
                other.deliver(TARGET)

    assert bench.deliver(TARGET, at=at) == "delivered"
    assert seen(store).rows_in == 20


def test_a_run_that_was_repaired_otherwise_elsewhere_is_another_one(
    bench: Any, store: Any, tmp_path: Path
) -> None:
    bench.run_with_bad_rows()
    bench.deliver(TARGET)
    other = type(bench)(tmp_path / "copy")
    other.run_with_bad_rows()
    bench.mend(9)
    other.mend(1)
    bench.deliver(TARGET)
    with pytest.raises(NotDelivered, match="no other run night there"):
        other.deliver(TARGET)


def test_of_two_deliveries_at_once_one_finds_it_done(bench: Any, store: Any) -> None:
    bench.run_with_bad_rows()
    inner: list[str] = []

    def at(step: Step) -> None:
        if step is Step.DELIVER_COMMIT and not inner:
            inner.append("")
            inner.append(bench.deliver(TARGET))

    assert bench.deliver(TARGET, at=at) == "already delivered"
    assert inner[1] == "delivered"
    bench.mend(9)
    inner.clear()
    assert bench.deliver(TARGET, at=at) == "already delivered"
    assert seen(store).rows_predicted == 19


@pytest.mark.parametrize("put_bytes", [1 << 20, 1000])
def test_a_file_that_is_not_as_it_was_written_is_not_there(
    bench: Any, store: Any, monkeypatch: pytest.MonkeyPatch, put_bytes: int
) -> None:
    monkeypatch.setattr(module, "PUT_BYTES", put_bytes)
    monkeypatch.setattr(objects, "PUT_BYTES", put_bytes)
    run = bench.run_with_bad_rows()
    path = run.folder / "part-000001.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    with pytest.raises(TwofoldError, match=r"part-000001.*the file that the manifest lists"):
        bench.deliver(TARGET)
    assert FOLDER + "part-000001.parquet" not in everything(store)
    path.unlink()
    with pytest.raises(TwofoldError, match=r"part-000001.*the file that the manifest lists"):
        bench.deliver(TARGET)
    path.write_bytes(whole)
    assert bench.deliver(TARGET) == "delivered"
    seen(store)


def test_a_file_in_many_parts_is_whole(
    bench: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PUT_BYTES", 1000)
    monkeypatch.setattr(objects, "PUT_BYTES", 1000)
    bench.run_with_bad_rows(rows=5000, settings=type(bench.settings)(partition_rows=5000))
    bench.deliver(TARGET)
    (entry,) = seen(store).files
    assert entry.bytes > 15_000


def test_something_else_under_the_name_is_refused(bench: Any, store: Any) -> None:
    obstore.put(store, FOLDER + "manifest.json", b"{}")
    bench.run_with_bad_rows()
    with pytest.raises(NotDelivered, match="a manifest or nothing"):
        bench.deliver(TARGET)
    obstore.delete(store, FOLDER + "manifest.json")
    obstore.put(store, FOLDER + "_delivery.json", b"[]")
    with pytest.raises(NotDelivered, match="no other run night there"):
        bench.deliver(TARGET)


def test_a_store_that_refuses_is_said(
    bench: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: Any, **more: Any) -> Any:
        raise obstore.exceptions.PermissionDeniedError("403: https://there/x?X-Amz-Signature=hush")

    bench.run_with_bad_rows()
    monkeypatch.setattr(obstore, "put", refuse)
    with pytest.raises(NotDelivered, match="403") as caught:
        bench.deliver(TARGET)
    assert "hush" not in str(caught.value)


def test_where_it_goes_is_recorded_without_secrets() -> None:
    assert TARGET.name == "s3://bucket/lake/predictions"
    assert into_objects("gs://bucket").name == "gs://bucket"
    for secret in ("s3://user:pass@bucket/x", "s3://bucket/x?X-Amz-Signature=1", "s3://"):
        with pytest.raises(InvalidInput):
            into_objects(secret)


def test_the_bucket_itself_may_be_the_folder(bench: Any, store: Any) -> None:
    run = bench.run_with_bad_rows()
    bench.deliver(into_objects("az://container"))
    assert "night/manifest.json" in everything(store)
    assert pq.ParquetFile(run.folder / "part-000000.parquet").metadata.num_rows == 7
