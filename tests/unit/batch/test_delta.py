"""Delta tables: one version of them, read file by file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from twofold.batch.delta import TableName, pinned, table_name
from twofold.batch.inputs import describe_files, open_input, read_chunks
from twofold.batch.plan import Plan
from twofold.batch.watch import Step
from twofold.errors import InvalidInput

INLINE_VECTOR = "^Bg9^0rr910000000000iXQKl0rr91000315c8Xg00031"
"""The rows 0 and 1 as a bitmap, in the log itself."""


def read(source: object, columns: list[str]) -> list[dict[str, Any]]:
    chunks = read_chunks(open_input(str(source)), columns, Plan(8, 3), first_row=0)
    return [row for chunk in chunks for row in chunk.rows.columns.to_pylist()]


def rows(*values: float, **more: Any) -> pa.Table:
    columns = {
        "id": pa.array([f"c{value:g}" for value in values]),
        "amount": pa.array(values, pa.float64()),
        "plan": pa.array(["basic"] * len(values)),
    }
    return pa.table(columns | more)


def test_a_table_is_what_its_log_says(tmp_path: Path) -> None:
    write_deltalake(tmp_path, rows(1, 2, 3))
    write_deltalake(tmp_path, rows(4, 5), mode="append")
    table = DeltaTable(tmp_path)
    table.delete("id = 'c2'")
    table.update(updates={"amount": "amount * 10"}, predicate="id = 'c4'")
    source = rows(5, 6).set_column(1, "amount", pa.array([50.0, 60.0]))
    table.merge(
        source, "s.id = t.id", source_alias="s", target_alias="t"
    ).when_matched_update_all().when_not_matched_insert_all().execute()
    found = read(tmp_path, ["id", "amount"])
    amounts = {row["id"]: row["amount"] for row in found}
    assert amounts == {"c1": 1.0, "c3": 3.0, "c4": 40.0, "c5": 50.0, "c6": 60.0}
    assert len(found) == len(amounts)
    first = read(f"delta:{tmp_path}@0", ["id"])
    assert sorted(row["id"] for row in first) == ["c1", "c2", "c3"]


def test_columns_added_later_are_null_in_older_files(tmp_path: Path) -> None:
    write_deltalake(tmp_path, rows(1))
    more = rows(2, extra=pa.array([7], pa.int64()))
    write_deltalake(tmp_path, more, mode="append", schema_mode="merge")
    found = {row["id"]: row["extra"] for row in read(tmp_path, ["extra", "id"])}
    assert found == {"c1": None, "c2": 7}
    assert {row["extra"] for row in read(tmp_path, ["extra"])} == {None, 7}


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a b/c:%", "z=1", None, "é?#&"]),
        pa.array([1, -2, None, 4], pa.int32()),
        pa.array([True, False, None, True]),
        pa.array([0, 1, None, 20_000], pa.date32()),
        pa.array([0, 1, None, 1_700_000_000_123_456], pa.timestamp("us", "UTC")),
    ],
    ids=lambda values: str(values.type),
)
def test_partitions_have_the_types_and_values_of_the_table(tmp_path: Path, values: Any) -> None:
    write_deltalake(tmp_path, rows(1, 2, 3, 4, part=values), partition_by=["part"])
    found = read(tmp_path, ["part", "id"])
    assert {row["id"]: row["part"] for row in found} == dict(
        zip(["c1", "c2", "c3", "c4"], values.to_pylist(), strict=True)
    )
    assert open_input(str(tmp_path)).files[0].schema.field("part").type == values.type
    assert {row["part"] for row in read(tmp_path, ["part"])} == set(values.to_pylist())


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for number in range(4):
        write_deltalake(tmp_path, rows(number), mode="append")
    names = [str(file.path) for file in open_input(str(tmp_path)).files]
    assert names == sorted(names)
    assert [Path(file.path).is_absolute() for file in describe_files(open_input(str(tmp_path)))]


def test_a_run_and_its_resumptions_read_the_version_it_began_with(bench: Any, crash: type) -> None:
    path = bench.folder / "customers"
    write_deltalake(path, rows(*range(20)))

    def at(step: Step) -> None:
        if step is Step.FINISH:
            raise crash

    bench.run(path, run_id="whole")
    with pytest.raises(crash):
        bench.run(path, at=at)
    write_deltalake(path, rows(100), mode="append")
    result = bench.run(path)
    assert result.manifest.input.given == f"delta:{path}@0"
    assert result.manifest.input.format == "delta"
    assert result.manifest.rows_in == 20
    assert bench.run(path).state == "already committed"
    assert bench.run(path, run_id="next").manifest.rows_in == 21
    with pytest.raises(InvalidInput, match="another content of the input"):
        bench.run(f"delta:{path}@1")


def test_vacuumed_file_is_named(tmp_path: Path) -> None:
    write_deltalake(tmp_path, rows(1, 2))
    write_deltalake(tmp_path, rows(3), mode="overwrite")
    table = DeltaTable(tmp_path)
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(InvalidInput, match=r"part-.*parquet: expected a readable delta file"):
        open_input(f"delta:{tmp_path}@0")
    assert [row["id"] for row in read(tmp_path, ["id"])] == ["c3"]


def test_tables_and_versions_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"delta:{tmp_path}: expected a Delta table, got"):
        open_input(f"delta:{tmp_path}")
    write_deltalake(tmp_path, rows(1))
    with pytest.raises(InvalidInput, match="a Delta table with version 7, got"):
        open_input(f"delta:{tmp_path}@7")


def test_a_table_that_maps_columns_is_refused(tmp_path: Path) -> None:
    write_deltalake(tmp_path, rows(1))
    log = tmp_path / "_delta_log" / ("0" * 20 + ".json")
    text = log.read_text()
    assert '"configuration":{}' in text
    mapped = '"configuration":{"delta.columnMapping.mode":"name"}'
    log.write_text(text.replace('"configuration":{}', mapped))
    with pytest.raises(InvalidInput, match="expected a"):
        open_input(str(tmp_path))


def with_deletion_vectors(folder: Path, rows_deleted: int) -> None:
    """Make a table whose log has the feature, and says that its first rows are gone."""
    write_deltalake(folder, rows(1, 2, 3))
    log = folder / "_delta_log"
    entries = [json.loads(line) for line in (log / f"{0:020}.json").read_text().splitlines()]
    (add,) = [entry["add"] for entry in entries if "add" in entry]
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }
    changes = [{"protocol": protocol}]
    if rows_deleted:
        remove = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
        vector = {
            "storageType": "i",
            "pathOrInlineDv": INLINE_VECTOR,
            "sizeInBytes": 36,
            "cardinality": rows_deleted,
        }
        changes += [{"remove": remove}, {"add": add | {"deletionVector": vector}}]
    (log / f"{1:020}.json").write_text("\n".join(json.dumps(change) for change in changes) + "\n")


def test_a_table_with_rows_deleted_by_vectors_is_refused(tmp_path: Path) -> None:
    with_deletion_vectors(tmp_path, 2)
    with pytest.raises(InvalidInput, match=r"deletion vectors in some of them\. REORG TABLE"):
        open_input(str(tmp_path))
    assert len(read(f"delta:{tmp_path}@0", ["id"])) == 3


def test_a_table_that_may_have_deletion_vectors_but_has_none_is_read(tmp_path: Path) -> None:
    with_deletion_vectors(tmp_path, 0)
    assert len(read(tmp_path, ["id"])) == 3


def test_a_table_whose_reader_features_are_not_known_is_refused(tmp_path: Path) -> None:
    with_deletion_vectors(tmp_path, 0)
    log = tmp_path / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace("deletionVectors", "rowsInTheClouds"))
    with pytest.raises(InvalidInput, match="rowsInTheClouds"):
        open_input(str(tmp_path))


def test_files_below_a_table_are_not_read_without_its_log(tmp_path: Path) -> None:
    table = rows(1, 2, day=pa.array(["1", "2"]))
    write_deltalake(tmp_path / "t", table, partition_by=["day"])
    for text in (tmp_path, tmp_path / "t" / "day=1", f"{tmp_path}/t/*/*.parquet"):
        with pytest.raises(InvalidInput, match=r"Delta table.*delta:"):
            open_input(str(text))


@pytest.mark.parametrize(
    ("text", "version"), [("delta:x", None), ("delta:x@3", 3), ("delta:a@b", None)]
)
def test_a_version_is_a_number_after_the_last_at(text: str, version: int | None) -> None:
    found = table_name(text)
    assert found is not None
    assert found.version == version


def test_only_the_same_table_without_a_version_is_pinned() -> None:
    new = TableName("/t", None)
    assert pinned(new, "delta:/t@4").version == 4
    assert pinned(new, "delta:/other@4").version is None
    assert pinned(new, "/t").version is None
    assert pinned(TableName("/t", 9), "delta:/t@4").version == 9
