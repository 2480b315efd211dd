"""The store in a PostgreSQL: for many machines that have one anyway.

A snapshot is a table of its own, written in one transaction: a publisher who dies before its end
leaves nothing behind. The pointer is a line of a table, moved in one transaction. Who publishes
holds an advisory lock of his session, which ends with it, however that ends; so a PgBouncer
between has to pool sessions, not transactions, also because of the readers' prepared statements.
A reader may be sent to a replica, where it finds what has come there; what it would keep is
refused there.

Publishing makes the schema and its tables if they lack. A reader with a role of its own needs
USAGE of the schema, SELECT of its tables (ALTER DEFAULT PRIVILEGES gives it of those to come), and
to keep live predictions INSERT and UPDATE of `live` and UPDATE of `live_counts`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from twofold.errors import (
    CommitUnknown,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
    problem,
)
from twofold.model.names import check_name
from twofold.stores import postgresql_sql as asked
from twofold.stores.copy_format import (
    HEADER,
    TRAILER,
    checksum,
    copy_rows,
    shown_key,
    stored_keys,
)
from twofold.stores.postgresql_address import Address, parse_address
from twofold.stores.postgresql_reader import PostgresqlReader, unavailable
from twofold.stores.psycopg import CommitFailed, Failed, Keys, Session, check, render
from twofold.stores.snapshot import (
    Pointer,
    Snapshot,
    Stored,
    decode_pointer,
    encode_pointer,
)
from twofold.stores.store import Rows
from twofold.stores.values import Origins, decode_value, encode_rows

COPY_ROWS = 8_192
"""Of a piece that is sent."""
STALL_S = 60
"""Of a write: how long the server may take for a piece."""
WORK_S = 6 * 3600
"""Of a statement that reads or writes a whole snapshot; also the longest that one is written."""
DROP_WAIT_S = 2
"""For who reads a table that is to be dropped; who comes after him waits, too."""
FIND_KEYS = 10_000
"""Looked up in a statement."""
RETRY_S = 0.05


class PostgresqlStore:
    """The snapshots of all models, in a schema of a database."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Look at an address; nothing is asked of it yet.

        Args:
            url: `postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?schema=twofold]`, with any
                other parameter of libpq; a password may also be in PGPASSWORD or ~/.pgpass.
            timeout_s: Seconds an answer may take. To connect for publishing it is 2 at least, as
                libpq has it; writing and verifying a snapshot have limits of their own.

        Raises:
            ConfigError: It is no such address.
        """
        self._address = parse_address(url)
        self._timeout_s = timeout_s
        check(self._address)

    def __repr__(self) -> str:
        """Where it is, without a password."""
        return self._address.url

    @contextlib.contextmanager
    def publishing(self, model: str) -> Generator[PostgresqlPublication]:
        """See `Store`."""
        publication = PostgresqlPublication(self._address, check_name(model), self._timeout_s)
        try:
            yield publication
        finally:
            publication.close()

    def pointer(self, model: str) -> Pointer:
        """See `Store`."""
        with _told(self._address):
            session = Session(self._address, self._timeout_s)
            try:
                found = _read_pointer(session, self._address, check_name(model))
                return _decoded(found, self._address, model)
            finally:
                session.close()

    def reader(self, model: str) -> PostgresqlReader:
        """See `Store`."""
        return PostgresqlReader(self._address, check_name(model), self._timeout_s)


class PostgresqlPublication:
    """The right to publish snapshots of a model: a session, and the lock it holds."""

    def __init__(self, address: Address, model: str, timeout_s: float) -> None:
        """Take the right, and delete what somebody left who had it and died.

        Raises:
            LeaseHeld: Another session has it.
            StoreUnavailable: The store doesn't answer.
        """
        self._address, self._model, self._timeout_s = address, model, timeout_s
        self._written: dict[str, tuple[int, int]] = {}
        with _told(address):
            self._session = Session(address, timeout_s)
            try:
                self._lock_model(self._session)
                self._make_tables()
                self._read = _read_pointer(self._session, address, model)
                self._pointer = _decoded(self._read, address, model)
                self._clean()
            except BaseException:
                self._session.close()
                raise

    @property
    def pointer(self) -> Pointer:
        """See `Publication`."""
        return self._pointer

    def write(self, snapshot: Snapshot, rows: Iterable[Rows]) -> None:
        """See `Publication`.

        All or nothing of it is there afterwards.
        """
        table = self._table(snapshot)
        if snapshot.name in {item.name for item in self._pointer.kept}:
            fix = "Give each snapshot a name of its own."
            got = f"{snapshot.name}, which is there"
            raise InvalidInput(problem(self._model, "a new snapshot", got, fix))
        with _told(self._address), self._session.transaction(WORK_S):
            self._ask(asked.DROP, table=table)
            self._ask(asked.CREATE, table=table)
            words = f"{self._model} {snapshot.name}: {snapshot.run_id} by {snapshot.version}"
            self._session.ask(render(asked.COMMENT, self._address.schema, table, words))
            written = self._copy(table, rows)
            self._index(table)
            self._ask(asked.ANALYZE, table=table)
        self._written[snapshot.name] = written

    def _copy(self, table: str, rows: Iterable[Rows]) -> tuple[int, int]:
        """Write all rows; give how many, and their checksum."""
        count = total = 0

        def chunks() -> Iterator[bytes]:
            nonlocal count, total
            yield HEADER
            for some in rows:
                for piece in _pieces(some):
                    keys = stored_keys(piece.keys.to_pylist())
                    values = list(encode_rows(piece))
                    count += len(keys)
                    total += checksum(keys, values)
                    yield copy_rows(keys, values)
            yield TRAILER

        text = render(asked.COPY, self._address.schema, table)
        self._session.copy(text, chunks(), stall_s=STALL_S)
        return count, total

    def _index(self, table: str) -> None:
        self._session.ask("SAVEPOINT whole")
        try:
            self._ask(asked.CREATE_INDEX, table=table)
        except Failed as error:
            if error.code != asked.UNIQUE_VIOLATION:
                raise
            self._session.ask("ROLLBACK TO whole")
            # The server's words about it are in its own language.
            twice = self._ask(asked.TWICE, table=table)
            got = f"{shown_key(twice[0][0]) if twice else 'one'} twice"
            fix = "Predict each of them once; which of two predictions is meant, nobody can tell."
            raise InvalidInput(problem("key", "each key once", got, fix)) from error

    def verify(self, snapshot: Snapshot) -> int:
        """See `Publication`."""
        try:
            with _told(self._address), self._session.transaction(WORK_S):
                ((count, total),) = self._ask(asked.COUNT, table=self._table(snapshot))
        except StoreUnavailable as error:
            if isinstance(error.__cause__, Failed) and error.__cause__.code in asked.GONE:
                raise self._unlike(snapshot, "no table of it") from error
            raise
        written = self._written.get(snapshot.name)
        if written is not None and written != (count, int(total)):
            raise self._unlike(snapshot, f"{count} keys, checksum {int(total):x}")
        return count

    def _unlike(self, snapshot: Snapshot, got: str) -> TwofoldError:
        keys, total = self._written.get(snapshot.name, (snapshot.rows, None))
        wanted = f"{snapshot.name} as it was written ({keys} keys"
        wanted += ")" if total is None else f", checksum {total:x})"
        fix = "Publish the run again."
        return TwofoldError(problem(f"{self._address.url}: {self._model}", wanted, got, fix))

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        """See `Publication`."""
        wanted, origins = stored_keys(keys), Origins(snapshot)
        values: dict[bytes, bytes] = {}
        with _told(self._address):
            for first in range(0, len(wanted), FIND_KEYS):
                some = Keys(wanted[first : first + FIND_KEYS])
                values.update(self._ask(asked.FIND, some, table=self._table(snapshot)))
        found = [values.get(key) for key in wanted]
        try:
            return [
                None if value is None else decode_value(value, origins, with_features=True)
                for value in found
            ]
        except msgspec.DecodeError as error:
            raise self._unlike(snapshot, f"a value that says: {error}") from error

    def discard(self, snapshot: Snapshot) -> None:
        """See `Publication`."""
        with _told(self._address):
            self._drop(self._table(snapshot))
        self._written.pop(snapshot.name, None)

    def point(self, pointer: Pointer) -> None:
        """See `Publication`."""
        try:
            with _told(self._address), self._session.transaction():
                self._move(pointer)
        except StoreUnavailable as error:
            failed = error.__cause__
            if not isinstance(failed, CommitFailed) or not failed.is_lost:
                raise
            if not self._was_moved(pointer, error):
                raise
        self._pointer, self._read = pointer, encode_pointer(pointer)
        self._written.clear()
        # It was moved: what isn't deleted now, the next publisher deletes.
        with contextlib.suppress(Failed):
            self._clean()

    def _move(self, pointer: Pointer) -> None:
        schema, model = self._address.schema, self._model
        where = f"{self._address.url}: {model}"
        fix = "Look at `twofold snapshot list`, and publish again."
        lock = asked.lock_of(schema, model)
        if self._session.ask(asked.HOLDS_LOCK, lock) != [(True,)]:
            # As if a pool between us and the server gave us another of its sessions.
            raise LeaseHeld(problem(where, "the right to publish", "a session without it", fix))
        if _bytes_in(self._ask(asked.POINTER_TO_MOVE, model)) != self._read:
            raise LeaseHeld(problem(where, "the snapshots as they were", "others", fix))
        for item in pointer.kept:
            if self._session.ask(asked.HAS_TABLES, schema, [self._table(item)]) != [(True,)]:
                raise self._unlike(item, "no table of it")
        known = self._pointer.switches
        moved = self._session.ask(
            render(asked.MOVE, schema), model, pointer.switches, encode_pointer(pointer), known
        )
        if not moved:
            raise LeaseHeld(problem(where, "the snapshots as they were", "others", fix))
        self._ask(asked.COUNT_LIVE, model, pointer.switches)

    def _was_moved(self, pointer: Pointer, error: StoreUnavailable) -> bool:
        """Look whether a commit without an answer was made.

        Whoever gets the lock knows that the session is over which held it, and its commit with it.
        """
        wanted, found, is_over = encode_pointer(pointer), None, False
        ends_s = time.monotonic() + 2 * self._timeout_s
        while not is_over and found != wanted and time.monotonic() < ends_s:
            with contextlib.suppress(Failed):
                session = Session(self._address, self._timeout_s)
                try:
                    with contextlib.suppress(LeaseHeld):
                        self._lock_model(session)
                        is_over = True
                    found = _read_pointer(session, self._address, self._model)
                finally:
                    session.close()
            if not is_over and found != wanted:
                time.sleep(RETRY_S)
        if found == wanted:
            return True
        # Did somebody else move it since, ours may have been there before.
        if is_over and found == self._read:
            return False
        where, got = f"{self._address.url}: {self._model}", "none"
        fix = "Look at `twofold snapshot list` before you publish again."
        raise CommitUnknown(problem(where, "an answer to the switch", got, fix)) from error

    def close(self) -> None:
        """Give the right back."""
        self._session.close()

    def _lock_model(self, session: Session) -> None:
        lock = asked.lock_of(self._address.schema, self._model)
        if session.ask(asked.TRY_LOCK, lock) != [(True,)]:
            where = f"{self._address.url}: {self._model}"
            fix = "Wait for it, or stop it; then publish again."
            raise LeaseHeld(problem(where, "no other publisher", "one at work", fix))

    def _make_tables(self) -> None:
        """Make what lacks; who may not do so needs it made by somebody who may."""
        schema = self._address.schema
        if self._session.ask(asked.HAS_TABLES, schema, asked.OWN_TABLES) == [(True,)]:
            return
        with self._session.transaction():
            # Two at once would make them both, and one of them fail.
            self._session.ask(asked.LOCK_SCHEMA, asked.lock_of(schema))
            if self._session.ask(asked.HAS_SCHEMA, schema) != [(True,)]:
                self._ask(asked.CREATE_SCHEMA)
            for text in asked.CREATE_TABLES:
                self._ask(text)

    def _clean(self) -> None:
        """Delete what the pointer doesn't lead to, and nobody is sent to."""
        session, schema, model = self._session, self._address.schema, self._model
        with session.transaction(STALL_S):
            self._ask(asked.FORGET_LIVE, model, self._pointer.switches)
        for (table,) in session.ask(asked.TABLES, schema, asked.prefix_of(model)):
            # Who can't have it now leaves it to the next one.
            with contextlib.suppress(Failed):
                self._drop(table)

    def _drop(self, table: str) -> None:
        """Delete a snapshot that the pointer doesn't lead to."""
        model = self._model
        with self._session.transaction(STALL_S):
            self._session.ask(f"SET LOCAL lock_timeout = '{DROP_WAIT_S}s'")
            # Nobody sends a reader to it before it is gone, whatever he believes to hold.
            found = _bytes_in(self._ask(asked.POINTER_TO_KEEP, model))
            there = _decoded(found, self._address, model)
            kept = {item.name for item in (*self._pointer.kept, *there.kept)}
            if table not in {asked.table_of(model, name) for name in kept}:
                self._ask(asked.DROP, table=table)

    def _ask(self, template: str, *values: Any, table: str = "") -> list[tuple[Any, ...]]:
        return self._session.ask(render(template, self._address.schema, table), *values)

    def _table(self, snapshot: Snapshot) -> str:
        return asked.table_of(self._model, snapshot.name)


def _pieces(rows: Rows) -> Iterator[Rows]:
    for first in range(0, len(rows.keys), COPY_ROWS):
        features = rows.features
        yield Rows(
            rows.keys.slice(first, COPY_ROWS),
            tuple(column.slice(first, COPY_ROWS) for column in rows.predictions),
            rows.predicted_at.slice(first, COPY_ROWS),
            None if features is None else features.slice(first, COPY_ROWS),
        )


def _read_pointer(session: Session, address: Address, model: str) -> bytes | None:
    try:
        found = session.ask(render(asked.POINTER, address.schema), model)
    except Failed as error:
        if error.code in {asked.UNDEFINED_TABLE, asked.INVALID_SCHEMA}:
            return None  # nothing was ever published
        raise
    return _bytes_in(found)


def _bytes_in(found: Sequence[tuple[Any, ...]]) -> bytes | None:
    return found[0][0] if found else None


def _decoded(found: bytes | None, address: Address, model: str) -> Pointer:
    return Pointer() if found is None else decode_pointer(found, f"{address.url}: {model}")


@contextlib.contextmanager
def _told(address: Address) -> Generator[None]:
    """Say what a server says in our own words."""
    try:
        yield
    except Failed as error:
        raise unavailable(address, str(error)) from error
