"""A real PostgreSQL as input and target of runs: at PGHOST and PGPORT, or 127.0.0.1:5432."""

from __future__ import annotations

import os
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi

from twofold.app.batch import (
    BatchSettings,
    RepairRequest,
    RunRequest,
    Step,
    Watch,
    deliver_run,
    repair_run,
    resume_run,
    run_batch,
)
from twofold.errors import DeliveryFailed, DeliveryUnknown, InvalidInput

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from doubler import pack_doubler
from foreign import skip

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ.get("PGPORT", "5432"))
USER = os.environ.get("PGUSER", "postgres")
DATABASE = os.environ.get("PGDATABASE", "test")
URL = f"postgresql://{USER}@{HOST}:{PORT}/{DATABASE}"
ROWS = 3_000


class Killed(BaseException):
    """Stands for the end of the process."""


def execute(*statements: str) -> None:
    with dbapi.connect(URL) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


@pytest.fixture(scope="module")
def server() -> None:
    try:
        socket.create_connection((HOST, PORT), timeout=5).close()
    except OSError as error:
        skip(f"needs PostgreSQL at {HOST}:{PORT} (PGHOST, PGPORT): {error}")


@pytest.fixture
def table(server: None) -> Iterator[str]:
    name = f"twofold_{uuid.uuid4().hex}"
    execute(
        f"CREATE TABLE {name} AS SELECT 'c' || n AS id, n::numeric(12, 2) AS amount, "
        f"md5(n::text)::uuid AS token, n::text AS note FROM generate_series(0, {ROWS - 1}) n"
    )
    yield name
    execute(f"DROP TABLE IF EXISTS {name}")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_doubler(tmp_path_factory.mktemp("models"), "plain_doubler")


def run(registry: Path, output: Path, query: str, **more: Any) -> Any:
    request = RunRequest(
        model="doubler",
        input=more.pop("url", URL),
        output=output,
        registry=registry,
        key=more.pop("key", "id"),
        keep=more.pop("keep", ()),
        run_id=more.pop("run_id", "night"),
        query=query,
        into=more.pop("into", ()),
    )
    settings = BatchSettings(partition_rows=1_000, batch_rows=500)
    return run_batch(request, settings=settings, watch=Watch(**more))


def rows_of(output: Path) -> list[dict[str, Any]]:
    parts = sorted((output / "night").glob("part-*.parquet"))
    return [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]


def test_a_query_is_predicted_and_numeric_and_uuid_come_as_files_have_them(
    registry: Path, tmp_path: Path, table: str
) -> None:
    query = f"SELECT id, amount, token FROM {table} ORDER BY amount"
    result = run(registry, tmp_path, query, keep=("token",))
    assert result.manifest.rows_in == result.manifest.rows_predicted == ROWS
    found = rows_of(tmp_path)
    assert [row["prediction"] for row in found] == [2.0 * n for n in range(ROWS)]
    assert str(uuid.UUID(found[0]["token"])) == found[0]["token"]


@pytest.mark.parametrize("kill", [Step.ANSWER, Step.FINISH, Step.COMMIT])
def test_the_query_is_asked_again_only_if_its_answer_was_not_kept(
    registry: Path, tmp_path: Path, table: str, kill: Step
) -> None:
    def at(step: Step) -> None:
        if step is kill:
            raise Killed

    query = f"SELECT id, amount FROM {table} ORDER BY amount"
    with pytest.raises(Killed):
        run(registry, tmp_path, query, step=at)
    if kill is Step.ANSWER:
        execute(f"UPDATE {table} SET amount = amount + 1")
    else:
        execute(f"DROP TABLE {table}")
    run(registry, tmp_path, query)
    more = 1 if kill is Step.ANSWER else 0
    found = [row["prediction"] for row in rows_of(tmp_path)]
    assert found == [2.0 * (n + more) for n in range(ROWS)]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT frob FROM {}", 'column "frob" does not exist'),
        ("UPDATE {} SET amount = 0 RETURNING id, amount", "read-only transaction"),
        ("SELECT id FROM {}", "expected a column, got only id"),
        ("SELECT id, amount FROM absent", 'relation "absent" does not exist'),
    ],
)
def test_what_is_refused_is_said_in_the_words_of_the_server(
    registry: Path, tmp_path: Path, table: str, query: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=says):
        run(registry, tmp_path, query.format(table))


def test_no_password_is_written_or_shown(registry: Path, tmp_path: Path, table: str) -> None:
    url = URL.replace("@", ":hush%21@")
    run(registry, tmp_path, f"SELECT id, amount FROM {table}", url=url)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"hush" in content for content in files)
    with pytest.raises(InvalidInput) as caught:
        run(registry, tmp_path / "2", "SELECT 1", url=url.replace(DATABASE, "absent_database"))
    assert "absent_database" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_types_come_as_the_signature_check_knows_them(
    registry: Path, tmp_path: Path, server: None
) -> None:
    query = (
        "SELECT 'a' AS id, 1.5::numeric AS amount, true AS flag, "
        "'2026-01-31 12:00+02'::timestamptz AS at, ARRAY[1, 2] AS list, "
        "'{\"a\": 1}'::jsonb AS doc, 0.1::numeric(38, 20) AS exact "
        "UNION ALL SELECT 'b', 'NaN', NULL, NULL, NULL, NULL, NULL"
    )
    keep = ("flag", "at", "list", "doc", "exact")
    result = run(registry, tmp_path, query, keep=keep)
    (first, *_) = rows_of(tmp_path)
    assert (first["flag"], first["list"], first["doc"]) == (True, [1, 2], '{"a": 1}')
    assert first["at"].isoformat() == "2026-01-31T10:00:00+00:00"
    assert first["exact"] == "0.10000000000000000000"
    assert result.manifest.rows_in == 2


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("'10.0.0.1'::inet", "inet"),
        ("interval '1 month 3 hours'", "interval"),
        ("ARRAY[interval '1 day']", "interval"),
        ("'12:00+02'::timetz", "timetz"),
        ("'(1,2)'::point", "point"),
        ("'$1.50'::money", "money"),
    ],
)
@pytest.mark.parametrize("use", ["id", "amount", "more"])
def test_types_that_no_file_has_are_refused_by_their_names(
    registry: Path, tmp_path: Path, server: None, value: str, kind: str, use: str
) -> None:
    """As the key, a field or a kept column."""
    columns = {"id": "'a'", "amount": "1.5", "more": "1"} | {use: value}
    query = "SELECT " + ", ".join(f"{value} AS {name}" for name, value in columns.items())
    with pytest.raises(InvalidInput, match=rf"^{URL}[:.] ?{use}: .*{kind}") as caught:
        run(registry, tmp_path, query, keep=("more",))
    assert "extension<" not in str(caught.value)
    assert not (tmp_path / "night").exists()


def answer(query: str) -> list[tuple[Any, ...]]:
    with dbapi.connect(URL) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


@pytest.fixture
def schema(server: None) -> Iterator[str]:
    """A schema that deliveries go to, with a name that wants quotes."""
    name = f"Marts {uuid.uuid4().hex[:8]}"
    execute(f'CREATE SCHEMA "{name}"')
    yield name
    execute(f'DROP SCHEMA "{name}" CASCADE')


def target_in(schema: str, url: str = URL) -> str:
    return f'{url}?table="{schema}"."Offers; %22%22 of today"'


def offers_in(schema: str) -> dict[str, float]:
    rows = answer(f'SELECT id, prediction FROM "{schema}"."Offers; "" of today"')
    assert len(dict(rows)) == len(rows)
    return dict(rows)


EXPECTED = {f"c{n}": 2.0 * n for n in range(ROWS)}


def test_a_run_is_delivered_once_with_a_line_about_it(
    registry: Path, tmp_path: Path, table: str, schema: str
) -> None:
    query = f"SELECT id, amount, token FROM {table} ORDER BY amount"
    into = (target_in(schema),)
    first = run(registry, tmp_path, query, keep=("token",), into=into)
    assert [(done.state, done.rows) for done in first.deliveries] == [("delivered", ROWS)]
    assert offers_in(schema) == EXPECTED
    lines = f'SELECT target_table, run_id, generation, "rows" FROM "{schema}".twofold_deliveries'
    assert answer(lines) == [('Offers; " of today', "night", 1, ROWS)]
    for again in (
        run(registry, tmp_path, query, keep=("token",), into=into),
        run(registry, tmp_path, query, keep=("token",)),
        resume_run(tmp_path, "night"),
        deliver_run(tmp_path, "night", into),
    ):
        assert [done.state for done in again.deliveries] == ["already delivered"]
    assert offers_in(schema) == EXPECTED
    sample = f'SELECT model_version, predicted_at FROM "{schema}"."Offers; "" of today" LIMIT 1'
    assert answer(sample) == [("1", first.manifest.predicted_at)]


@pytest.mark.parametrize("kill", [Step.COMMIT, Step.DELIVER, Step.DELIVER_COMMIT, Step.DELIVERED])
def test_a_delivery_that_is_cut_off_is_finished_by_resuming_the_run(
    registry: Path, tmp_path: Path, table: str, schema: str, kill: Step
) -> None:
    def at(step: Step) -> None:
        if step is kill:
            raise Killed

    query = f"SELECT id, amount FROM {table}"
    with pytest.raises(Killed):
        run(registry, tmp_path, query, into=(target_in(schema),), step=at)
    assert (tmp_path / "night").exists() == (kill is not Step.COMMIT)
    resumed = resume_run(tmp_path, "night")
    wanted = "already delivered" if kill is Step.DELIVERED else "delivered"
    assert [done.state for done in resumed.deliveries] == [wanted]
    assert offers_in(schema) == EXPECTED


def test_a_connection_lost_at_the_commit_is_unknown_and_the_same_again_tells(
    registry: Path, tmp_path: Path, table: str, schema: str
) -> None:
    def at(step: Step) -> None:
        if step is Step.DELIVER_COMMIT:
            others = "pid <> pg_backend_pid() AND state = 'idle in transaction'"
            mine = f"{others} AND query ILIKE '%%{schema}%%'"
            count = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {mine}"
            assert answer(count) == [(1,)]

    query = f"SELECT id, amount FROM {table}"
    into = (target_in(schema),)
    with pytest.raises(DeliveryUnknown, match="finish its delivery with: twofold batch deliver"):
        run(registry, tmp_path, query, into=into, step=at)
    again = run(registry, tmp_path, query, into=into)
    assert [done.state for done in again.deliveries] == ["delivered"]
    assert offers_in(schema) == EXPECTED


@pytest.mark.parametrize("is_new", [True, False])
def test_of_several_at_once_one_delivers_and_the_others_find_it(
    registry: Path, tmp_path: Path, table: str, schema: str, is_new: bool
) -> None:
    into = (target_in(schema),)
    run(registry, tmp_path, f"SELECT id, amount FROM {table}")
    if not is_new:
        other = f"SELECT 'x' || id AS id, amount FROM {table} LIMIT 10"
        run(registry, tmp_path, other, run_id="evening", into=into)
    states: list[str] = []
    together = threading.Barrier(4)

    def at(step: Step) -> None:
        if step is Step.DELIVER:
            together.wait()

    def go() -> None:
        found = deliver_run(tmp_path, "night", into, watch=Watch(step=at))
        states.extend(str(done.state) for done in found.deliveries)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["already delivered"] * 3 + ["delivered"]
    found = offers_in(schema)
    assert {key: found[key] for key in EXPECTED} == EXPECTED
    assert len(found) == ROWS + (0 if is_new else 10)


def test_a_repaired_run_takes_its_place(
    registry: Path, tmp_path: Path, table: str, schema: str
) -> None:
    execute(f"UPDATE {table} SET amount = NULL WHERE id = 'c7'")
    into = (target_in(schema),)
    run(registry, tmp_path, f"SELECT id, amount FROM {table} ORDER BY id", into=into)
    assert offers_in(schema) == {key: value for key, value in EXPECTED.items() if key != "c7"}
    aside = pq.ParquetFile(tmp_path / "night" / "quarantine.parquet").read()
    mended = pa.table({"row": aside.column("row"), "id": ["c7"], "amount": [7.0]})
    pq.write_table(mended, tmp_path / "fix.parquet")
    request = RepairRequest(str(tmp_path / "fix.parquet"), tmp_path, "night", registry)
    repair_run(request)
    done = deliver_run(tmp_path, "night")
    assert [found.state for found in done.deliveries] == ["delivered"]
    assert offers_in(schema) == EXPECTED
    assert [found.state for found in deliver_run(tmp_path, "night").deliveries] == [
        "already delivered"
    ]


def test_a_table_of_another_shape_is_refused_before_and_after(
    registry: Path, tmp_path: Path, table: str, schema: str
) -> None:
    execute(f'CREATE TABLE "{schema}"."Offers; "" of today" (id text, prediction real)')
    query = f"SELECT id, amount FROM {table}"
    says = "prediction as real instead of double precision"
    with pytest.raises(InvalidInput, match=says):
        run(registry, tmp_path, query, into=(target_in(schema),))
    assert not (tmp_path / "night").exists()
    run(registry, tmp_path, query, into=(f"sqlite:{tmp_path}/crm.db?table=p",))
    with pytest.raises(DeliveryFailed, match=says):
        deliver_run(tmp_path, "night", [target_in(schema)])


def test_a_table_is_one_however_it_is_called(registry: Path, tmp_path: Path, table: str) -> None:
    name = f"twofold_{uuid.uuid4().hex}"
    query = f"SELECT id, amount FROM {table}"
    run_id = "night"
    try:
        run(registry, tmp_path, query, into=(f"{URL}?table={name}",))
        again = deliver_run(tmp_path, run_id, [f"{URL}?table=public.{name}"])
        assert [done.state for done in again.deliveries] == ["already delivered"]
    finally:
        execute(
            f"DROP TABLE IF EXISTS {name}",
            f"DELETE FROM twofold_deliveries WHERE target_table = '{name}'",
        )


def test_no_password_of_a_target_is_written_or_shown(
    registry: Path, tmp_path: Path, table: str, schema: str
) -> None:
    url = URL.replace("@", ":hush%21@")
    query = f"SELECT id, amount FROM {table}"
    result = run(registry, tmp_path, query, into=(target_in(schema, url),))
    assert "hush" not in repr(result)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hush" in content for content in files)
    absent = target_in(schema, url.replace(DATABASE, "absent_database"))
    with pytest.raises(DeliveryFailed) as caught:
        deliver_run(tmp_path, "night", [absent])
    assert "absent_database" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_columns_come_as_postgresql_has_them(registry: Path, tmp_path: Path, schema: str) -> None:
    query = (
        "SELECT 'a' AS id, 1.5::float8 AS amount, true AS flag, 7::int2 AS small, "
        "'2026-01-31 12:00+02'::timestamptz AS at, ARRAY[1, 2] AS list, DATE '2026-01-31' AS day, "
        "TIME '12:30' AS clock, '\\x00ff'::bytea AS raw"
    )
    keep = ("flag", "small", "at", "list", "day", "clock", "raw")
    run(registry, tmp_path, query, keep=keep, into=(target_in(schema),))
    types = (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attnum > 0 AND "
        f'attrelid = \'"{schema}"."Offers; "" of today"\'::regclass'
    )
    found = dict(answer(types))
    assert (found["small"], found["list"]) == ("smallint", "integer[]")
    assert (found["at"], found["clock"]) == ("timestamp with time zone", "time without time zone")
    same = f"SELECT {', '.join(keep)} FROM ({query}) q"
    there = f'SELECT {", ".join(keep)} FROM "{schema}"."Offers; "" of today"'
    assert answer(there) == answer(same)
