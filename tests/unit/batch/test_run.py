"""Whole runs: what is written, what is set aside, what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.batch.run import RunState
from twofold.batch.settings import BatchSettings
from twofold.batch.stage import read_ledger, staging_folder
from twofold.errors import BudgetExceeded, InvalidInput, LeaseHeld, PredictionFailed, TwofoldError
from twofold.lease import hold_lease


def counting(count: int) -> list[float]:
    return [float(number) for number in range(count)]


def test_run_commits_key_prediction_version_run_and_instant_in_input_order(
    bench: Any, now: dt.datetime
) -> None:
    result = bench.run(bench.parquet(bench.table(counting(20))))
    table = bench.predictions()
    assert result.state is RunState.COMMITTED
    assert table.schema.names == ["id", "prediction", "model_version", "run_id", "predicted_at"]
    assert table.column("id").to_pylist() == [f"c{n}" for n in range(20)]
    assert table.column("prediction").to_pylist() == [2.0 * n for n in range(20)]
    assert set(table.column("model_version").to_pylist()) == {"1"}
    assert set(table.column("run_id").to_pylist()) == {"night"}
    assert set(table.column("predicted_at").to_pylist()) == {now}
    assert sorted(path.name for path in bench.committed.iterdir()) == [
        "manifest.json",
        "part-000000.parquet",
        "part-000001.parquet",
        "part-000002.parquet",
    ]


def test_manifest_lists_files_counts_and_what_they_were_made_of(
    bench: Any, now: dt.datetime
) -> None:
    as_of = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    source = bench.parquet(bench.table([1.0, None, *counting(10)]))
    result = bench.run(source, as_of=as_of)
    manifest = json.loads((bench.committed / "manifest.json").read_bytes())
    digests = bench.digests()
    assert [file["sha256"] for file in manifest["files"]] == [
        digests["part-000000.parquet"],
        digests["part-000001.parquet"],
    ]
    assert [file["rows"] for file in manifest["files"]] == [7, 4]
    assert manifest["quarantine"]["sha256"] == digests["quarantine.parquet"]
    assert (manifest["rows_in"], manifest["rows_predicted"], manifest["rows_quarantined"]) == (
        12,
        11,
        1,
    )
    assert manifest["model"] == {"name": "doubler", "version": "1", "digest": "digest-1"}
    assert manifest["input"]["given"] == str(source)
    assert manifest["as_of"] == "2026-01-31T00:00:00Z"
    assert manifest["started_at"] == now.isoformat().replace("+00:00", "Z")
    assert result.manifest == msgspec.json.decode(
        (bench.committed / "manifest.json").read_bytes(), type=type(result.manifest)
    )


def test_ledger_tells_when_each_partition_began_and_was_safe(bench: Any, now: dt.datetime) -> None:
    ticks = itertools.count()
    lock = threading.Lock()

    def clock() -> dt.datetime:
        with lock:
            return now + dt.timedelta(seconds=next(ticks))

    bench.run(bench.parquet(bench.table(counting(20))), clock=clock)
    entries = read_ledger(staging_folder(bench.output, "night")).finished
    assert len(entries) == 3
    times = [(entry.began_at, entry.finished_at) for entry in entries]
    for (began_at, finished_at), (then_at, _) in itertools.pairwise(times):
        assert now < began_at < finished_at
        assert began_at < then_at


@given(
    values=st.lists(st.sampled_from([1.0, None, float("inf"), 666.0]), max_size=40),
    partition_rows=st.integers(1, 15),
    batch_rows=st.integers(1, 15),
    kind=st.sampled_from(["parquet", "csv", "arrow"]),
)
def test_no_row_is_lost_or_doubled_whatever_is_bad_and_however_it_is_sliced(
    new_bench: Callable[[], Any],
    values: list[float | None],
    partition_rows: int,
    batch_rows: int,
    kind: str,
) -> None:
    bench = new_bench()
    source = getattr(bench, kind)(bench.table(values))
    settings = BatchSettings(
        workers=2,
        batch_rows=batch_rows,
        partition_rows=partition_rows,
        max_quarantined_ratio=1.0,
    )
    manifest = bench.run(source, settings=settings).manifest
    good = [index for index, value in enumerate(values) if value == 1.0]
    bad = [index for index, value in enumerate(values) if value != 1.0]
    assert bench.predictions().column("id").to_pylist() == [f"c{n}" for n in good]
    assert [(row["row"], row["key"]) for row in bench.set_aside()] == [(n, f"c{n}") for n in bad]
    assert manifest.rows_in == len(values) == manifest.rows_predicted + manifest.rows_quarantined
    for index, file in enumerate(manifest.files):
        span = range(index * partition_rows, (index + 1) * partition_rows)
        assert file.rows == len([row for row in good if row in span])


def test_quarantine_says_row_key_field_and_reason(bench: Any, poison: float) -> None:
    plans = ["basic", "pro", None, "gold", "basic", "pro", "pro", "pro"]
    values = [0.0, None, 2.0, 3.0, poison, 5.0, 6.0, 7.0]
    bench.run(bench.parquet(bench.table(values, plan=pa.array(plans, pa.string()))))
    rows = bench.set_aside()
    assert [(row["row"], row["key"], row["field"]) for row in rows] == [
        (1, "c1", "amount"),
        (3, "c3", "plan"),
        (4, "c4", ""),
    ]
    assert rows[1]["reason"].startswith("expected one of 'basic', 'pro', got ")
    assert rows[2]["reason"] == "the model raised ValueError: poison"
    assert bench.predictions().column("id").to_pylist() == ["c0", "c2", "c5", "c6", "c7"]


def test_bad_cells_and_lines_of_a_csv_are_set_aside_and_the_rest_is_predicted(bench: Any) -> None:
    source = bench.text(
        b"id,amount,plan\na,1.5,basic\nb,x,basic\nc,2\nd,3,\n\ne,4,caf\xe9\n,5,pro\ng,6,pro\n"
    )
    bench.run(source)
    assert bench.predictions().column("prediction").to_pylist() == [3.0, 6.0, 10.0, 12.0]
    assert bench.predictions().column("id").to_pylist() == ["a", "d", None, "g"]
    assert [(row["row"], row["key"], row["field"]) for row in bench.set_aside()] == [
        (1, "b", "amount"),
        (2, None, ""),
        (4, "e", "plan"),
    ]


def test_run_without_key_copies_kept_columns_of_any_type(bench: Any) -> None:
    lists = pa.array([[1], [], None, [2, 3]], pa.list_(pa.int32()))
    labels = pa.array(["x", "y", "x", None]).dictionary_encode()
    table = bench.table([0.0, 1.0, None, 3.0], note=lists, label=labels)
    bench.run(bench.parquet(table.drop(["id"])), key=None, keep=("note", "label"))
    found = bench.predictions()
    assert found.schema.names[:3] == ["note", "label", "prediction"]
    assert found.schema.field("note").type == pa.list_(pa.int32())
    assert found.column("note").to_pylist() == [[1], [], [2, 3]]
    assert found.column("label").to_pylist() == ["x", "y", None]
    assert bench.set_aside()[0]["key"] is None


def test_key_may_be_a_field_of_the_model_and_of_any_type(bench: Any) -> None:
    bench.run(bench.parquet(bench.table([0.5, None, 1.5]).drop(["id"])), key="amount")
    assert bench.predictions().column("amount").to_pylist() == [0.5, 1.5]
    assert bench.predictions().column("prediction").to_pylist() == [1.0, 3.0]


@pytest.mark.parametrize("kind", ["parquet", "csv", "arrow"])
def test_input_without_rows_commits_a_run_without_rows(bench: Any, kind: str) -> None:
    result = bench.run(getattr(bench, kind)(bench.table([])))
    assert result.manifest.rows_in == 0
    assert bench.predictions().num_rows == 0
    assert bench.predictions().schema.names[:2] == ["id", "prediction"]


def test_partition_of_bad_rows_only_leaves_an_empty_part(bench: Any) -> None:
    result = bench.run(bench.parquet(bench.table([None] * 8 + counting(9))))
    assert [file.rows for file in result.manifest.files] == [0, 8, 1]


def test_bytes_depend_on_neither_batches_nor_workers(bench: Any) -> None:
    source = bench.parquet(bench.table([*counting(9), None, *counting(9)]), row_group_size=4)
    digests: list[dict[str, str]] = []
    for number, (workers, batch_rows) in enumerate([(1, 1), (3, 2), (2, 100)]):
        settings = BatchSettings(workers=workers, batch_rows=batch_rows, partition_rows=8)
        run = bench.folder / str(number)
        bench.run(source, folder=run, settings=settings)
        committed = run / "out" / "night"
        digests.append({path.name: path.read_bytes().hex() for path in committed.glob("*.parquet")})
    assert digests[0] == digests[1] == digests[2]
    assert len(digests[0]) == 4


def test_model_that_is_not_concurrent_is_called_from_one_thread(
    bench: Any, doubler: Callable[..., Any]
) -> None:
    predictor = doubler(concurrent=False)
    settings = BatchSettings(workers=8, batch_rows=1, partition_rows=8)
    bench.run(bench.parquet(bench.table(counting(40))), predictor=predictor, settings=settings)
    assert len(predictor.threads) == 1


def test_progress_counts_every_row_and_ends_at_the_total(bench: Any) -> None:
    bench.run(bench.parquet(bench.table([None, *counting(19)])))
    done = [progress.rows_done for progress in bench.seen]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 20)
    assert {progress.rows_total for progress in bench.seen} == {20}
    assert bench.seen[-1].rows_quarantined == 1


def test_same_run_again_is_already_committed_and_nothing_is_written(bench: Any) -> None:
    source = bench.parquet(bench.table(counting(9)))
    first = bench.run(source)
    before = bench.everything()
    again = bench.run(source)
    assert again.state is RunState.ALREADY_COMMITTED
    assert again.manifest == first.manifest
    assert bench.everything() == before


@pytest.mark.parametrize("committed", [True, False])
@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"key": "amount"}, "another key column amount (was id)"),
        ({"keep": ("note",)}, "another kept columns note (was id)"),
        ({"settings": BatchSettings(partition_rows=9)}, "another partition_rows 9 (was 8)"),
        ({"as_of": dt.datetime(2025, 1, 1, tzinfo=dt.UTC)}, "another as_of 2025-01-01"),
        ({"version": "2"}, "another model doubler@2 (was doubler@1); another model digest"),
        ({"input": True}, "another content of the input"),
    ],
)
def test_same_run_id_for_something_else_is_refused_and_nothing_is_written(
    bench: Any,
    crash: type[BaseException],
    doubler: Callable[..., Any],
    changed: dict[str, Any],
    says: str,
    committed: bool,
) -> None:
    note = pa.array(["n"] * 9, pa.string())
    source = bench.parquet(bench.table(counting(9), note=note))
    bench.keep = ("id",)

    def stop(progress: Any) -> None:
        if not committed and progress.rows_done >= 8:
            raise crash

    try:
        bench.run(source, progress=stop)
    except crash:
        assert not committed
    before = bench.everything()
    changed = dict(changed)
    if changed.pop("input", False):
        source = bench.parquet(bench.table([5.0] * 9, note=note))
    if "version" in changed:
        changed["predictor"] = doubler(version=changed.pop("version"))
    with pytest.raises(InvalidInput) as caught:
        bench.run(source, **changed)
    assert says in str(caught.value)
    assert str(caught.value).startswith("--run-id night: expected the same run")
    assert bench.everything() == before


def test_another_version_of_the_code_goes_on_with_no_run_but_finds_the_committed_one(
    bench: Any, crash: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bench.parquet(bench.table(counting(9)))

    def stop(progress: Any) -> None:
        if progress.rows_done >= 8:
            raise crash

    with pytest.raises(crash):
        bench.run(source, progress=stop)
    with monkeypatch.context() as patch:
        patch.setattr("twofold.batch.run.CODE", "twofold 9, pyarrow 9")
        with pytest.raises(InvalidInput, match="another code twofold 9, pyarrow 9"):
            bench.run(source)
        assert not bench.committed.exists()
    assert bench.run(source).state is RunState.COMMITTED
    monkeypatch.setattr("twofold.batch.run.CODE", "twofold 9, pyarrow 9")
    assert bench.run(source).state is RunState.ALREADY_COMMITTED


@pytest.mark.parametrize("run_id", ["", "..", "../night", "a/b", ".night", "a" * 65, "n\x00"])
def test_run_id_that_could_leave_the_folder_is_refused(bench: Any, run_id: str) -> None:
    source = bench.parquet(bench.table(counting(1)))
    with pytest.raises(InvalidInput, match=r"^--run-id: expected"):
        bench.run(source, run_id=run_id)
    assert not bench.output.exists()


@pytest.mark.parametrize(
    ("changed", "columns", "says"),
    [
        ({}, {"extra": [1.0]}, "extra"),
        ({}, {"amount": None}, "amount"),
        ({"key": "customer"}, {}, "--key customer: expected a column, got only id, amount, plan"),
        ({"keep": ("where",)}, {}, "--keep where: expected a column"),
        ({"keep": ("prediction",)}, {"prediction": [1.0]}, "--keep: expected a name the run"),
        ({"key": "run_id"}, {"run_id": ["x"]}, "--key: expected a name the run"),
        ({"as_of": dt.datetime(2026, 1, 1)}, {}, "--as-of: expected"),
    ],
)
def test_columns_and_options_that_do_not_fit_are_refused_before_anything_is_written(
    bench: Any, changed: dict[str, Any], columns: dict[str, Any], says: str
) -> None:
    table = bench.table([1.0])
    for name, values in columns.items():
        table = table.drop([name]) if values is None else table.append_column(name, [values])
    with pytest.raises(InvalidInput) as caught:
        bench.run(bench.parquet(table), **changed)
    assert says in str(caught.value)
    assert not bench.output.exists()


def test_every_file_of_the_input_is_checked(bench: Any) -> None:
    bench.parquet(bench.table([1.0]), "in/a.parquet")
    bench.parquet(bench.table([1.0]).drop(["plan"]), "in/b.parquet")
    with pytest.raises(InvalidInput, match=r"b\.parquet\.plan: expected a column"):
        bench.run(bench.folder / "in")
    numbers = pa.array([1], pa.int64())
    bench.parquet(bench.table([1.0]).set_column(0, "id", numbers), "in/b.parquet")
    with pytest.raises(InvalidInput, match=r"b\.parquet\.id: expected string as in .*a\.parquet"):
        bench.run(bench.folder / "in")


def test_files_may_differ_in_the_types_that_the_model_converts(bench: Any) -> None:
    bench.parquet(bench.table([1.5]), "in/a.parquet")
    whole = pa.array([2, 3], pa.int64())
    bench.parquet(bench.table([0.0, 0.0]).set_column(1, "amount", whole), "in/b.parquet")
    bench.run(bench.folder / "in")
    assert bench.predictions().column("prediction").to_pylist() == [3.0, 4.0, 6.0]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_too_many_bad_rows_commit_nothing_and_show_the_reasons(bench: Any, kind: str) -> None:
    source = getattr(bench, kind)(bench.table([*counting(9), *[None] * 11]))
    with pytest.raises(BudgetExceeded) as caught:
        bench.run(source)
    shown = bench.staged / "quarantine.parquet"
    assert f"See {shown} for the reasons" in str(caught.value)
    assert "at most 0.5 of 20 rows set aside" in str(caught.value)
    assert not bench.committed.exists()
    rows = bench.set_aside(bench.staged)
    assert rows[0]["row"] == 9
    assert [row["row"] for row in rows] == list(range(9, 9 + len(rows)))
    assert len(rows) >= 10


def test_higher_budget_resumes_a_run_that_was_given_up(bench: Any) -> None:
    source = bench.parquet(bench.table([*counting(9), *[None] * 11]))
    with pytest.raises(BudgetExceeded):
        bench.run(source)
    generous = BatchSettings(workers=2, partition_rows=8, max_quarantined_ratio=0.6)
    result = bench.run(source, settings=generous)
    assert result.rows_resumed == 16  # up to the partition with the eleventh bad row
    assert result.manifest.rows_quarantined == 11
    assert not (bench.staged / "quarantine.parquet").exists()


def test_absolute_limit_stops_a_run_of_unknown_length_at_once(
    bench: Any, doubler: Callable[..., Any]
) -> None:
    calls: list[int] = []
    predictor = doubler(on_call=lambda: calls.append(1))
    source = bench.csv(bench.table([None, *counting(1), *[None] * 500]))
    settings = BatchSettings(workers=1, batch_rows=3, partition_rows=8, max_quarantined_rows=3)
    with pytest.raises(BudgetExceeded, match="at most 3 rows set aside"):
        bench.run(source, settings=settings, predictor=predictor)
    assert len(bench.set_aside(bench.staged)) < 10


def test_single_bad_row_among_two_does_not_stop_a_run(bench: Any) -> None:
    assert bench.run(bench.parquet(bench.table([1.0, None]))).manifest.rows_predicted == 1


def test_second_runner_of_a_run_is_turned_away(bench: Any) -> None:
    source = bench.parquet(bench.table(counting(3)))
    bench.staged.mkdir(parents=True)
    with hold_lease(bench.staged, "night"), pytest.raises(LeaseHeld):
        bench.run(source)
    bench.run(source)


def test_folder_that_is_no_run_is_left_alone(bench: Any) -> None:
    bench.committed.mkdir(parents=True)
    (bench.committed / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="expected a committed run or nothing"):
        bench.run(bench.parquet(bench.table(counting(1))))
    assert list(bench.everything()) == ["night/notes.txt"]


def test_input_written_to_during_the_run_is_noticed(bench: Any) -> None:
    source = bench.parquet(bench.table(counting(20)))

    def touch(progress: Any) -> None:
        if progress.rows_done:
            with source.open("ab") as file:
                file.write(b"more")

    with pytest.raises(InvalidInput, match="written to meanwhile"):
        bench.run(source, progress=touch)
    assert not bench.committed.exists()


def test_failure_that_is_not_about_rows_ends_the_run(
    bench: Any, doubler: Callable[..., Any]
) -> None:
    def fail() -> None:
        raise TwofoldError("the model is gone")

    with pytest.raises(TwofoldError, match="the model is gone"):
        bench.run(bench.parquet(bench.table(counting(3))), predictor=doubler(on_call=fail))
    assert not bench.committed.exists()


def test_model_that_fails_on_every_row_overdraws_the_budget(
    bench: Any, doubler: Callable[..., Any]
) -> None:
    def fail() -> None:
        raise PredictionFailed("the model raised OSError: gone")

    with pytest.raises(BudgetExceeded):
        bench.run(bench.parquet(bench.table(counting(30))), predictor=doubler(on_call=fail))
    assert bench.set_aside(bench.staged)[0]["reason"] == "the model raised OSError: gone"


def test_lines_that_are_no_rows_are_set_aside_with_their_number_and_reason(bench: Any) -> None:
    lines = [
        '{"id": 1, "amount": 1.5, "plan": "basic"}',
        '{"id": "b", "amount": "2", "plan": null}',
        '{"id": "c", "amount": 3',
        '{"id": "d", "amount": 4, "plan": "pro", "note": {"x": []}}',
        "[1, 2]",
        '{"id": "f", "plan": "pro"}',
        '{"id": "g", "amount": 7, "amount": 8, "plan": "pro"}',
        '{"id": "h", "amount": 8, "plan": "pro", "colour": "red"}',
    ]
    bench.settings = BatchSettings(max_quarantined_ratio=1.0)
    result = bench.run(bench.text("\n".join(lines), "in.jsonl"), keep=("plan",))
    assert result.manifest.input.format == "jsonl"
    assert bench.predictions().select(["id", "plan", "prediction"]).to_pylist() == [
        {"id": "1", "plan": "basic", "prediction": 3.0},
        {"id": "d", "plan": "pro", "prediction": 8.0},
    ]
    found = [(row["row"], row["key"], row["field"]) for row in bench.set_aside()]
    assert found == [
        (1, "b", "amount"),
        (2, None, ""),
        (4, None, ""),
        (5, "f", "amount"),
        (6, None, ""),
        (7, "h", "colour"),
    ]
    reasons = [row["reason"] for row in bench.set_aside()]
    assert reasons[0] == "expected float64, got string '2'. Send a number."
    assert reasons[2].startswith("expected a JSON object, got a list of 2. ")
    assert reasons[3] == "expected float64, got nothing. Send amount."
    assert reasons[4].startswith("expected each name once in an object, got string 'amount' twice")


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_field_that_only_folders_have_is_parsed_and_copied(bench: Any, kind: str) -> None:
    for amount in ("1.5", "2", "__HIVE_DEFAULT_PARTITION__"):
        folder = bench.folder / "in" / f"amount={amount}" / "plan=ba%73ic"
        folder.mkdir(parents=True)
        table = pa.table({"id": pa.array(["x", "y"])})
        if kind == "jsonl":
            (folder / "in.jsonl").write_text('{"id": "x"}\n{"id": "y"}\n')
        else:
            getattr(bench, kind)(table, f"{folder}/in.{kind}")
    bench.run(bench.folder / "in", keep=("amount", "plan"))
    found = bench.predictions().select(["id", "amount", "plan", "prediction"]).to_pydict()
    assert found == {
        "id": ["x", "y", "x", "y"],
        "amount": [1.5, 1.5, 2.0, 2.0],
        "plan": ["basic"] * 4,
        "prediction": [3.0, 3.0, 4.0, 4.0],
    }
    assert [(row["row"], row["key"], row["field"]) for row in bench.set_aside()] == [
        (4, "x", "amount"),
        (5, "y", "amount"),
    ]
