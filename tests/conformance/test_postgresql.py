"""A real PostgreSQL as the input of a run: at PGHOST and PGPORT, or 127.0.0.1:5432."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adbc_driver_postgresql import dbapi

import twofold
from twofold.app.batch import BatchSettings, RunRequest, Step, Watch, run_batch
from twofold.errors import InvalidInput

sys.path.insert(0, str(Path(__file__).parent))
from foreign import skip

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ.get("PGPORT", "5432"))
USER = os.environ.get("PGUSER", "postgres")
DATABASE = os.environ.get("PGDATABASE", "test")
URL = f"postgresql://{USER}@{HOST}:{PORT}/{DATABASE}"
ROWS = 3_000

MODEL = """
def predict(row):
    return row["amount"] * 2.0
"""


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
    folder = tmp_path_factory.mktemp("models")
    (folder / "plain_doubler.py").write_text(MODEL)
    sample = pa.table({"amount": pa.array([0.0, 1.0, 5000.0], pa.float64())})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        twofold.pack(
            "plain_doubler:predict", name="doubler", sample=sample, registry=folder / "registry"
        )
    return folder / "registry"


def run(registry: Path, output: Path, query: str, **more: Any) -> Any:
    request = RunRequest(
        model="doubler",
        input=more.pop("url", URL),
        output=output,
        registry=registry,
        key=more.pop("key", "id"),
        keep=more.pop("keep", ()),
        run_id="night",
        query=query,
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
