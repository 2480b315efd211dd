"""A query as an input: asked once, kept, read by every attempt."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from twofold.batch.query import parse_query, without_password
from twofold.batch.watch import Step
from twofold.errors import InvalidInput

ROWS = "SELECT id, amount, plan FROM customers ORDER BY id"


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (id TEXT, amount REAL, plan TEXT)")
        rows = [(f"c{n:02}", float(n), "basic") for n in range(20)]
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", rows)
    connection.close()
    return f"sqlite:{path}"


def change(database: str, statement: str) -> None:
    with sqlite3.connect(database.removeprefix("sqlite:")) as connection:
        connection.execute(statement)
    connection.close()


def test_the_answer_is_predicted_and_recorded_and_not_kept(bench: Any, database: str) -> None:
    result = bench.run(database, query=ROWS)
    assert bench.predictions().column("prediction").to_pylist() == [2.0 * n for n in range(20)]
    given = result.manifest.input
    assert (given.given, given.format, given.query) == (database, "sql", ROWS)
    assert (given.files[0].rows, given.files[0].digest[:7]) == (20, "sha256:")
    assert given.read_at is not None
    assert not (bench.attempt / "answer").exists()


def test_columns_that_nobody_needs_are_not_kept(bench: Any, database: str, crash: type) -> None:
    def at(step: Step) -> None:
        if step is Step.FINISH:
            raise crash

    with pytest.raises(crash):
        bench.run(database, query="SELECT *, 'x' AS note FROM customers", at=at)
    import pyarrow.parquet as pq

    found = pq.ParquetFile(bench.attempt / "answer" / "answer.parquet").schema_arrow.names
    assert found == ["id", "amount", "plan"]


@pytest.mark.parametrize(
    "step", sorted({*Step} - {Step.EXCHANGE} - {Step.DELIVER, Step.DELIVER_COMMIT, Step.DELIVERED})
)
def test_a_run_goes_on_with_the_answer_it_began_with(
    bench: Any, database: str, crash: type, step: Step
) -> None:
    bench.run(database, query=ROWS, run_id="whole")
    steps: list[Step] = []

    def at(now: Step) -> None:
        steps.append(now)
        if now is step:
            raise crash

    if step is Step.QUARANTINE:
        return  # nothing is set aside
    with pytest.raises(crash):
        bench.run(database, query=ROWS, at=at)
    if Step.FINISH in steps or step is Step.FINISH:
        change(database, "DROP TABLE customers")
    bench.run(database, query=ROWS)
    assert bench.predictions().column("prediction").to_pylist() == [2.0 * n for n in range(20)]
    assert not (bench.attempt / "answer").exists()


def test_an_answer_that_was_lost_is_asked_for_again_and_so_is_all_made_of_it(
    bench: Any, database: str, crash: type
) -> None:
    steps: list[Step] = []

    def at(step: Step) -> None:
        steps.append(step)
        if steps.count(Step.FINISH) == 2:
            raise crash

    with pytest.raises(crash):
        bench.run(database, query=ROWS, at=at)
    (bench.attempt / "answer" / "answer.parquet").write_bytes(b"")
    change(database, "UPDATE customers SET amount = amount + 100")
    bench.run(database, query=ROWS)
    found = bench.predictions().column("prediction").to_pylist()
    assert found == [2.0 * (n + 100) for n in range(20)]


def test_another_query_is_refused_in_its_words(bench: Any, database: str) -> None:
    bench.run(database, query=ROWS)
    with pytest.raises(InvalidInput, match=r"another query 'SELECT 1' \(was 'SELECT id"):
        bench.run(database, query="SELECT 1")
    assert bench.run(database, query=ROWS).state == "already committed"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT frob FROM customers", "no such column: frob"),
        ("SELECT id FROM customers", "expected a column, got only id"),
        ("SELECT id, id, amount FROM customers", "several named id"),
        ("DELETE FROM customers", "expected an answer, got"),
        (None, "expected a query, got none"),
    ],
)
def test_what_the_database_or_the_model_refuses_is_said(
    bench: Any, database: str, query: str | None, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        bench.run(database, query=query)
    assert not list(bench.output.rglob("answer.parquet"))


def test_a_query_without_a_database_and_a_database_that_is_not_there(bench: Any) -> None:
    path = bench.parquet(bench.table([1.0]))
    with pytest.raises(InvalidInput, match="--query: expected a database as INPUT"):
        bench.run(path, query="SELECT 1")
    with pytest.raises(InvalidInput, match="nothing there"):
        bench.run("sqlite:absent.db", query="SELECT 1")
    with pytest.raises(InvalidInput, match="the file of a database, got none"):
        bench.run("sqlite:", query="SELECT 1")


def test_duckdb_reads_files_itself(bench: Any) -> None:
    path = bench.parquet(bench.table([float(n) for n in range(20)]))
    query = f"SELECT id, amount * 10 AS amount, plan FROM '{path}' ORDER BY id DESC"
    bench.run("duckdb:", query=query)
    found = bench.predictions().column("prediction").to_pylist()
    assert sorted(found) == [20.0 * n for n in range(20)]
    with pytest.raises(InvalidInput, match="duckdb:: expected an answer, got"):
        bench.run("duckdb:", query="SELECT frob", run_id="other")


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("postgresql://me:hush@db/crm", "postgresql://me@db/crm"),
        ("postgres://me:hu%40sh@db:5432/crm?a=b", "postgres://me@db:5432/crm?a=b"),
        (
            "postgresql://db/crm?password=hush&sslmode=require",
            "postgresql://db/crm?sslmode=require",
        ),
        ("postgresql://me@db?sslpassword=hush", "postgresql://me@db"),
        ("postgresql:///crm", "postgresql:///crm"),
    ],
)
def test_passwords_are_no_part_of_what_is_recorded(url: str, kept: str) -> None:
    assert without_password(url) == kept
    query = parse_query(url, "SELECT 1")
    assert query is not None
    assert query.given == kept
    assert "hush" not in repr(query)


@pytest.mark.parametrize("url", ["postgresql://me:a@b@db/crm", "postgresql://me:a#b@db/crm"])
def test_a_password_that_cannot_be_told_from_the_rest_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="%40 for @") as caught:
        without_password(url)
    assert "a@b" not in str(caught.value)
