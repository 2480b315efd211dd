"""Batch runs as the command line starts them: named, loaded, resumed with what they began with."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from twofold.app.batch import (
    BatchSettings,
    ExportRequest,
    Phase,
    RunRequest,
    RunState,
    Step,
    Watch,
    dated,
    deliver_run,
    export_quarantine,
    list_runs,
    resume_run,
    run_batch,
    run_status,
    write_report,
)
from twofold.batch.stage import staging_folder
from twofold.errors import BudgetExceeded, DeliveryFailed, InvalidInput, LeaseHeld, UnknownModel
from twofold.lease import hold_lease
from twofold.model.registry import Registry

NOW = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
OUT = Path("out")
SMALL = BatchSettings(workers=1, batch_rows=4, partition_rows=8)


class Crash(BaseException):
    """Stands for the end of the process."""


def watch(progress: Callable[[Any], None] = lambda _: None) -> Watch:
    return Watch(progress=progress, clock=lambda: NOW)


def crash_after(rows: int) -> Watch:
    def stop(progress: Any) -> None:
        if progress.rows_done >= rows:
            raise Crash

    return watch(stop)


def request(**changed: Any) -> RunRequest:
    asked: dict[str, Any] = {
        "model": "offer@1",
        "input": "in.parquet",
        "output": OUT,
        "registry": Path("registry"),
        "key": "customer",
        **changed,
    }
    return RunRequest(**asked)


def interrupt(**changed: Any) -> None:
    """Leave a run behind that has finished its first partition."""
    with pytest.raises(Crash):
        run_batch(request(run_id="night", **changed), settings=SMALL, watch=crash_after(8))


def predictions(run_folder: Path) -> list[dict[str, Any]]:
    parts = sorted(run_folder.glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts]).to_pylist()


@pytest.fixture
def source(folder: Path, table: pa.Table) -> pa.Table:
    """Twenty rows, in `in.parquet` of the current folder."""
    few = table.slice(0, 20)
    pq.write_table(few, "in.parquet")
    return few


def test_a_run_is_predicted_by_the_packed_model_and_committed(source: pa.Table) -> None:
    result = run_batch(request(run_id="night"), settings=SMALL, watch=watch())
    assert (result.state, result.folder) == (RunState.COMMITTED, OUT / "night")
    assert (result.manifest.rows_predicted, result.rows_resumed) == (20, 0)
    assert (result.manifest.model.name, result.manifest.model.version) == ("offer", "1")
    assert [(row["customer"], row["prediction"]) for row in predictions(result.folder)] == [
        (row["customer"], row["spend"] * (2.0 if row["plan"] == "pro" else 0.5))
        for row in source.to_pylist()
    ]


def test_the_bare_name_means_the_newest_version_or_the_champion(source: pa.Table) -> None:
    newest = run_batch(request(model="offer", run_id="a"), watch=watch())
    Registry("registry").set_alias("offer", "champion", "1")
    champion = run_batch(request(model="offer", run_id="b"), watch=watch())
    found = [run.manifest.model.version for run in (newest, champion)]
    assert found == ["2", "1"]


def test_without_settings_the_declared_defaults_hold(source: pa.Table) -> None:
    result = run_batch(request(run_id="night"), watch=watch())
    assert result.manifest.settings.partition_rows == BatchSettings().partition_rows == 131_072


def test_a_run_without_a_name_is_named_after_the_time_and_never_like_another(
    source: pa.Table,
) -> None:
    names = [run_batch(request(), watch=watch()).folder.name for _ in range(3)]
    assert names == ["20260131T235959Z", "20260131T235959Z-2", "20260131T235959Z-3"]


def test_an_interrupted_run_keeps_its_name(source: pa.Table) -> None:
    with pytest.raises(Crash):
        run_batch(request(), settings=SMALL, watch=crash_after(8))
    assert run_batch(request(), watch=watch()).folder.name == "20260131T235959Z-2"
    found = [(run.run_id, run.phase) for run in list_runs(OUT)]
    assert found == [
        ("20260131T235959Z", Phase.INTERRUPTED),
        ("20260131T235959Z-2", Phase.COMMITTED),
    ]


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"model": "nope"}, UnknownModel, "expected a model among: drifting, offer, got 'nope'"),
        ({"model": "offer@9"}, UnknownModel, "offer: expected a version among: 1, 2, got '9'"),
        ({"model": "../offer"}, InvalidInput, "model name: expected 1 to 64 letters"),
        (
            {"input": "no.parquet"},
            InvalidInput,
            "no.parquet: expected a Parquet, CSV, JSON Lines or Arrow IPC",
        ),
        ({"run_id": "../up"}, InvalidInput, "--run-id: expected 1 to 64 letters"),
        ({"run_id": ""}, InvalidInput, "--run-id: expected 1 to 64 letters"),
        ({"key": "nope"}, InvalidInput, "--key nope: expected a column, got only customer, spend"),
    ],
)
def test_what_is_wrong_with_the_request_is_said_before_anything_is_written(
    source: pa.Table, changed: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        run_batch(request(**changed), watch=watch())
    assert words in str(caught.value)
    assert not OUT.exists()


def test_a_resumed_run_has_the_bytes_of_one_that_was_never_interrupted(source: pa.Table) -> None:
    interrupt()
    resumed = resume_run(OUT, "night", settings=SMALL, watch=watch())
    assert (resumed.state, resumed.rows_resumed) == (RunState.COMMITTED, 8)
    other = run_batch(request(run_id="night", output=Path("other")), settings=SMALL, watch=watch())
    names = sorted(path.name for path in other.folder.iterdir())
    assert sorted(path.name for path in resumed.folder.iterdir()) == names
    for name in names:
        assert (resumed.folder / name).read_bytes() == (other.folder / name).read_bytes(), name


def test_resuming_takes_key_kept_columns_and_partition_size_from_the_ledger(
    source: pa.Table,
) -> None:
    interrupt(keep=("plan",))
    wanted = BatchSettings(workers=1, batch_rows=3, partition_rows=1_000)
    manifest = resume_run(OUT, "night", settings=wanted, watch=watch()).manifest
    assert (manifest.key, manifest.keep) == ("customer", ("plan",))
    assert manifest.settings.partition_rows == 8
    assert [file.rows for file in manifest.files] == [8, 8, 4]


def test_resuming_without_settings_keeps_the_partition_size_too(source: pa.Table) -> None:
    interrupt()
    assert resume_run(OUT, "night", watch=watch()).manifest.settings.partition_rows == 8


def test_resuming_predicts_with_the_version_the_run_began_with(source: pa.Table) -> None:
    Registry("registry").set_alias("offer", "champion", "1")
    interrupt(model="offer")
    Registry("registry").set_alias("offer", "champion", "2")
    manifest = resume_run(OUT, "night", watch=watch()).manifest
    assert manifest.model.version == "1"


def test_a_run_is_resumed_from_any_folder(
    source: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt()
    output = OUT.absolute()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume_run(output, "night", watch=watch()).manifest.rows_predicted == 20


def test_a_run_over_its_budget_is_resumed_with_a_larger_one(source: pa.Table) -> None:
    spend = source["spend"].to_pylist()
    spend[1] = None
    broken = source.set_column(1, "spend", pa.array(spend, pa.float64()))
    pq.write_table(broken, "in.parquet")
    strict = BatchSettings(workers=1, batch_rows=4, partition_rows=8, max_quarantined_rows=0)
    with pytest.raises(BudgetExceeded, match=r"^night: expected at most 0 rows set aside"):
        run_batch(request(run_id="night"), settings=strict, watch=watch())
    with pytest.raises(BudgetExceeded, match=r"^night: expected at most 0 rows set aside"):
        resume_run(OUT, "night", settings=strict, watch=watch())
    manifest = resume_run(OUT, "night", settings=SMALL, watch=watch()).manifest
    assert (manifest.rows_predicted, manifest.rows_quarantined) == (19, 1)


def test_resuming_a_committed_run_needs_neither_model_nor_input(source: pa.Table) -> None:
    done = run_batch(request(run_id="night"), watch=watch())
    shutil.rmtree("registry")
    Path("in.parquet").unlink()
    again = resume_run(OUT, "night", watch=watch())
    assert (again.state, again.folder) == (RunState.ALREADY_COMMITTED, OUT / "night")
    assert (again.manifest, again.rows_resumed, again.elapsed_s) == (done.manifest, 20, 0.0)


def test_resuming_a_committed_run_makes_sure_of_its_commit(
    source: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_batch(request(run_id="night"), watch=watch())
    synced: list[Path] = []
    monkeypatch.setattr("twofold.batch.stage.sync", synced.append)
    resume_run(OUT, "night", watch=watch())
    assert OUT in synced


def test_an_interrupted_run_needs_its_input_as_it_was(source: pa.Table) -> None:
    interrupt()
    pq.write_table(source.slice(1), "in.parquet")
    with pytest.raises(InvalidInput, match=r"^--run-id night: expected the same run as when it st"):
        resume_run(OUT, "night", watch=watch())
    Path("in.parquet").unlink()
    with pytest.raises(
        InvalidInput, match=r"in\.parquet: expected a Parquet, CSV, JSON Lines or Arrow IPC f"
    ):
        resume_run(OUT, "night", watch=watch())
    assert run_status(OUT, "night").phase is Phase.INTERRUPTED


def test_an_interrupted_run_needs_its_model(source: pa.Table) -> None:
    interrupt()
    shutil.rmtree("registry")
    with pytest.raises(UnknownModel, match="work/registry: expected a model among: none, got 'of"):
        resume_run(OUT, "night", watch=watch())


def test_a_run_at_work_is_left_to_its_process(source: pa.Table) -> None:
    interrupt()
    with (
        hold_lease(staging_folder(OUT, "night"), "night"),
        pytest.raises(LeaseHeld, match=r"^night: expected no other process on this run"),
    ):
        resume_run(OUT, "night", watch=watch())
    assert resume_run(OUT, "night", watch=watch()).state is RunState.COMMITTED


@pytest.mark.parametrize("run_id", ["nope", "../night", ""])
def test_a_run_that_does_not_exist_is_not_resumed(source: pa.Table, run_id: str) -> None:
    interrupt()
    with pytest.raises(InvalidInput, match=r"expected a run nope, got these: night|^run id: expec"):
        resume_run(OUT, run_id, watch=watch())


def test_rows_set_aside_are_handed_out_by_the_signature_of_the_runs_version(
    folder: Path, table: pa.Table
) -> None:
    rows = table.slice(0, 20).to_pylist()
    name = next(name for name in table.column_names if name != "customer")
    rows[3][name] = None
    pq.write_table(pa.Table.from_pylist(rows, table.schema), "in.parquet")
    manifest = run_batch(request(run_id="night"), settings=SMALL, watch=watch()).manifest
    asked = ExportRequest(OUT, "night", Path("aside.jsonl"))
    assert export_quarantine(asked, registry=Path("registry")) == manifest.rows_quarantined == 1
    (line,) = Path("aside.jsonl").read_bytes().splitlines()
    assert json.loads(line)["row"] == 3
    with pytest.raises(UnknownModel):
        export_quarantine(asked, registry=Path("nowhere"))


def test_a_report_that_cannot_be_written_leaves_what_was_there(source: pa.Table) -> None:
    manifest = run_batch(request(run_id="night"), settings=SMALL, watch=watch()).manifest
    write_report(manifest, Path("page.html"))
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    Path("page").mkdir()
    with pytest.raises(OSError, match="page"):
        write_report(manifest, Path("page"))
    assert not [path for path in Path().iterdir() if path.name.startswith(".page")]


def test_statistics_are_compared_with_the_sample_of_the_version(source: pa.Table) -> None:
    statistics = run_batch(
        request(run_id="night"), settings=SMALL, watch=watch()
    ).manifest.statistics
    assert statistics is not None
    assert statistics.rows == 20
    assert all(item.psi is not None and item.sample_rows > 0 for item in statistics.columns)


@pytest.fixture
def target(folder: Path, table: pa.Table) -> str:
    pq.write_table(table, "in.parquet")
    return f"sqlite:{folder}/crm.db?table=offers"


def delivered_to(target: str) -> list[tuple[str, int]]:
    path, _, table = target.removeprefix("sqlite:").partition("?table=")
    connection = sqlite3.connect(path)
    try:
        sql = f"SELECT run_id, count(*) FROM {table} GROUP BY 1 ORDER BY 1"
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def states(result: Any) -> list[tuple[str, str]]:
    return [(done.target, str(done.state)) for done in result.deliveries]


def crash_at(step: Step) -> Watch:
    def at(now: Step) -> None:
        if now is step:
            raise Crash

    return Watch(clock=lambda: NOW, step=at)


def test_a_committed_run_is_delivered_and_the_same_again_finds_it(target: str) -> None:
    asked = request(run_id="night", into=(target,))
    assert states(run_batch(asked)) == [(target, "delivered")]
    assert states(run_batch(asked)) == [(target, "already delivered")]
    assert states(run_batch(request(run_id="night"))) == [(target, "already delivered")]
    assert states(resume_run(OUT, "night")) == [(target, "already delivered")]
    assert delivered_to(target) == [("night", 100)]


@pytest.mark.parametrize("step", [Step.FINISH, Step.SYNC, Step.DELIVER_COMMIT, Step.DELIVERED])
def test_a_run_that_was_cut_off_goes_on_to_its_targets(target: str, step: Step) -> None:
    with pytest.raises(Crash):
        run_batch(request(run_id="night", into=(target,)), watch=crash_at(step))
    assert run_status(OUT, "night").into == (target,)
    wanted = "already delivered" if step is Step.DELIVERED else "delivered"
    assert states(resume_run(OUT, "night")) == [(target, wanted)]
    assert delivered_to(target) == [("night", 100)]


def test_targets_given_later_count_before_the_commit_and_are_added_after_it(target: str) -> None:
    other, third = target.replace("offers", "other"), target.replace("offers", "third")
    with pytest.raises(Crash):
        run_batch(request(run_id="night", into=(target,)), watch=crash_at(Step.COMMIT))
    assert states(run_batch(request(run_id="night", into=(other,)))) == [(other, "delivered")]
    again = run_batch(request(run_id="night", into=(third,)))
    assert states(again) == [(third, "delivered"), (other, "already delivered")]
    assert states(resume_run(OUT, "night")) == [(other, "already delivered")]


def test_a_committed_run_is_delivered_wherever_one_likes(target: str) -> None:
    run_batch(request(run_id="night"))
    with pytest.raises(InvalidInput, match="expected a target, got none, now or when it ran"):
        deliver_run(OUT, "night")
    done = deliver_run(OUT, "night", [target])
    assert (done.state, states(done)) == (RunState.ALREADY_COMMITTED, [(target, "delivered")])
    assert resume_run(OUT, "night").deliveries == ()


def test_only_a_committed_run_is_delivered(target: str) -> None:
    interrupt()
    with pytest.raises(InvalidInput, match="Resume it first: twofold batch resume night"):
        deliver_run(OUT, "night", [target])
    with pytest.raises(InvalidInput, match="expected a run absent"):
        deliver_run(OUT, "absent", [target])


def test_a_run_whose_delivery_failed_is_committed(target: str) -> None:
    def spoil(step: Step) -> None:
        if step is Step.DELIVER:
            with sqlite3.connect("crm.db") as connection:
                connection.execute("CREATE TABLE offers (x)")
            connection.close()

    watch = Watch(clock=lambda: NOW, step=spoil)
    with pytest.raises(DeliveryFailed, match=r"no customer .TEXT.*The run is committed in out/nig"):
        run_batch(request(run_id="night", into=(target,)), watch=watch)
    assert run_status(OUT, "night").phase is Phase.COMMITTED


@pytest.mark.usefixtures("folder")
def test_a_bad_target_is_refused_before_the_model_is_loaded() -> None:
    with pytest.raises(InvalidInput, match="--into"):
        run_batch(request(model="absent", into=("lake",)))
    with pytest.raises(InvalidInput, match="--into"):
        run_batch(request(model="absent", run_id="night", into=("lake",)))


def test_the_day_of_a_run_is_in_its_query_and_targets_too() -> None:
    asked = request(
        query="SELECT * FROM t WHERE day = '{date}' AND x ~ 'a{{2}}'",
        into=("delta:lake/{date:%Y}", "s3://bucket/x"),
    )
    found = dated(asked, "2026-01-31")
    assert found.query == "SELECT * FROM t WHERE day = '2026-01-31' AND x ~ 'a{2}'"
    assert found.into == ("delta:lake/2026", "s3://bucket/x")
    assert dated(request(), "2026-01-31").query is None
    with pytest.raises(InvalidInput, match=r"^--query: expected no placeholder but \{date\}"):
        dated(request(query="SELECT {day}"), "2026-01-31")
    with pytest.raises(InvalidInput, match=r"^--into: expected no placeholder but \{date\}"):
        dated(request(into=("delta:{day}",)), "2026-01-31")
