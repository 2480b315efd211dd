"""A Delta table as a target, on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from twofold.batch.into_delta import IntoDelta, into_delta
from twofold.batch.target import NotDelivered
from twofold.batch.watch import Step
from twofold.errors import InvalidInput


@pytest.fixture
def target(tmp_path: Path) -> IntoDelta:
    return into_delta(f"delta:{tmp_path / 'lake' / 'predictions'}")


def rows_of(target: IntoDelta, run_id: str = "night") -> dict[str, float]:
    table = DeltaTable(target.root).to_pyarrow_table()
    rows = [row for row in table.to_pylist() if row["run_id"] == run_id]
    found = {row["id"]: row["prediction"] for row in rows}
    assert len(found) == len(rows)
    return found


def predicted(*without: int, rows: int = 20) -> dict[str, float]:
    return {f"c{n}": 2.0 * n for n in range(rows) if n not in without}


def test_a_run_is_appended_in_one_commit_and_once(bench: Any, target: IntoDelta) -> None:
    bench.run_with_bad_rows()
    counted: list[int] = []
    assert bench.deliver(target, rows=counted.append) == "delivered"
    assert counted[-1] == 18
    table = DeltaTable(target.root)
    assert (table.version(), rows_of(target)) == (1, predicted(1, 9))  # 0 made the table
    assert pa.schema(table.schema()).field("predicted_at").type == pa.timestamp("us", "UTC")
    assert bench.deliver(target) == "already delivered"
    assert DeltaTable(target.root).version() == 1


def test_runs_lie_beside_each_other_and_a_repaired_one_takes_its_own_place(
    bench: Any, target: IntoDelta
) -> None:
    bench.run_with_bad_rows()
    bench.run_with_bad_rows(run_id="later")
    bench.deliver(target)
    bench.deliver(target, run_id="later")
    bench.mend(9)
    before = DeltaTable(target.root).version()
    assert bench.deliver(target) == "delivered"
    assert DeltaTable(target.root).version() == before + 1
    assert rows_of(target) == predicted(1)
    assert rows_of(target, "later") == predicted(1, 9)
    assert bench.deliver(target) == "already delivered"
    bench.mend(1)
    bench.deliver(target)
    assert rows_of(target) == predicted()


def test_a_run_that_was_repaired_before_it_was_delivered_is_appended(
    bench: Any, target: IntoDelta
) -> None:
    bench.run_with_bad_rows()
    bench.mend(1, 9)
    assert bench.deliver(target) == "delivered"
    assert rows_of(target) == predicted()


def test_of_two_at_once_one_delivers_and_the_other_finds_it(bench: Any, target: IntoDelta) -> None:
    bench.run_with_bad_rows()
    inner: list[str] = []

    class Late(IntoDelta):
        def _write(self, *given: Any, **more: Any) -> None:
            if not inner:
                inner.append(bench.deliver(target))
            super()._write(*given, **more)

    assert bench.deliver(Late(target.root)) == "already delivered"
    assert inner == ["delivered"]
    assert rows_of(target) == predicted(1, 9)


def test_a_table_with_other_columns_is_refused_naming_them(bench: Any, target: IntoDelta) -> None:
    run = bench.run_with_bad_rows()
    write_deltalake(target.root, pa.table({"id": [1], "prediction": [0.5]}))
    with pytest.raises(NotDelivered, match=r"no model_version .string.*id as int64 instead of str"):
        target.check("night", run.schema())
    with pytest.raises(NotDelivered, match="id as int64"):
        bench.deliver(target)
    target.check("night", None)


def test_a_table_with_the_columns_in_another_order_is_the_same(
    bench: Any, target: IntoDelta
) -> None:
    run = bench.run_with_bad_rows(keep=("plan",))
    names = sorted(run.schema().names, reverse=True)
    DeltaTable.create(target.root, pa.schema([run.schema().field(name) for name in names]))
    target.check("night", run.schema())
    bench.deliver(target)
    assert rows_of(target) == predicted(1, 9)


def test_another_run_of_that_name_is_refused_before_and_after(
    bench: Any, target: IntoDelta, tmp_path: Path
) -> None:
    run = bench.run_with_bad_rows()
    bench.deliver(target)
    with pytest.raises(NotDelivered, match="no other run night there"):
        target.check("night", run.schema())
    target.check("morning", run.schema())
    other = type(bench)(tmp_path / "elsewhere")
    other.run_with_bad_rows(rows=21)
    with pytest.raises(NotDelivered, match="no other run night there"):
        other.deliver(target)
    assert rows_of(target) == predicted(1, 9)


def test_what_no_table_can_have_is_refused_naming_the_column(target: IntoDelta) -> None:
    with pytest.raises(NotDelivered, match=r"took of type duration\[s\]"):
        target.check("night", pa.schema([("took", pa.duration("s"))]))


def test_a_run_without_rows_is_delivered_too(bench: Any, target: IntoDelta) -> None:
    bench.run(bench.parquet(bench.table([])))
    assert bench.deliver(target) == "delivered"
    assert bench.deliver(target) == "already delivered"
    assert rows_of(target) == {}


def test_a_part_that_was_lost_leaves_the_table_as_it_is(bench: Any, target: IntoDelta) -> None:
    run = bench.run_with_bad_rows()
    (run.folder / run.manifest.files[-1].name).unlink()
    with pytest.raises(Exception, match="the file that the manifest lists"):
        bench.deliver(target)
    assert rows_of(target) == {}


def test_what_looks_on_can_end_it_before_the_commit(
    bench: Any, target: IntoDelta, crash: type
) -> None:
    def stop(_: object) -> None:
        raise crash

    bench.run_with_bad_rows()
    with pytest.raises(crash):
        bench.deliver(target, rows=stop)
    assert rows_of(target) == {}
    steps: list[Step] = []
    assert bench.deliver(target, at=steps.append) == "delivered"
    assert steps == [Step.DELIVER]
    assert rows_of(target) == predicted(1, 9)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("delta:", "expected the folder of a table, got none"),
        ("delta:lake@3", "expected a table, got a version of one"),
        ("delta:s3://user:pass@bucket/lake", "without a user, a password or a signature"),
    ],
)
def test_what_names_no_table_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        into_delta(text)


def test_a_table_is_recorded_by_where_it_is() -> None:
    assert into_delta("delta:lake/").name == f"delta:{Path.cwd() / 'lake'}"
    assert into_delta("delta:s3://bucket/lake/").name == "delta:s3://bucket/lake"


def test_a_place_that_can_have_no_table_is_said(bench: Any, tmp_path: Path) -> None:
    run = bench.run_with_bad_rows()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotDelivered):
        bench.deliver(IntoDelta(f"{tmp_path}/file/table"))
    assert run.folder.exists()
