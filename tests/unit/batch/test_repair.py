"""Mended rows of a quarantine take their places in the committed run, all at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.batch.run import RunState
from twofold.batch.watch import Step
from twofold.errors import CommitUnknown, InvalidInput, LeaseHeld, TwofoldError
from twofold.lease import hold_lease

# Of 28 rows in partitions of 8, these are bad: some at the ends of their partitions.
BAD = {0, 7, 8, 20, 27}
VALUES = [None if row in BAD else float(row) for row in range(28)]
MENDED = [float(row) for row in range(28)]


def mended_table(bench: Any, rows: Sequence[int], **columns: Any) -> pa.Table:
    table = bench.table([float(row) for row in range(30)]).take(pa.array(list(rows), pa.int64()))
    table = table.append_column("row", pa.array(list(rows), pa.int64()))
    for name, values in columns.items():
        kept = table.drop_columns([name]) if name in table.column_names else table
        table = kept.append_column(name, pa.array(values))
    return table


def mended(bench: Any, rows: Sequence[int], name: str = "fix.parquet", **columns: Any) -> Path:
    return bench.parquet(mended_table(bench, rows, **columns), name)


@pytest.fixture
def committed(bench: Any) -> Any:
    bench.run(bench.parquet(bench.table(VALUES)))
    return bench


def by_manifest(bench: Any) -> pa.Table:
    files = json.loads((bench.committed / "manifest.json").read_bytes())["files"]
    return pa.concat_tables(pq.ParquetFile(bench.committed / f["name"]).read() for f in files)


def test_repaired_run_has_the_rows_of_one_over_the_mended_input(committed: Any) -> None:
    result = committed.repair(mended(committed, [27, 0, 20, 8, 7]))
    assert result.state is RunState.COMMITTED
    manifest = result.manifest
    assert (manifest.rows_in, manifest.rows_predicted, manifest.rows_quarantined) == (28, 28, 0)
    assert manifest.quarantine is None
    right = committed.parquet(committed.table(MENDED), "right.parquet")
    wanted = committed.run(right, run_id="later")
    theirs = [(file.rows, file.bytes) for file in wanted.manifest.files]
    assert [(file.rows, file.bytes) for file in manifest.files] == theirs
    found = by_manifest(committed)
    assert found.column("prediction").to_pylist() == [2 * value for value in MENDED]
    assert found.column("id").to_pylist() == [f"c{row}" for row in range(28)]
    assert set(found.column("run_id").to_pylist()) == {"night"}


def test_folder_has_the_files_of_the_manifest_and_no_others(committed: Any) -> None:
    result = committed.repair(mended(committed, [7, 8]))
    names = {file.name for file in result.manifest.files}
    assert names == {
        "part-000000-repair-1.parquet",
        "part-000001-repair-1.parquet",
        "part-000002.parquet",
        "part-000003.parquet",
    }
    assert set(committed.digests()) == names | {"manifest.json", "quarantine.parquet"}
    digests = committed.digests()
    assert all(digests[file.name] == file.sha256 for file in result.manifest.files)
    assert not (committed.attempt / "parts").exists()


def test_row_that_is_still_bad_stays_in_the_quarantine_with_its_new_reason(committed: Any) -> None:
    before = {row["row"]: row for row in committed.set_aside()}
    fix = mended(committed, [7, 8], plan=["basic", "gold"])
    result = committed.repair(fix)
    after = {row["row"]: row for row in committed.set_aside()}
    assert sorted(after) == [0, 8, 20, 27]
    assert {row: after[row] for row in (0, 20, 27)} == {row: before[row] for row in (0, 20, 27)}
    assert (after[8]["key"], after[8]["field"]) == ("c8", "plan")
    assert "got 'gold'" in after[8]["reason"]
    assert result.manifest.rows_quarantined == 4
    (repair,) = result.manifest.repairs
    assert (repair.rows_in, repair.rows_predicted) == (2, 1)


def test_same_input_again_changes_nothing(committed: Any) -> None:
    fix = mended(committed, [7, 8])
    committed.repair(fix)
    before = committed.digests()
    assert committed.repair(fix).state is RunState.ALREADY_COMMITTED
    assert committed.digests() == before


def test_run_is_repaired_piece_by_piece(committed: Any) -> None:
    committed.repair(mended(committed, [7], "one.parquet"))
    committed.repair(mended(committed, [0, 8], "two.parquet"))
    result = committed.repair(mended(committed, [20, 27], "three.parquet"))
    assert [repair.rows_predicted for repair in result.manifest.repairs] == [1, 2, 2]
    assert by_manifest(committed).column("prediction").to_pylist() == [2 * v for v in MENDED]


def test_run_is_still_found_committed_by_its_own_input(committed: Any) -> None:
    committed.repair(mended(committed, [7]))
    result = committed.run(committed.folder / "in.parquet")
    assert result.state is RunState.ALREADY_COMMITTED
    assert len(result.manifest.repairs) == 1


def test_csv_of_a_spreadsheet_with_the_notes_of_the_quarantine_will_do(committed: Any) -> None:
    lines = ["row,id,amount,plan,field,reason", "7,c7,7,basic,amount,was null", "8,c8,8,basic,,"]
    committed.repair(committed.text("\n".join(lines) + "\n", "fix.csv"))
    found = by_manifest(committed)
    assert [row for row in range(28) if f"c{row}" not in found.column("id").to_pylist()] == [
        0,
        20,
        27,
    ]
    assert found.column_names == committed.predictions().column_names


@pytest.mark.parametrize(
    "step",
    [
        Step.TAKE_OVER,
        Step.WRITE,
        Step.RENAME,
        Step.QUARANTINE,
        Step.MANIFEST,
        Step.EXCHANGE,
        Step.SYNC,
    ],
)
def test_crash_leaves_the_run_as_it_was_or_repaired(
    committed: Any, crash: type[BaseException], step: Step
) -> None:
    before = committed.digests()
    fix = mended(committed, [7, 8, 20])

    def fall(at: Step) -> None:
        if at is step:
            raise crash

    with pytest.raises(crash):
        committed.repair(fix, at=fall)
    assert (committed.digests() == before) is (step is not Step.SYNC)
    again = committed.repair(fix)
    assert again.state is (RunState.ALREADY_COMMITTED if step is Step.SYNC else RunState.COMMITTED)
    assert by_manifest(committed).num_rows == 26
    assert not (committed.attempt / "parts").exists()


def test_repair_that_may_not_be_on_disk_is_called_neither_way(committed: Any) -> None:
    def fail(at: Step) -> None:
        if at is Step.SYNC:
            raise OSError(5, "Input/output error")

    fix = mended(committed, [7])
    with pytest.raises(CommitUnknown, match="run again with --run-id night"):
        committed.repair(fix, at=fail)
    assert committed.repair(fix).state is RunState.ALREADY_COMMITTED


def test_file_system_that_can_not_exchange_folders_is_named(
    committed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(one: Path, _: Path) -> None:
        raise OSError(22, "Invalid argument", str(one))

    monkeypatch.setattr("twofold.batch.stage.exchange", refuse)
    before = committed.digests()
    with pytest.raises(TwofoldError, match="expected a file system that can exchange folders"):
        committed.repair(mended(committed, [7]))
    assert committed.digests() == before


def test_reader_that_knows_the_manifest_of_before_finds_no_other_rows(committed: Any) -> None:
    before = json.loads((committed.committed / "manifest.json").read_bytes())
    committed.repair(mended(committed, [7]))
    after = committed.digests()
    for file in before["files"]:
        assert after.get(file["name"], file["sha256"]) == file["sha256"]


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([7, 9], {}, "row 9: expected a row of the quarantine"),
        ([7, 28], {}, "row 28: expected a row of the quarantine"),
        ([7, 7], {}, "row 7: expected each row once, got it twice"),
        ([7], {"id": ["c8"]}, "row 7: expected the key 'c7', got 'c8'"),
        ([7], {"row": pa.array([None], pa.int64())}, "row: expected the number of a row, got null"),
        ([7], {"note_to_self": ["x"]}, "note_to_self"),
    ],
)
def test_rows_that_do_not_belong_there_are_refused_and_nothing_changes(
    committed: Any, rows: list[int], columns: dict[str, Any], said: str
) -> None:
    before = committed.digests()
    with pytest.raises(InvalidInput) as caught:
        committed.repair(mended(committed, rows, **columns))
    assert said in str(caught.value)
    assert committed.digests() == before


def test_input_without_row_numbers_is_refused(committed: Any) -> None:
    with pytest.raises(InvalidInput, match="row"):
        committed.repair(committed.parquet(committed.table(MENDED[:3]), "fix.parquet"))


def test_model_must_be_the_one_of_the_run(committed: Any, doubler: Callable[..., Any]) -> None:
    with pytest.raises(InvalidInput, match="expected the version of the run, got another content"):
        committed.repair(mended(committed, [7]), predictor=doubler(version="2"))


def test_run_that_is_not_committed_is_refused(bench: Any) -> None:
    with pytest.raises(InvalidInput, match="expected a committed run, got none"):
        bench.repair(mended(bench, [7]))


def test_run_without_quarantine_has_nothing_to_repair(bench: Any) -> None:
    bench.run(bench.parquet(bench.table(MENDED)))
    with pytest.raises(InvalidInput, match="expected rows set aside, got none"):
        bench.repair(mended(bench, [7]))


def test_run_in_csv_is_refused_because_it_does_not_say_its_types(bench: Any) -> None:
    bench.run(bench.parquet(bench.table(VALUES)), format="csv")
    with pytest.raises(InvalidInput, match="expected parts in parquet or arrow, got csv"):
        bench.repair(mended(bench, [7]))


def test_run_in_arrow_is_repaired_too(bench: Any) -> None:
    bench.run(bench.parquet(bench.table(VALUES)), format="arrow")
    result = bench.repair(mended(bench, sorted(BAD)))
    tables = [
        pa.ipc.open_file(bench.committed / file.name).read_all() for file in result.manifest.files
    ]
    predictions = pa.concat_tables(tables).column("prediction").to_pylist()
    assert predictions == [2 * value for value in MENDED]


def test_part_that_is_no_longer_what_was_written_is_refused(committed: Any) -> None:
    part = committed.committed / "part-000000.parquet"
    data = bytearray(part.read_bytes())
    data[10] ^= 1
    part.write_bytes(data)
    with pytest.raises(InvalidInput, match="expected the file that the manifest lists"):
        committed.repair(mended(committed, [7]))


def test_run_that_another_process_works_on_is_left_alone(committed: Any) -> None:
    with hold_lease(committed.staged, "night"), pytest.raises(LeaseHeld):
        committed.repair(mended(committed, [7]))


@settings(max_examples=25, deadline=None)
@given(bad=st.sets(st.integers(0, 27)), mend=st.sets(st.integers(0, 27)), again=st.booleans())
def test_predicted_and_set_aside_are_always_all_rows(
    new_bench: Callable[[], Any], bad: set[int], mend: set[int], *, again: bool
) -> None:
    bench = new_bench()
    values = [None if row in bad else float(row) for row in range(28)]
    bench.settings = type(bench.settings)(
        workers=1, batch_rows=3, partition_rows=8, max_quarantined_ratio=1.0
    )
    bench.run(bench.parquet(bench.table(values)))
    rows = sorted(bad & mend)
    if not rows:
        return
    fix = mended(bench, rows)
    manifest = bench.repair(fix).manifest
    if again:
        manifest = bench.repair(fix).manifest
    assert manifest.rows_in == 28 == manifest.rows_predicted + manifest.rows_quarantined
    assert {row["row"] for row in bench.set_aside()} == bad - mend
    ids = by_manifest(bench).column("id").to_pylist()
    assert ids == [f"c{row}" for row in range(28) if row not in bad - mend]
