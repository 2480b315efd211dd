"""Deliveries of a run: which targets, checked before it, brought there after it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from twofold.batch.deliver import check_targets, deliver, target_of, targets_of
from twofold.batch.into_delta import IntoDelta
from twofold.batch.into_objects import IntoObjects
from twofold.batch.into_sql import IntoTable
from twofold.batch.manifest import read_manifest
from twofold.batch.part_files import part_format
from twofold.batch.stage import read_ledger
from twofold.batch.target import DeliveryState, NotDelivered
from twofold.batch.watch import Progress, Step, Watch
from twofold.errors import DeliveryFailed, DeliveryUnknown, InvalidInput


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("delta:lake", IntoDelta),
        ("delta:s3://bucket/lake", IntoDelta),
        ("s3://bucket/lake", IntoObjects),
        ("gs://bucket", IntoObjects),
        ("az://bucket/lake", IntoObjects),
        ("postgresql://me@there/db?table=p", IntoTable),
        ("postgres://me@there/db?table=p", IntoTable),
        ("sqlite:crm.db?table=p", IntoTable),
        ("duckdb:crm.db?table=p", IntoTable),
    ],
)
def test_a_target_is_what_its_text_says(text: str, kind: type) -> None:
    assert isinstance(target_of(text), kind)


@pytest.mark.parametrize("text", ["", "lake", "kafka:topic", "file:///lake", "mysql://me@there/db"])
def test_what_is_no_target_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"--into: .* Name one: delta:PATH, postgresql://"):
        target_of(text)


def test_a_target_that_is_given_twice_is_one_with_the_password_it_was_given() -> None:
    given = ["postgresql://me:hush@there/db?table=p", "postgresql://me@there/db?table=p"]
    (target,) = targets_of(given)
    assert isinstance(target, IntoTable)
    assert "hush" in target.address
    assert "hush" not in target.name


def test_what_a_target_cannot_take_is_refused_before_anything_is_predicted(
    bench: Any, tmp_path: Path
) -> None:
    source = bench.parquet(bench.table([1.0]))
    write_deltalake(tmp_path / "lake", pa.table({"id": [1]}))
    calls: list[Any] = []
    predictor = type(bench.predictor)(on_call=lambda: calls.append(1))
    for into, more, says in [
        (f"delta:{tmp_path}/lake", {}, r"no prediction .double."),
        ("sqlite:crm.db", {}, "the name of a table"),
        (f"sqlite:{tmp_path}/crm.db?table=p", {"format": "csv"}, "expected parts in parquet or"),
        ("postgresql://me@127.0.0.1:1/db?table=p", {}, "PGPASSWORD"),
    ]:
        with pytest.raises(InvalidInput, match=f"--into.*{says}"):
            bench.run(source, into=(into,), predictor=predictor, **more)
    assert calls == []
    assert not bench.staged.exists()


def test_of_a_query_the_columns_are_checked_once_it_is_answered(bench: Any, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "in.db") as connection:
        connection.execute("CREATE TABLE t AS SELECT 'c0' AS id, 1.0 AS amount, 'basic' AS plan")
    connection.close()
    write_deltalake(tmp_path / "lake", pa.table({"id": [1]}))
    with pytest.raises(InvalidInput, match=r"no prediction .double."):
        bench.run(
            f"sqlite:{tmp_path}/in.db", query="SELECT * FROM t", into=(f"delta:{tmp_path}/lake",)
        )
    assert not bench.committed.exists()


def test_targets_are_recorded_without_passwords_and_are_no_part_of_the_run(
    bench: Any, tmp_path: Path, crash: type
) -> None:
    def at(step: Step) -> None:
        if step is Step.COMMIT:
            raise crash

    source = bench.parquet(bench.table([1.0]))
    first, second = (f"sqlite:{tmp_path}/{name}.db?table=p" for name in "ab")
    with pytest.raises(crash):
        bench.run(source, into=(first,), at=at)
    started = read_ledger(bench.staged).started
    assert started is not None
    assert started.into == (first,)
    result = bench.run(source, into=(second,))
    assert result.manifest.into == (second,)
    assert bench.run(source).state == "already committed"
    assert read_manifest(bench.committed) == result.manifest


def test_a_delivery_that_fails_leaves_the_others_and_says_how_to_finish_it(
    bench: Any, tmp_path: Path
) -> None:
    run = bench.run_with_bad_rows()
    write_deltalake(tmp_path / "lake", pa.table({"id": [1]}))
    good = f"sqlite:{tmp_path}/crm.db?table=p"
    targets = targets_of([f"delta:{tmp_path}/lake", good])
    with pytest.raises(DeliveryFailed) as caught:
        deliver(run.folder, run.manifest, targets, Watch())
    said = str(caught.value)
    assert said.startswith(f"delivery to delta:{tmp_path}/lake failed: expected a table with")
    assert f"The run is committed in {run.folder}; finish its delivery with: " in said
    assert said.endswith(
        f"twofold batch deliver night --output {bench.output} --into delta:{tmp_path}/lake"
    )
    (done,) = deliver(run.folder, run.manifest, targets[1:], Watch())
    assert (done.target, done.state, done.rows) == (good, DeliveryState.ALREADY_DELIVERED, 18)


def test_a_commit_that_is_unknown_is_an_error_of_its_own(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any) -> None:
        raise NotDelivered("an answer", "none", "Deliver it again.", is_unknown=True)

    run = bench.run_with_bad_rows()
    monkeypatch.setattr(IntoTable, "deliver", lose)
    target = target_of(f"sqlite:{tmp_path}/crm.db?table=p")
    with pytest.raises(DeliveryUnknown, match="Deliver it again"):
        deliver(run.folder, run.manifest, [target], Watch())


def test_progress_and_steps_say_what_is_delivered(bench: Any, tmp_path: Path) -> None:
    run = bench.run_with_bad_rows()
    seen: list[Progress] = []
    steps: list[Step] = []
    watch = Watch(progress=seen.append, step=steps.append)
    target = target_of(f"delta:{tmp_path}/lake")
    deliver(run.folder, run.manifest, [target], watch)
    assert [(at.rows_done, at.rows_total, at.target) for at in (seen[0], seen[-1])] == [
        (0, 18, target.name),
        (18, 18, target.name),
    ]
    assert steps == [Step.DELIVER, Step.DELIVERED]


def test_csv_goes_to_object_stores_alone(bench: Any, tmp_path: Path) -> None:
    run = bench.run_with_bad_rows(format="csv")
    with pytest.raises(InvalidInput, match="files don't say the types"):
        deliver(run.folder, run.manifest, [target_of(f"delta:{tmp_path}/lake")], Watch())
    assert not (tmp_path / "lake").exists()
    with pytest.raises(InvalidInput, match="files don't say the types"):
        check_targets([target_of("delta:lake")], "night", part_format("csv"), None)
