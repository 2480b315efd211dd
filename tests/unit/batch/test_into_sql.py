"""A table of a database as a target: SQLite and DuckDB here, PostgreSQL in tests/conformance."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from twofold.batch import adbc
from twofold.batch import duckdb as ours
from twofold.batch.into_sql import IntoTable, TableName, into_table
from twofold.batch.target import NotDelivered
from twofold.batch.watch import Step
from twofold.errors import InvalidInput

BOTH = pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
Ask = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(params=["sqlite", "duckdb"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> IntoTable:
    return into_table(f"{request.param}:{tmp_path}/crm.db?table=Predictions")


def ask(target: IntoTable, sql: str) -> list[tuple[Any, ...]]:
    library: Any = sqlite3 if target.scheme == "sqlite" else duckdb
    connection = library.connect(target.address)
    try:
        found = connection.execute(sql).fetchall()
        if library is sqlite3:
            connection.commit()
        return found
    finally:
        connection.close()


def rows_of(target: IntoTable, run_id: str = "night") -> dict[str, float]:
    sql = f"SELECT id, prediction FROM {target.table.sql} WHERE run_id = '{run_id}'"
    rows = ask(target, sql)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def predicted(*without: int, rows: int = 20) -> dict[str, float]:
    return {f"c{n}": 2.0 * n for n in range(rows) if n not in without}


def lines_of(target: IntoTable) -> list[tuple[Any, ...]]:
    columns = 'target_table, run_id, generation, "rows"'
    return ask(target, f"SELECT {columns} FROM twofold_deliveries ORDER BY 2")


def test_rows_and_the_line_about_them_come_together_and_once(
    bench: Any, target: IntoTable, now: Any
) -> None:
    bench.run_with_bad_rows()
    counted: list[int] = []
    assert bench.deliver(target, rows=counted.append) == "delivered"
    assert counted[-1] == 18
    assert rows_of(target) == predicted(1, 9)
    assert lines_of(target) == [("predictions", "night", 1, 18)]
    ((at,),) = ask(target, "SELECT delivered_at FROM twofold_deliveries")
    assert now == (type(now).fromisoformat(at) if isinstance(at, str) else at)
    assert bench.deliver(target) == "already delivered"
    assert rows_of(target) == predicted(1, 9)


def test_a_repaired_run_takes_its_own_place(bench: Any, target: IntoTable) -> None:
    bench.run_with_bad_rows()
    bench.run_with_bad_rows(run_id="later")
    bench.deliver(target)
    bench.deliver(target, run_id="later")
    bench.mend(9)
    assert bench.deliver(target) == "delivered"
    assert rows_of(target) == predicted(1)
    assert rows_of(target, "later") == predicted(1, 9)
    assert lines_of(target) == [
        ("predictions", "later", 1, 18),
        ("predictions", "night", 2, 19),
    ]
    assert bench.deliver(target) == "already delivered"


@pytest.mark.parametrize("step", [Step.DELIVER, Step.DELIVER_COMMIT])
def test_what_is_cut_off_before_the_commit_leaves_nothing(
    bench: Any, target: IntoTable, crash: type, step: Step
) -> None:
    def at(now: Step) -> None:
        if now is step:
            raise crash

    bench.run_with_bad_rows()
    bench.run_with_bad_rows(run_id="later")
    bench.deliver(target, run_id="later")
    with pytest.raises(crash):
        bench.deliver(target, at=at)
    assert rows_of(target) == {}
    assert bench.deliver(target) == "delivered"
    bench.mend(9)
    with pytest.raises(crash):
        bench.deliver(target, at=at)
    assert rows_of(target) == predicted(1, 9)
    assert bench.deliver(target) == "delivered"
    assert rows_of(target) == predicted(1)


def test_what_is_cut_off_among_the_rows_leaves_nothing(
    bench: Any, target: IntoTable, crash: type
) -> None:
    def stop(rows: int) -> None:
        raise crash

    run = bench.run_with_bad_rows()
    with pytest.raises(crash):
        bench.deliver(target, rows=stop)
    (run.folder / run.manifest.files[-1].name).rename(bench.folder / "aside")
    with pytest.raises(Exception, match="the file that the manifest lists"):
        bench.deliver(target)
    (bench.folder / "aside").rename(run.folder / run.manifest.files[-1].name)
    assert bench.deliver(target) == "delivered"
    assert rows_of(target) == predicted(1, 9)


def test_of_two_at_once_one_delivers_and_the_other_finds_it(bench: Any, target: IntoTable) -> None:
    bench.run_with_bad_rows()
    bench.run_with_bad_rows(run_id="later")
    bench.deliver(target, run_id="later")  # makes the tables
    states: list[str] = []
    both = threading.Barrier(2)

    def at(step: Step) -> None:
        if step is Step.DELIVER:
            both.wait()

    def go() -> None:
        states.append(bench.deliver(target, at=at))

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["already delivered", "delivered"]
    assert rows_of(target) == predicted(1, 9)


def test_a_table_of_another_shape_is_refused_naming_what_differs(
    bench: Any, target: IntoTable
) -> None:
    run = bench.run_with_bad_rows()
    ask(target, "CREATE TABLE predictions (id TEXT, prediction INTEGER, x TEXT)")
    says = "no model_version .*x besides, prediction as INTEGER instead of (REAL|DOUBLE)"
    with pytest.raises(NotDelivered, match=says):
        target.check("night", run.schema())
    with pytest.raises(NotDelivered, match=says):
        bench.deliver(target)
    assert ask(target, "SELECT * FROM predictions") == []


def test_another_run_of_that_name_is_refused_before_and_after(
    bench: Any, target: IntoTable, tmp_path: Path
) -> None:
    run = bench.run_with_bad_rows()
    target.check("night", run.schema())
    assert not Path(target.address).exists()  # looking makes nothing
    bench.deliver(target)
    target.check("morning", run.schema())
    with pytest.raises(NotDelivered, match="no other run night there"):
        target.check("night", run.schema())
    other = type(bench)(tmp_path / "elsewhere")
    other.run_with_bad_rows(rows=21)
    with pytest.raises(NotDelivered, match="no other run night there"):
        other.deliver(target)
    assert rows_of(target) == predicted(1, 9)


def test_a_table_that_was_there_with_its_columns_in_another_order_is_filled_by_name(
    bench: Any, target: IntoTable
) -> None:
    bench.run_with_bad_rows()
    real = "REAL" if target.scheme == "sqlite" else "DOUBLE"
    text = "TEXT" if target.scheme == "sqlite" else "VARCHAR"
    instant = "TEXT" if target.scheme == "sqlite" else "TIMESTAMP WITH TIME ZONE"
    ask(
        target,
        f"CREATE TABLE PREDICTIONS (predicted_at {instant}, run_id {text}, prediction {real}, "
        f"model_version {text}, id {text})",
    )
    bench.deliver(target)
    assert rows_of(target) == predicted(1, 9)
    assert lines_of(target) == [("predictions", "night", 1, 18)]


def test_names_are_quoted_whatever_is_in_them(bench: Any, tmp_path: Path) -> None:
    name = "%22x%22%22; DROP TABLE y; --%22"
    for scheme in ("sqlite", "duckdb"):
        target = into_table(f"{scheme}:{tmp_path}/{scheme}.db?table={name}")
        assert target.table == TableName(None, 'x"; DROP TABLE y; --')
        bench.run_with_bad_rows(keep=("plan",), run_id=scheme)
        assert bench.deliver(target, run_id=scheme) == "delivered"
        assert rows_of(target, scheme) == predicted(1, 9)


def test_a_schema_of_duckdb_may_be_named_and_has_deliveries_of_its_own(
    bench: Any, tmp_path: Path
) -> None:
    target = into_table(f"duckdb:{tmp_path}/crm.db?table=marts.predictions")
    bench.run_with_bad_rows()
    with pytest.raises(NotDelivered, match="marts"):
        bench.deliver(target)
    ask(target, "CREATE SCHEMA marts")
    assert bench.deliver(target) == "delivered"
    assert rows_of(target) == predicted(1, 9)
    assert ask(target, "SELECT run_id FROM marts.twofold_deliveries") == [("night",)]


def test_columns_come_as_the_database_has_them(bench: Any, target: IntoTable) -> None:
    more = {
        "big": pa.array([2**64 - 1] * 3, pa.uint64()),
        "day": pa.array([0, 1, None], pa.date32()),
        "flag": pa.array([True, False, None]),
        "raw": pa.array([b"\0a", b"", None]),
        "note": pa.array(["a'b", "", None]).dictionary_encode(),
        "at": pa.array([1, 2, None], pa.timestamp("ns")),
    }
    bench.run(bench.parquet(bench.table([0.0, 1.0, 2.0], **more)), keep=tuple(more))
    bench.deliver(target)
    (first, *_, last) = ask(target, f"SELECT * FROM {target.table.sql}")
    assert str(first[1]) == "18446744073709551615"
    assert (first[3], first[4], first[5]) == (1, b"\0a", "a'b")
    assert str(first[2]) == "1970-01-01"
    assert last[2:7] == (None,) * 5


def test_what_the_database_cannot_have_is_refused_naming_the_column(target: IntoTable) -> None:
    with pytest.raises(NotDelivered, match=r"took of type duration\[s\]"):
        target.check("night", pa.schema([("took", pa.duration("s"))]))


def test_a_file_that_is_no_database_is_said(bench: Any, target: IntoTable) -> None:
    run = bench.run_with_bad_rows()
    Path(target.address).write_text("no database " * 1000)
    for go in (lambda: target.check("night", run.schema()), lambda: bench.deliver(target)):
        with pytest.raises(NotDelivered, match="a database that takes the rows") as caught:
            go()
        assert not caught.value.is_unknown


def test_a_run_without_rows_is_delivered_too(bench: Any, target: IntoTable) -> None:
    bench.run(bench.parquet(bench.table([])))
    assert bench.deliver(target) == "delivered"
    assert bench.deliver(target) == "already delivered"
    assert rows_of(target) == {}


@pytest.mark.parametrize("is_there", [True, False])
@BOTH
def test_a_commit_that_is_not_answered_is_unknown_and_a_retry_tells(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, is_there: bool
) -> None:
    target = into_table(f"{scheme}:{tmp_path}/crm.db?table=predictions")
    library: Any = adbc if scheme == "sqlite" else ours
    asked = library.Writer.ask

    def lose(self: Any, sql: str, *values: Any) -> Any:
        if sql != "COMMIT":
            return asked(self, sql, *values)
        if is_there:
            asked(self, sql)
        raise library.Failed("connection to the server was lost")

    bench.run_with_bad_rows()
    with monkeypatch.context() as patch:
        patch.setattr(library.Writer, "ask", lose)
        with pytest.raises(NotDelivered, match="Deliver it again, which finds it") as caught:
            bench.deliver(target)
    assert caught.value.is_unknown
    assert bench.deliver(target) == ("already delivered" if is_there else "delivered")
    assert rows_of(target) == predicted(1, 9)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sqlite:crm.db", "expected the name of a table, got none"),
        ("sqlite:crm.db?table=", "expected the name of a table, got ''"),
        ("sqlite:crm.db?table=a.b.c", "expected the name of a table, got 'a.b.c'"),
        ("sqlite:crm.db?table=other.b", "expected a table of the file, got other.b"),
        ("sqlite:crm.db?table=twofold_deliveries", "expected a table for predictions"),
        ("sqlite:?table=p", "the file of a database, or a folder to make it in, got ''"),
        ("duckdb:absent/crm.db?table=p", "a folder to make it in, got 'absent/crm.db'"),
        ("postgresql://me@there/db", "expected the name of a table, got none"),
        ("postgresql://me@there/db?table=a&table=b", "expected the name of a table"),
        (f"postgresql://me@there/db?table={'x' * 64}", "expected a name of 63 bytes, got 64"),
        ("postgresql://me:a@b@there/db?table=a", "--into: expected a URL postgresql://USER@HOST"),
    ],
)
def test_what_names_no_table_is_refused(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        into_table(text)


def test_a_password_is_used_and_never_recorded() -> None:
    target = into_table(
        "postgresql://me:hush%21@there:5/db?table=marts.p&sslmode=require&password=hush"
    )
    assert target.name == "postgresql://me@there:5/db?table=marts.p&sslmode=require"
    assert target.address == "postgresql://me:hush%21@there:5/db?sslmode=require&password=hush"
    assert target.table == TableName("marts", "p")
    assert "hush" not in repr(target)
    assert into_table(target.name).name == target.name
    assert into_table("sqlite:a?b.db?table=p").name == f"sqlite:{Path.cwd()}/a?b.db?table=p"
