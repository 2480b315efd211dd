"""The store, with a server made by hand; tests/conformance has a real one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from twofold.errors import (
    CommitUnknown,
    ConfigError,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
)
from twofold.stores import postgresql
from twofold.stores import postgresql_sql as asked
from twofold.stores.copy_format import HEADER, TRAILER, checksum
from twofold.stores.open import open_store
from twofold.stores.postgresql import PostgresqlStore
from twofold.stores.psycopg import CommitFailed, Failed
from twofold.stores.snapshot import Pointer, Snapshot, encode_pointer, switched
from twofold.stores.store import Rows
from twofold.stores.values import encode_rows

AT = datetime(2026, 1, 31, tzinfo=UTC)
URL = "postgresql://me:hush@db/t"
LOST = Failed("the connection is lost", None, is_lost=True)


def snapshot(number: int, rows: int = 2) -> Snapshot:
    return Snapshot(
        name=f"{number}-x",
        number=number,
        model="churn",
        version="1",
        digest="d",
        run_id="night",
        run="x",
        as_of=AT,
        predicted_at=AT,
        published_at=AT,
        rows=rows,
        outputs=("prediction",),
        type="float64",
    )


def some_rows(count: int) -> Rows:
    keys = pa.array([b"%d" % n for n in range(count)], pa.binary())
    instants = pa.array([AT] * count, pa.timestamp("us", "UTC"))
    return Rows(keys, (pa.array([1.0] * count, pa.float64()),), instants)


class Server:
    """Has a pointer and a lock; what is asked is noted by its first words.

    Attributes:
        says: What is answered to a statement that begins so, or raised, instead of the usual.
        at_commit: Called instead of committing.
    """

    def __init__(self) -> None:
        self.pointer: bytes | None = None
        self.holder: Session | None = None
        self.says: dict[str, Any] = {}
        self.at_commit: Callable[[Session], None] | None = None
        self.asked: list[str] = []
        self.copied: list[bytes] = []

    def connect(self, address: Any, timeout_s: float) -> Session:
        if "CONNECT" in self.says:
            raise self.says["CONNECT"]
        return Session(self)


class Session:
    def __init__(self, server: Server) -> None:
        self.server, self.is_open = server, True
        self.moved: bytes | None = None

    def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        server = self.server
        server.asked.append(" ".join(text.split()[:2]))
        if not self.is_open:
            raise LOST
        for words, said in server.says.items():
            if text.startswith(words):
                if isinstance(said, Failed):
                    self.is_open = not said.is_lost
                    raise said
                return said
        if text == asked.TRY_LOCK:
            server.holder = server.holder or self
            return [(server.holder is self,)]
        if text.startswith("SELECT pointer"):
            return [] if server.pointer is None else [(server.pointer,)]
        if text.startswith("INSERT INTO") and "AS old" in text:
            self.moved = values[2]
            return [(1,)]
        usual = {asked.HOLDS_LOCK: server.holder is self, asked.HAS_TABLES: True}
        return [(usual[text],)] if text in usual else []

    @contextlib.contextmanager
    def transaction(self, limit_s: float | None = None) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.moved = None
            raise
        if self.moved is not None and self.server.at_commit is not None:
            self.server.at_commit(self)
        self.commit()

    def commit(self) -> None:
        if self.moved is not None:
            self.server.pointer, self.moved = self.moved, None

    def copy(self, text: str, chunks: Iterable[bytes], *, stall_s: float) -> None:
        self.server.copied += chunks

    def close(self) -> None:
        self.is_open = False
        if self.server.holder is self:
            self.server.holder = None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(postgresql, "Session", made.connect)
    monkeypatch.setattr(postgresql, "RETRY_S", 0.0)
    return made


@pytest.fixture
def store() -> PostgresqlStore:
    return PostgresqlStore(URL, timeout_s=0.01)


def test_an_address_of_another_kind_is_refused_and_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="expected a URL of PostgreSQL"):
        PostgresqlStore("postgresql://db/t?frob=1", timeout_s=1)
    assert repr(PostgresqlStore(URL, timeout_s=1)) == "postgresql://me@db/t"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_store_is_opened_by_its_url(scheme: str) -> None:
    store = open_store(f"{scheme}://me:hush@db/t?schema=s", timeout_s=1)
    assert isinstance(store, PostgresqlStore)
    assert repr(store) == f"{scheme}://me@db/t"


def test_names_of_models_are_checked_before_anything_is_asked(
    server: Server, store: PostgresqlStore
) -> None:
    for ask in (store.pointer, store.reader):
        with pytest.raises(InvalidInput, match="model name"):
            ask("../churn")
    with pytest.raises(InvalidInput, match="model name"), store.publishing("a b"):
        pass
    assert server.asked == []


def test_a_second_publisher_is_refused_until_the_first_is_done(
    server: Server, store: PostgresqlStore
) -> None:
    with store.publishing("churn"):
        with pytest.raises(LeaseHeld, match="postgresql://me@db/t: churn: expected no other"):
            store.publishing("churn").__enter__()
        assert server.holder is not None
    assert server.holder is None
    with store.publishing("churn"):
        pass


def test_tables_are_made_where_they_lack_and_a_schema_too(
    server: Server, store: PostgresqlStore
) -> None:
    with store.publishing("churn"):
        pass
    assert "CREATE TABLE" not in server.asked
    server.says = {asked.HAS_TABLES: [(False,)], asked.HAS_SCHEMA: [(True,)]}
    with store.publishing("churn"):
        pass
    assert "CREATE SCHEMA" not in server.asked
    assert server.asked.count("CREATE TABLE") == 3
    server.says = {asked.HAS_TABLES: [(False,)], asked.HAS_SCHEMA: [(False,)]}
    with store.publishing("churn"):
        pass
    assert server.asked.count("CREATE SCHEMA") == 1


def test_a_discarded_snapshot_is_dropped_unless_somebody_is_sent_to_it(
    server: Server, store: PostgresqlStore
) -> None:
    with store.publishing("churn") as publication:
        publication.discard(snapshot(1))
        assert server.asked.count("DROP TABLE") == 1
        # Whatever the publisher believes, this is where readers go.
        server.pointer = encode_pointer(Pointer(switches=1, current=snapshot(1)))
        publication.discard(snapshot(1))
        assert server.asked.count("DROP TABLE") == 1
        server.says = {"DROP TABLE": Failed("canceling statement", "55P03", is_lost=False)}
        with pytest.raises(StoreUnavailable, match="canceling statement"):
            publication.discard(snapshot(2))


def test_rows_are_sent_in_pieces_between_a_beginning_and_an_end(
    server: Server, store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "COPY_ROWS", 2)
    rows = [some_rows(3), some_rows(0), some_rows(2)]
    written = sum(checksum(some.keys.to_pylist(), encode_rows(some)) for some in rows)
    with store.publishing("churn") as publication:
        publication.write(snapshot(1, 5), rows)
        server.says = {"SELECT count(*)": [(5, str(written))]}
        assert publication.verify(snapshot(1, 5)) == 5
        server.says = {"SELECT count(*)": [(5, str(written + 1))]}
        with pytest.raises(TwofoldError, match=f"checksum {written:x}.*got 5 keys, checksum"):
            publication.verify(snapshot(1, 5))
    assert (server.copied[0], server.copied[-1]) == (HEADER, TRAILER)
    assert len(server.copied) == 2 + 3
    server.says = {}


def test_a_server_that_says_no_is_unavailable_in_its_words(
    server: Server, store: PostgresqlStore
) -> None:
    no = Failed("disk full", "53100", is_lost=False)
    with store.publishing("churn") as publication:
        server.says = {"CREATE UNIQUE INDEX": no}
        with pytest.raises(StoreUnavailable, match=r"postgresql://me@db/t: .* got disk full"):
            publication.write(snapshot(1), [some_rows(2)])
    server.says = {"CONNECT": no}
    with pytest.raises(StoreUnavailable, match="disk full"):
        store.pointer("churn")


def test_a_schema_that_lacks_is_an_empty_store(server: Server, store: PostgresqlStore) -> None:
    server.says = {"SELECT pointer": Failed("none", asked.UNDEFINED_TABLE, is_lost=False)}
    assert store.pointer("churn") == Pointer()
    server.says = {"SELECT pointer": Failed("no", "42501", is_lost=False)}
    with pytest.raises(StoreUnavailable, match="got no"):
        store.pointer("churn")


def test_the_pointer_is_moved_only_if_it_stands_where_it_stood(
    server: Server, store: PostgresqlStore
) -> None:
    first, second = (switched(Pointer(), snapshot(n)) for n in (1, 2))
    with store.publishing("churn") as publication:
        publication.point(first)
        assert publication.pointer == store.pointer("churn") == first
        server.pointer = encode_pointer(second)
        with pytest.raises(LeaseHeld, match="expected the snapshots as they were"):
            publication.point(switched(first, snapshot(3)))
        assert publication.pointer == first
    assert store.pointer("churn") == second


def test_deleting_that_fails_after_the_switch_is_left_to_the_next_publisher(
    server: Server, store: PostgresqlStore
) -> None:
    with store.publishing("churn") as publication:
        server.says = {"DELETE": LOST}
        publication.point(switched(Pointer(), snapshot(1)))
    assert store.pointer("churn").current == snapshot(1)


def lost_at_commit(server: Server, *, is_made: bool, is_over: bool) -> None:
    def commit(session: Session) -> None:
        if is_made:
            session.commit()
        session.is_open = False
        if is_over:
            session.close()
        session.moved = None
        raise CommitFailed("no answer", None, is_lost=True)

    server.at_commit = commit


@pytest.mark.parametrize("is_over", [True, False])
def test_a_commit_without_an_answer_that_was_made_is_made(
    server: Server, store: PostgresqlStore, is_over: bool
) -> None:
    with store.publishing("churn") as publication:
        lost_at_commit(server, is_made=True, is_over=is_over)
        publication.point(switched(Pointer(), snapshot(1)))
        assert publication.pointer.current == snapshot(1)


def test_a_commit_without_an_answer_was_not_made_only_if_its_session_is_over(
    server: Server, store: PostgresqlStore
) -> None:
    with store.publishing("churn") as publication:
        lost_at_commit(server, is_made=False, is_over=True)
        with pytest.raises(StoreUnavailable, match="no answer"):
            publication.point(switched(Pointer(), snapshot(1)))
    with store.publishing("churn") as publication:
        lost_at_commit(server, is_made=False, is_over=False)
        with pytest.raises(CommitUnknown, match="expected an answer to the switch"):
            publication.point(switched(Pointer(), snapshot(1)))


def test_a_commit_without_an_answer_is_unknown_if_somebody_published_since(
    server: Server, store: PostgresqlStore
) -> None:
    with store.publishing("churn") as publication:
        lost_at_commit(server, is_made=True, is_over=True)
        lose = server.at_commit
        assert lose is not None

        def publish(session: Session) -> None:
            try:
                lose(session)
            finally:
                server.pointer = encode_pointer(switched(store.pointer("churn"), snapshot(2)))

        server.at_commit = publish
        with pytest.raises(CommitUnknown, match="expected an answer to the switch"):
            publication.point(switched(Pointer(), snapshot(1)))


def test_a_commit_that_the_server_refused_was_not_made(
    server: Server, store: PostgresqlStore
) -> None:
    def refuse(session: Session) -> None:
        session.moved = None
        raise CommitFailed("could not serialize", "40001", is_lost=False)

    with store.publishing("churn") as publication:
        server.at_commit = refuse
        with pytest.raises(StoreUnavailable, match="could not serialize"):
            publication.point(switched(Pointer(), snapshot(1)))
        server.at_commit = None
        publication.point(switched(Pointer(), snapshot(1)))
