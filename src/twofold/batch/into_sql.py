"""A table of a database as a target: the rows of a run in one transaction, with a line about them.

The line is in the table `twofold_deliveries` beside the target. Its primary key is what of two
deliveries of a run lets one through: the other waits for the first to end, and finds it done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlencode

import pyarrow as pa

from twofold.batch import adbc, duckdb
from twofold.batch.committed import Committed, streamed
from twofold.batch.query import POSTGRESQL, without_password, words_of
from twofold.batch.table_types import (
    DUCKDB,
    SQLITE,
    Dialect,
    TableColumn,
    table_column,
)
from twofold.batch.table_types import POSTGRESQL as POSTGRESQL_TYPES
from twofold.batch.target import DeliveryState, Look, NotDelivered, another_run, differing
from twofold.batch.watch import Step
from twofold.errors import InvalidInput, problem

DELIVERIES = "twofold_deliveries"
NAME = re.compile(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)')
MAX_NAME_BYTES = 63
"""PostgreSQL cuts off what is longer."""
ATTEMPTS = 3
REACH = "Mend the connection; passwords are taken from PGPASSWORD and ~/.pgpass."
NAMES = f"Choose another --run-id or table, or delete the rows of that run and its {DELIVERIES}."
MEND = "Leave it out of --keep, or convert it."
BEGIN = {
    # Each statement sees what was committed before it: also by whom it has waited for.
    "postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED",
    # One that reads first and writes later would be refused where it could have waited.
    "sqlite": "BEGIN IMMEDIATE",
    "duckdb": "BEGIN TRANSACTION",
}
DIALECTS: dict[str, Dialect] = {
    "postgresql": POSTGRESQL_TYPES,
    "sqlite": SQLITE,
    "duckdb": DUCKDB,
}
COLUMNS = {
    "postgresql": (
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = "
        "to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    ),
    "sqlite": "SELECT name, upper(type) FROM pragma_table_info($1)",
    "duckdb": (
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_catalog = "
        "current_database() AND lower(table_schema) = lower($1) AND lower(table_name) = lower($2) "
        "ORDER BY ordinal_position"
    ),
}
INSTANTS = {"postgresql": "timestamp with time zone", "sqlite": "text"}
NOTHING_TO_MEND = "Mend what it says."


class Writer(Protocol):
    """A connection that writes."""

    def ask(self, sql: str, *values: str | int) -> list[tuple[object, ...]]:
        """Execute a statement; give its rows."""
        ...

    def insert(self, schema: str | None, table: str, rows: pa.RecordBatchReader) -> None:
        """Insert rows."""
        ...


@dataclasses.dataclass(frozen=True)
class TableName:
    """A table, and the schema it is in; None is where the database looks by itself."""

    schema: str | None
    name: str

    @property
    def sql(self) -> str:
        """Quoted."""
        parts = [self.name] if self.schema is None else [self.schema, self.name]
        return ".".join(duckdb.quoted(part) for part in parts)

    def beside(self, name: str) -> TableName:
        """Another table in the same schema."""
        return TableName(self.schema, name)


@dataclasses.dataclass(frozen=True)
class IntoTable:
    """A table of a database.

    Attributes:
        name: As it is recorded, without a password.
        scheme: `postgresql`, `sqlite` or `duckdb`.
        table: Which.
        address: What the driver is given.
    """

    name: str
    scheme: str
    table: TableName
    address: str = dataclasses.field(repr=False)
    has_types = True

    def check(self, run_id: str, schema: pa.Schema | None) -> None:
        """See `Target.check`."""
        columns = None if schema is None else self._columns(schema)
        is_new = self.scheme != "postgresql" and not Path(self.address).exists()
        # The first delivery makes the file.
        with self._open(":memory:" if is_new else self.address) as writer:
            table = self._locate(writer)
            there = self._columns_of(writer, table)
            if there and columns is not None:
                _compare(columns, there)
            if self._columns_of(writer, table.beside(DELIVERIES)) and self._found(
                writer, table, run_id
            ):
                raise another_run(run_id, NAMES)

    def deliver(self, run: Committed, look: Look) -> DeliveryState:
        """See `Target.deliver`."""
        look.step(Step.DELIVER)
        columns = self._columns(run.schema())
        conflict: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                with self._open(self.address) as writer:
                    return self._deliver(writer, run, columns, look)
            except _Conflict as error:
                conflict = error
        got = str(conflict)
        fix = "Deliver it again, or mend what it says."
        raise NotDelivered("a table that others leave alone meanwhile", got, fix)

    def _deliver(
        self, writer: Writer, run: Committed, columns: Sequence[TableColumn], look: Look
    ) -> DeliveryState:
        writer.ask(BEGIN[self.scheme])
        table = self._prepared(writer, columns)
        if not self._claim(writer, table, run, look.now):
            return DeliveryState.ALREADY_DELIVERED
        schema = pa.schema([(column.name, column.type) for column in columns])
        with streamed(run, schema, look.rows) as rows:
            writer.insert(table.schema, table.name, rows)
        look.step(Step.DELIVER_COMMIT)
        self._commit(writer)
        return DeliveryState.DELIVERED

    def _prepared(self, writer: Writer, columns: Sequence[TableColumn]) -> TableName:
        """Find the table and the one of deliveries, or make them."""
        table = self._locate(writer)
        there = self._columns_of(writer, table)
        if not there or not self._columns_of(writer, table.beside(DELIVERIES)):
            if self.scheme == "postgresql":
                # Two at once would make it both, and one of them fail.
                writer.ask("SELECT pg_advisory_xact_lock(hashtext($1))", DELIVERIES)
            parts = [f"{duckdb.quoted(column.name)} {column.sql}" for column in columns]
            writer.ask(f"CREATE TABLE IF NOT EXISTS {table.sql} ({', '.join(parts)})")
            instant = INSTANTS.get(self.scheme, "timestamp with time zone")
            writer.ask(
                f"CREATE TABLE IF NOT EXISTS {table.beside(DELIVERIES).sql} ("
                "target_table text, run_id text, run text NOT NULL, generation bigint NOT NULL, "
                f'"rows" bigint NOT NULL, delivered_at {instant} NOT NULL, '
                "PRIMARY KEY (target_table, run_id))"
            )
            table = self._locate(writer)
            there = self._columns_of(writer, table)
        _compare(columns, there)
        return table

    def _claim(self, writer: Writer, table: TableName, run: Committed, now: str) -> bool:
        """Write the line about the run; False if one is there already that says as much."""
        deliveries = table.beside(DELIVERIES).sql
        instant = INSTANTS.get(self.scheme, "timestamp with time zone")
        key, rows = (self._key(table), run.run_id), run.manifest.rows_predicted
        # Waits for whoever has written the same line and not yet committed it.
        is_new = writer.ask(
            f"INSERT INTO {deliveries} VALUES ($1, $2, $3, $4, $5, CAST($6 AS {instant})) "  # noqa: S608 - quoted
            "ON CONFLICT (target_table, run_id) DO NOTHING RETURNING generation",
            *key,
            run.identity,
            run.generation,
            rows,
            now,
        )
        if is_new:
            return True
        ((identity, generation),) = self._found(writer, table, run.run_id, lock=True)
        if identity != run.identity:
            raise another_run(run.run_id, NAMES)
        if isinstance(generation, int) and generation >= run.generation:
            return False
        writer.ask(
            f'UPDATE {deliveries} SET generation = $1, "rows" = $2, delivered_at = '  # noqa: S608 - quoted
            f"CAST($3 AS {instant}) WHERE target_table = $4 AND run_id = $5",
            run.generation,
            rows,
            now,
            *key,
        )
        writer.ask(f"DELETE FROM {table.sql} WHERE run_id = $1", run.run_id)  # noqa: S608 - quoted
        return True

    def _commit(self, writer: Writer) -> None:
        try:
            writer.ask("COMMIT")
        except duckdb.Conflict:
            raise
        except (adbc.Failed, duckdb.Failed) as error:
            if isinstance(error, adbc.Failed) and error.code is not None:
                raise  # It was there to refuse.
            expected, got = "an answer to the commit", words_of(error, self.address)
            fix = "Deliver it again, which finds it there or delivers it."
            raise NotDelivered(expected, got, fix, is_unknown=True) from error

    @contextlib.contextmanager
    def _open(self, address: str) -> Generator[Writer]:
        opened = {
            "postgresql": adbc.write_postgresql,
            "sqlite": adbc.write_sqlite,
            "duckdb": duckdb.write,
        }[self.scheme](address)
        try:
            with opened as writer:
                yield writer
        except duckdb.Conflict as error:
            raise _Conflict(words_of(error, self.address)) from error
        except (adbc.Failed, duckdb.Failed) as error:
            got = words_of(error, self.address)
            fix = REACH if self.scheme == "postgresql" else NOTHING_TO_MEND
            raise NotDelivered("a database that takes the rows", got, fix) from error

    def _locate(self, writer: Writer) -> TableName:
        """The table with its schema, so that it has one name however it is called."""
        if self.scheme != "postgresql" or self.table.schema is not None:
            return self.table
        found = writer.ask(
            "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.oid = to_regclass($1)",
            self.table.sql,
        )
        ((schema,),) = found or writer.ask("SELECT current_schema()")
        if not isinstance(schema, str):
            got = "none on its search_path"
            raise NotDelivered("a schema for the table", got, "Name it: table=SCHEMA.TABLE.")
        return TableName(schema, self.table.name)

    def _columns_of(self, writer: Writer, table: TableName) -> dict[str, str]:
        """Names and types of a table's columns; none of no table."""
        values = {"postgresql": (table.sql,), "sqlite": (table.name,)}.get(
            self.scheme, (table.schema or "main", table.name)
        )
        rows = writer.ask(COLUMNS[self.scheme], *values)
        return {str(name): str(kind) for name, kind in rows}

    def _found(
        self, writer: Writer, table: TableName, run_id: str, *, lock: bool = False
    ) -> list[tuple[object, ...]]:
        sql = (
            f"SELECT run, generation FROM {table.beside(DELIVERIES).sql} "  # noqa: S608 - quoted
            "WHERE target_table = $1 AND run_id = $2"
        )
        sql += " FOR UPDATE" if lock and self.scheme == "postgresql" else ""
        return writer.ask(sql, self._key(table), run_id)

    def _key(self, table: TableName) -> str:
        # PostgreSQL tells names in capitals from others, the other two don't.
        return table.name if self.scheme == "postgresql" else table.name.lower()

    def _columns(self, schema: pa.Schema) -> list[TableColumn]:
        found: list[TableColumn] = []
        for field in schema:
            column = table_column(field.name, field.type, DIALECTS[self.scheme])
            if column is None:
                got = f"{field.name} of type {field.type}"
                raise NotDelivered(f"columns that {self.scheme} can have", got, MEND)
            found.append(column)
        return found


class _Conflict(Exception):
    """Another transaction was first; nothing of ours is there."""


def into_table(text: str) -> IntoTable:
    """Read `postgresql://USER@HOST/DB?table=NAME`, `sqlite:FILE?table=NAME`, `duckdb:...`.

    Raises:
        InvalidInput: It has no table, or a name that none can have; or a secret may be where it
            can't be told from the rest.
    """
    scheme, _, place = text.partition(":")
    if scheme in POSTGRESQL:
        shown = without_password(text, "--into")
        base, _, given = text.partition("?")
        parameters = parse_qsl(given, keep_blank_values=True)
        names = [value for name, value in parameters if name == "table"]
        rest = [(name, value) for name, value in parameters if name != "table"]
        address = base + ("?" + urlencode(rest) if rest else "")
        table = _table(shown, "postgresql", names)
        return IntoTable(shown, "postgresql", table, address)
    place, _, given = place.rpartition("?")
    names = [unquote(given.removeprefix("table="))] if given.startswith("table=") else []
    table = _table(text, scheme, names)
    path = Path(place).absolute()
    if not place or path.is_dir() or not path.parent.is_dir():
        wanted, got = "the file of a database, or a folder to make it in", repr(place)
        fix = f"Name it: {scheme}:FILE?table=NAME."
        raise InvalidInput(problem(f"--into {text}", wanted, got, fix))
    return IntoTable(f"{scheme}:{path}?{given}", scheme, table, str(path))


def _table(shown: str, scheme: str, names: Sequence[str]) -> TableName:
    where = f"--into {shown}"
    found = NAME.fullmatch(names[0]) if len(names) == 1 else None
    if found is None or "\0" in names[0]:
        got = repr(names[0]) if names else "none"
        fix = "End it with ?table=NAME, or ?table=SCHEMA.NAME; with quotes where a dot is no end."
        raise InvalidInput(problem(where, "the name of a table", got, fix))
    schema, name = (part and _unquoted(part) for part in found.groups())
    if name.lower() == DELIVERIES:
        fix = "Name another table."
        raise InvalidInput(problem(where, "a table for predictions", name, fix))
    if scheme == "sqlite":
        if schema not in {None, "main"}:
            fix = "Name the table alone: SQLite has no schemas in a file."
            raise InvalidInput(problem(where, "a table of the file", names[0], fix))
        return TableName(None, name)
    longest = max(len(part.encode()) for part in (schema or "", name))
    if scheme == "postgresql" and longest > MAX_NAME_BYTES:
        got = f"{longest}"
        fix = "Choose a shorter one."
        raise InvalidInput(problem(where, f"a name of {MAX_NAME_BYTES} bytes", got, fix))
    return TableName(schema, name)


def _unquoted(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def _compare(columns: Sequence[TableColumn], there: dict[str, str]) -> None:
    if error := differing({column.name: column.sql for column in columns}, there):
        raise error
