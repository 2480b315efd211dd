"""What only the store in PostgreSQL promises; test_stores.py has what every store does.

The server is at PGHOST and PGPORT, or 127.0.0.1:5432.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
import pytest

from twofold.errors import (
    CommitUnknown,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
)
from twofold.stores import postgresql_reader
from twofold.stores import postgresql_sql as asked
from twofold.stores.postgresql import PostgresqlStore
from twofold.stores.snapshot import Origin, Pointer, Snapshot, Stored, rolled_back, switched
from twofold.stores.store import Found, Publication, Rows

sys.path.insert(0, str(Path(__file__).parent))
from foreign import skip
from proxy import Proxy

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ.get("PGPORT", "5432"))
USER = os.environ.get("PGUSER", "postgres")
DATABASE = os.environ.get("PGDATABASE", "test")
URL = f"postgresql://{USER}@{HOST}:{PORT}/{DATABASE}"
AT = datetime(2026, 1, 31, 12, 30, 1, 250_000, UTC)
MODEL = "churn"
TIMEOUT_S = 5.0


def execute(text: str, *values: Any) -> list[tuple[Any, ...]]:
    statement: Any = text
    with psycopg.connect(URL, autocommit=True) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def server() -> None:
    try:
        socket.create_connection((HOST, PORT), timeout=5).close()
    except OSError as error:
        skip(f"needs PostgreSQL at {HOST}:{PORT} (PGHOST, PGPORT): {error}")


@pytest.fixture
def schema(server: None) -> Iterator[str]:
    name = f"twofold_{uuid.uuid4().hex}"
    yield name
    execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def url(schema: str) -> str:
    return f"{URL}?schema={schema}"


@pytest.fixture
def store(url: str) -> PostgresqlStore:
    return PostgresqlStore(url, timeout_s=TIMEOUT_S)


@pytest.fixture
def proxy(server: None) -> Iterator[Proxy]:
    with Proxy(HOST, PORT) as between:
        yield between


@pytest.fixture
def behind(proxy: Proxy, schema: str) -> PostgresqlStore:
    """The same store through the proxy; half a second is enough for it."""
    url = f"postgresql://{USER}:hu%2Fsh@127.0.0.1:{proxy.port}/{DATABASE}?schema={schema}"
    return PostgresqlStore(url, timeout_s=0.5)


def snapshot(number: int, rows: int, **more: Any) -> Snapshot:
    fields: dict[str, Any] = {
        "name": f"{number}-{uuid.uuid4().hex[:6]}",
        "number": number,
        "model": MODEL,
        "version": "3",
        "digest": "d",
        "run_id": f"night-{number}",
        "run": "x",
        "as_of": AT - timedelta(hours=1),
        "predicted_at": AT,
        "published_at": AT,
        "rows": rows,
        "outputs": ("prediction",),
        "type": "float64",
    }
    return Snapshot(**(fields | more))


def some_rows(keys: Sequence[bytes], *columns: Any, at: Any = None, features: Any = None) -> Rows:
    outputs = columns or (pa.array([float(n) for n in range(len(keys))], pa.float64()),)
    instants = pa.array(at or [AT] * len(keys), pa.timestamp("us", "UTC"))
    return Rows(pa.array(keys, pa.binary()), outputs, instants, features)


def all_at(number: int, keys: Sequence[bytes]) -> Rows:
    return some_rows(keys, pa.array([float(number)] * len(keys), pa.float64()))


def publish(store: PostgresqlStore, written: Snapshot, rows: Iterable[Rows]) -> Pointer:
    with store.publishing(MODEL) as publication:
        publication.write(written, rows)
        assert publication.verify(written) == written.rows
        publication.point(switched(publication.pointer, written))
        return publication.pointer


def find(store: PostgresqlStore, keys: Sequence[bytes], **how: Any) -> Found:
    async def ask() -> Found:
        reader = store.reader(MODEL)
        try:
            return await reader.find(keys, **how)
        finally:
            await reader.close()

    return asyncio.run(ask())


def tables(schema: str) -> set[str]:
    found = execute("SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace", schema)
    return {name for (name,) in found if name.startswith("rows_") and not name.endswith("_idx")}


def tables_of(*snapshots: Snapshot) -> set[str]:
    return {asked.table_of(MODEL, item.name) for item in snapshots}


KEYS = [b"a", b"b", b"c"]


def test_a_store_that_nothing_was_published_to_is_empty_and_stays_untouched(
    store: PostgresqlStore, schema: str
) -> None:
    assert store.pointer(MODEL) == Pointer()
    assert find(store, KEYS) == Found(None, [None] * 3)
    assert not execute("SELECT FROM pg_namespace WHERE nspname = %s", schema)


def test_keys_may_be_any_bytes(store: PostgresqlStore) -> None:
    long = b"x" * 10_000
    keys = [
        b"",
        b"\0",
        b"a/b",
        b"{a}",
        b"a\nb",
        b"\xff\xfe",
        b"%s$1'\"\\",
        "ключ".encode(),
        b"17",
        b"x" * 1024,
        b"x" * 1025,
        long,
        long[:-1] + b"y",
        b"y" + long,
    ]
    publish(store, snapshot(1, len(keys)), [some_rows(keys)])
    found = find(store, [*keys, b"z" * 10_000, b"\0\0"]).stored
    values = [item and item.predictions[0] for item in found]
    assert values == [*(float(n) for n in range(len(keys))), None, None]


@pytest.mark.parametrize("key", [b"twice", b"x" * 5_000])
def test_a_key_that_stands_twice_is_refused_by_its_name(
    store: PostgresqlStore, schema: str, key: bytes
) -> None:
    rows = [some_rows([b"a", key]), some_rows([b"b", key])]
    with store.publishing(MODEL) as publication:
        with pytest.raises(InvalidInput, match=f"^key: .*'{key[:80].decode()}' twice"):
            publication.write(snapshot(1, 4), rows)
        assert tables(schema) == set()
        written = snapshot(1, 2)
        publication.write(written, rows[:1])
        publication.point(switched(publication.pointer, written))
    assert find(store, [b"a"]).snapshot == written


def test_rows_that_raise_leave_nothing_behind_and_raise_what_they_did(
    store: PostgresqlStore, schema: str
) -> None:
    def rows() -> Iterator[Rows]:
        yield some_rows(KEYS)
        raise KeyError("disk")

    with store.publishing(MODEL) as publication:
        with pytest.raises(KeyError, match="disk"):
            publication.write(snapshot(1, 6), rows())
        assert tables(schema) == set()
        assert publication.pointer == Pointer()


def test_a_snapshot_that_was_not_written_or_was_changed_is_not_verified(
    store: PostgresqlStore, schema: str
) -> None:
    written = snapshot(1, 3)
    with store.publishing(MODEL) as publication:
        with pytest.raises(TwofoldError, match="got no table of it"):
            publication.verify(written)
        with pytest.raises(TwofoldError, match="got no table of it"):
            publication.point(switched(publication.pointer, written))
        publication.write(written, [some_rows(KEYS)])
        (table,) = tables_of(written)
        # Nothing but one bit, in the middle of a prediction.
        changed = "set_bit(value, 20, 1 - get_bit(value, 20))"
        execute(f"UPDATE {schema}.{table} SET value = {changed} WHERE key = 'a'")
        with pytest.raises(TwofoldError, match=r"got 3 keys, checksum [0-9a-f]+\. Publish"):
            publication.verify(written)
        execute(f"UPDATE {schema}.{table} SET value = {changed} WHERE key = 'a'")
        assert publication.verify(written) == 3


def test_a_snapshot_that_is_kept_is_not_written_again(store: PostgresqlStore) -> None:
    written = snapshot(1, 3)
    publish(store, written, [some_rows(KEYS)])
    with (
        store.publishing(MODEL) as publication,
        pytest.raises(InvalidInput, match=f"expected a new snapshot, got {written.name}"),
    ):
        publication.write(written, [some_rows(KEYS)])
    assert find(store, [b"a"]).stored != [None]


def test_the_previous_snapshot_is_kept_and_older_ones_are_dropped(
    store: PostgresqlStore, schema: str
) -> None:
    written = [snapshot(n, 3) for n in (1, 2, 3)]
    for item in written:
        publish(store, item, [all_at(item.number, KEYS)])
    assert tables(schema) == tables_of(*written[1:])
    with store.publishing(MODEL) as publication:
        publication.point(rolled_back(publication.pointer, MODEL))
        found = find(store, KEYS)
        assert found.snapshot == written[1]
        assert [item and item.predictions for item in found.stored] == [(2.0,)] * 3
        publication.point(rolled_back(publication.pointer, MODEL))
    assert find(store, KEYS).snapshot == written[2]
    assert tables(schema) == tables_of(*written[1:])


def test_models_do_not_touch_each_other(store: PostgresqlStore, schema: str) -> None:
    mine = snapshot(1, 3)
    publish(store, mine, [some_rows(KEYS)])
    with store.publishing("other") as other:
        other.write(snapshot(1, 3, model="other"), [some_rows(KEYS)])
        publish(store, snapshot(2, 3), [some_rows(KEYS)])
        publish(store, snapshot(3, 3), [some_rows(KEYS)])
        assert len(tables(schema)) == 3
        assert store.pointer("other") == Pointer()


def test_publishers_that_come_at_once_make_the_tables_once(store: PostgresqlStore) -> None:
    together = threading.Barrier(6)
    failed: list[BaseException] = []

    def go(model: str) -> None:
        together.wait()
        try:
            with store.publishing(model) as publication:
                written = snapshot(1, 3, model=model)
                publication.write(written, [some_rows(KEYS)])
                publication.point(switched(publication.pointer, written))
        except BaseException as error:  # noqa: BLE001 - the test tells
            failed.append(error)

    threads = [threading.Thread(target=go, args=(f"model-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_pointer_that_somebody_else_moved_is_left_alone(
    store: PostgresqlStore, schema: str
) -> None:
    publish(store, snapshot(1, 3), [some_rows(KEYS)])
    theirs = snapshot(7, 3)
    with store.publishing(MODEL) as publication:
        written = snapshot(2, 3)
        publication.write(written, [some_rows(KEYS)])
        moved = switched(publication.pointer, theirs)
        text = f"UPDATE {schema}.pointers SET switches = %s, pointer = %s"
        execute(text, moved.switches, msgspec.json.encode(moved))
        with pytest.raises(LeaseHeld, match="expected the snapshots as they were"):
            publication.point(switched(publication.pointer, written))
    assert store.pointer(MODEL) == moved


def test_a_session_that_lost_the_lock_may_not_move_the_pointer(store: PostgresqlStore) -> None:
    """As it is behind a PgBouncer that pools transactions."""
    with store.publishing(MODEL) as publication:
        written = snapshot(1, 3)
        publication.write(written, [some_rows(KEYS)])
        publication._session.ask("SELECT pg_advisory_unlock_all()")  # type: ignore[attr-defined]
        with pytest.raises(LeaseHeld, match="a session without it"):
            publication.point(switched(publication.pointer, written))
    assert store.pointer(MODEL) == Pointer()


CHILD = """
import sys, time
sys.path.insert(0, {folder!r})
from test_stores_postgresql import *
at = {at!r}

def rows():
    yield some_rows([b"new-1"])
    if at == "write":
        print("now", flush=True)
        time.sleep(60)
    yield some_rows([b"new-2"])

def stop(name):
    if at == name:
        print("now", flush=True)
        time.sleep(60)

with PostgresqlStore({url!r}, timeout_s=5).publishing(MODEL) as publication:
    stop("begin")
    written = snapshot(9, 2)
    publication.write(written, rows())
    stop("written")
    publication.verify(written)
    publication._clean = lambda: stop("moved")
    session, commit = publication._session, publication._move
    def move(pointer):
        commit(pointer)
        stop("commit")
    publication._move = move
    publication.point(switched(publication.pointer, written))
"""


@pytest.mark.parametrize("at", ["begin", "write", "written", "commit", "moved"])
def test_a_publisher_that_is_killed_leaves_a_whole_snapshot_and_the_next_one_cleans_up(
    store: PostgresqlStore, schema: str, url: str, at: str
) -> None:
    first, second, third = (snapshot(n, 3) for n in (1, 2, 3))
    publish(store, first, [all_at(1, KEYS)])
    publish(store, second, [all_at(2, KEYS)])
    code = CHILD.format(folder=str(Path(__file__).parent), at=at, url=url)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "now\n"
    with pytest.raises(LeaseHeld), store.publishing(MODEL):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    is_moved = at == "moved"
    assert find(store, [b"new-1" if is_moved else b"a"]).stored != [None]
    ends_s = time.monotonic() + 10
    while True:
        try:
            publish(store, third, [all_at(3, KEYS)])
            break
        except LeaseHeld:  # the server hasn't noticed yet
            assert time.monotonic() < ends_s
            time.sleep(0.02)
    pointer = store.pointer(MODEL)
    assert pointer.switches == (4 if is_moved else 3)
    assert tables(schema) == tables_of(*pointer.kept)
    assert find(store, KEYS).snapshot == third


def live(value: float) -> Stored:
    origin = Origin(source="live", model=MODEL, version="4", run_id="", as_of=AT, predicted_at=AT)
    return Stored((value,), origin)


def with_readers(store: PostgresqlStore, count: int, work: Callable[..., Awaitable[None]]) -> None:
    async def go() -> None:
        readers = [store.reader(MODEL) for _ in range(count)]
        try:
            await work(*readers)
        finally:
            for reader in readers:
                await reader.close()

    asyncio.run(go())


def test_a_live_prediction_is_kept_for_all_readers_until_the_next_switch(
    store: PostgresqlStore, schema: str
) -> None:
    first, second = snapshot(1, 3, features=("x",)), snapshot(2, 3)
    features = pa.RecordBatch.from_pylist([{"x": n} for n in range(3)])
    publish(store, first, [some_rows(KEYS, features=features)])

    async def work(one: Any, other: Any) -> None:
        assert await one.keep(b"new", live(7.5), first)
        assert await one.keep(b"a", live(8.5), first)
        assert await other.keep(b"new", live(9.5), first)
        found = (await other.find([b"new", b"a", b"b"], with_features=True)).stored
        assert found[0] == live(9.5)
        assert found[1] == msgspec.structs.replace(live(8.5), features={"x": 0})
        assert found[2] is not None
        assert (found[2].origin.source, found[2].features) == ("batch", {"x": 1})
        with store.publishing(MODEL) as publication:
            assert publication.verify(first) == 3
            assert publication.find(first, [b"new"]) == [None]
            publication.write(second, [some_rows(KEYS)])
            publication.point(switched(publication.pointer, second))
            assert not await one.keep(b"new", live(1.0), first)
            assert (await one.find([b"new"])).stored == [None]
            publication.point(rolled_back(publication.pointer, MODEL))
        assert await one.find([b"new"]) == Found(first, [None])
        assert not await other.keep(b"new", live(1.0), second)
        assert execute(f"SELECT count(*) FROM {schema}.live") == [(0,)]

    with_readers(store, 2, work)


def test_no_more_live_predictions_are_kept_than_there_is_room_for(
    store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_reader, "MAX_LIVE_KEYS", 2)
    first = snapshot(1, 3)
    publish(store, first, [some_rows(KEYS)])

    async def work(reader: Any) -> None:
        kept = [await reader.keep(key, live(1.0), first) for key in (b"1", b"1", b"2", b"3", b"2")]
        assert kept == [True, True, True, False, True]
        second = snapshot(2, 3)
        publish(store, second, [some_rows(KEYS)])
        await reader.find([b"1"])
        assert await reader.keep(b"3", live(1.0), second)

    with_readers(store, 1, work)


def test_nothing_is_kept_where_nothing_was_published(store: PostgresqlStore) -> None:
    async def work(reader: Any) -> None:
        assert not await reader.keep(b"a", live(1.0), snapshot(1, 1))

    with_readers(store, 1, work)


def test_a_reader_goes_along_with_every_switch_and_never_back(
    store: PostgresqlStore, schema: str
) -> None:
    async def work(reader: Any) -> None:
        assert (await reader.find(KEYS)).snapshot is None
        pointers: list[bytes] = []
        for number in (1, 2, 3, 4):
            written = snapshot(number, 3)
            publish(store, written, [all_at(number, KEYS)])
            found = await reader.find(KEYS)
            assert found.snapshot == written
            assert [item.predictions for item in found.stored] == [(float(number),)] * 3
            ((pointer,),) = execute(f"SELECT pointer FROM {schema}.pointers")
            pointers.append(pointer)
        # As a replica that is behind would say it.
        text = f"UPDATE {schema}.pointers SET switches = 3, pointer = %s"
        execute(text, pointers[2])
        assert (await reader.find(KEYS)).snapshot == written

    with_readers(store, 1, work)


def test_callers_of_the_same_turn_share_a_statement(store: PostgresqlStore) -> None:
    keys = [b"k%d" % n for n in range(500)]
    publish(store, snapshot(1, 500), [some_rows(keys)])

    async def work(reader: Any) -> None:
        await reader.find([b"k0"])
        trips: list[int] = []
        go = reader._trips._go

        async def counted(some: Sequence[bytes], ends_s: float) -> Any:
            trips.append(len(some))
            return await go(some, ends_s)

        reader._trips._go = counted
        both = [reader.find([key, b"k7"]) for key in keys]
        for n, found in enumerate(await asyncio.gather(*both)):
            assert [item.predictions for item in found.stored] == [(float(n),), (7.0,)]
        assert trips == [500]

    with_readers(store, 1, work)


def in_time(failing: Callable[[], Any], limit_s: float = 8.0) -> str:
    began_s = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        failing()
    assert time.monotonic() - began_s < limit_s
    said = str(caught.value)
    assert said.startswith(f"postgresql://{USER}@127.0.0.1:")
    assert "expected a PostgreSQL that answers, got" in said
    assert "hu/sh" not in said
    assert "hu%2Fsh" not in said
    return said


async def back(reader: Any) -> Found:
    """What is found when the server is back: a busy machine may need more than one look."""
    ends_s = time.monotonic() + 10
    while True:
        try:
            return await reader.find(KEYS)
        except StoreUnavailable:
            assert time.monotonic() < ends_s


def publish_behind(store: PostgresqlStore) -> None:
    with store.publishing(MODEL):
        pass


@pytest.mark.parametrize("how", ["shut", "hang"])
def test_a_server_that_is_gone_or_hangs_is_told_of_in_time_and_used_again_when_it_is_back(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy, how: str
) -> None:
    first = snapshot(1, 3)
    publish(store, first, [some_rows(KEYS)])
    assert "hu" not in repr(behind)

    async def work(old: Any, new: Any) -> None:
        assert (await old.find(KEYS)).stored[0] is not None
        getattr(proxy, how)()
        for reader in (old, new):
            began_s = time.monotonic()
            with pytest.raises(StoreUnavailable) as caught:
                await reader.find(KEYS)
            assert time.monotonic() - began_s < 4
            assert "hu%2Fsh" not in str(caught.value)
            with pytest.raises(StoreUnavailable):
                await reader.keep(b"a", live(1.0), first)
        answers = await asyncio.gather(*(new.find([key]) for key in KEYS), return_exceptions=True)
        assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
        in_time(lambda: behind.pointer(MODEL))
        in_time(lambda: publish_behind(behind))
        if how == "shut":
            proxy.listen()
        else:
            proxy.flow()
        for reader in (old, new):
            assert (await back(reader)).stored[0] is not None

    with_readers(behind, 2, work)
    publish_behind(behind)


def test_connections_that_the_server_ended_are_made_anew_unnoticed(store: PostgresqlStore) -> None:
    publish(store, snapshot(1, 3), [some_rows(KEYS)])

    async def work(reader: Any) -> None:
        for _ in range(3):
            found = await asyncio.gather(*(reader.find([key]) for key in KEYS))
            assert all(item.stored[0] for item in found)
            execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND application_name = 'twofold'"
            )
            assert await reader.keep(b"x", live(1.0), found[0].snapshot)

    with_readers(store, 1, work)


def test_a_caller_that_gives_up_leaves_the_others_their_answers(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy
) -> None:
    publish(store, snapshot(1, 3), [some_rows(KEYS)])

    async def work(reader: Any) -> None:
        await reader.find(KEYS)
        proxy.hang()
        gone = asyncio.create_task(reader.find([b"a"]))
        stays = asyncio.create_task(reader.find([b"b"]))
        await asyncio.sleep(0.1)
        gone.cancel()
        proxy.flow()
        assert (await stays).stored[0] is not None
        with pytest.raises(asyncio.CancelledError):
            await gone

    with_readers(behind, 1, work)


def test_a_server_that_goes_while_a_snapshot_is_written_leaves_the_old_one(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy, schema: str
) -> None:
    first = snapshot(1, 3)
    publish(store, first, [some_rows(KEYS)])

    def rows() -> Iterator[Rows]:
        yield some_rows([b"n%d" % n for n in range(20_000)])
        proxy.cut()
        yield some_rows([b"m%d" % n for n in range(20_000)])

    with behind.publishing(MODEL) as publication:
        in_time(lambda: publication.write(snapshot(2, 40_000), rows()))
        in_time(lambda: publication.verify(first))
        in_time(lambda: publication.point(switched(publication.pointer, first)))
    assert find(store, KEYS).snapshot == first
    assert tables(schema) == tables_of(first)


def at_commit(proxy: Proxy, publication: Publication, do: Callable[[], bool]) -> None:
    """Do something when the switch is committed, instead of passing it on, or before."""
    moves = publication._move  # type: ignore[attr-defined]

    def move(pointer: Pointer) -> None:
        moves(pointer)
        proxy.sees = lambda data: do() if b"COMMIT" in data else True

    publication._move = move  # type: ignore[attr-defined]


def forget_answers(proxy: Proxy) -> bool:
    """Pass the commit on, and no answer to it back."""
    proxy.sees = None
    with proxy._guard:
        ends = list(proxy._open)
    for end in ends:
        if end.getsockname()[1] == proxy.port:  # to the client
            end.shutdown(socket.SHUT_RDWR)
    return True


def test_a_commit_whose_answer_was_lost_is_found_to_be_made(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy
) -> None:
    first = snapshot(1, 3)
    with behind.publishing(MODEL) as publication:
        publication.write(first, [some_rows(KEYS)])
        at_commit(proxy, publication, lambda: forget_answers(proxy))
        publication.point(switched(publication.pointer, first))
        assert publication.pointer.current == first
    assert store.pointer(MODEL).current == first
    publish(store, snapshot(2, 3), [some_rows(KEYS)])


def test_a_commit_that_never_came_is_found_not_to_be_made(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy
) -> None:
    def lose() -> bool:
        proxy.sees = None
        proxy.cut()
        return False

    first = snapshot(1, 3)
    with behind.publishing(MODEL) as publication:
        publication.write(first, [some_rows(KEYS)])
        at_commit(proxy, publication, lose)
        in_time(lambda: publication.point(switched(publication.pointer, first)))
        assert publication.pointer == Pointer()
    assert store.pointer(MODEL) == Pointer()


def test_a_commit_that_hangs_on_its_way_is_not_made_either(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy
) -> None:
    """The server ends a session that idles within a transaction."""

    def swallow() -> bool:
        proxy.sees = None
        return False

    first = snapshot(1, 3)
    with behind.publishing(MODEL) as publication:
        publication.write(first, [some_rows(KEYS)])
        at_commit(proxy, publication, swallow)
        in_time(lambda: publication.point(switched(publication.pointer, first)), 12.0)
    assert store.pointer(MODEL) == Pointer()


def test_a_commit_that_nobody_can_be_asked_about_is_unknown(
    store: PostgresqlStore, behind: PostgresqlStore, proxy: Proxy
) -> None:
    def lose() -> bool:
        proxy.refuse()
        return forget_answers(proxy)

    first = snapshot(1, 3)
    with behind.publishing(MODEL) as publication:
        publication.write(first, [some_rows(KEYS)])
        at_commit(proxy, publication, lose)
        with pytest.raises(CommitUnknown, match="expected an answer to the switch") as caught:
            publication.point(switched(publication.pointer, first))
        assert "hu/sh" not in str(caught.value)
    assert store.pointer(MODEL).current == first


def test_a_table_that_somebody_reads_is_dropped_by_a_later_publisher(
    store: PostgresqlStore, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("twofold.stores.postgresql.DROP_WAIT_S", 0.1)
    first, second, third, fourth = (snapshot(n, 3) for n in (1, 2, 3, 4))
    publish(store, first, [some_rows(KEYS)])
    (table,) = tables_of(first)
    with psycopg.connect(URL) as connection:
        statement: Any = f"SELECT FROM {schema}.{table}"
        connection.execute(statement)  # in a transaction that stays open
        publish(store, second, [some_rows(KEYS)])
        publish(store, third, [some_rows(KEYS)])
        assert tables(schema) == tables_of(first, second, third)
        assert find(store, KEYS).snapshot == third
    publish(store, fourth, [some_rows(KEYS)])
    assert tables(schema) == tables_of(third, fourth)


def test_a_current_table_that_somebody_dropped_is_told_of(
    store: PostgresqlStore, schema: str
) -> None:
    first = snapshot(1, 3)
    publish(store, first, [some_rows(KEYS)])
    (table,) = tables_of(first)
    execute(f"DROP TABLE {schema}.{table}")
    with pytest.raises(StoreUnavailable, match="a snapshot that is gone"):
        find(store, KEYS)


def test_a_schema_may_have_any_name(server: None) -> None:
    name = 'Twofold "1"; 100% {it} $1'
    store = PostgresqlStore(
        f"{URL}?schema=Twofold%20%221%22%3B%20100%25%20{{it}}%20%241", timeout_s=TIMEOUT_S
    )
    try:
        publish(store, snapshot(1, 3), [some_rows(KEYS)])
        publish(store, snapshot(2, 3), [some_rows(KEYS)])
        assert find(store, KEYS).stored[0] is not None
        assert execute("SELECT count(*) FROM pg_namespace WHERE nspname = %s", name) == [(1,)]
    finally:
        quoted = name.replace('"', '""')
        execute(f'DROP SCHEMA IF EXISTS "{quoted}" CASCADE')


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("@", ":hush@", "/test", "/absent_database"), "absent_database"),
        (("postgres@", "nobody:hush@", "", ""), "nobody"),
        (("@127.0.0.1:5432", ":hush@127.0.0.1:1", "", ""), "refused"),
    ],
)
def test_who_cannot_connect_is_told_why_without_the_password(
    server: None, change: tuple[str, str, str, str], says: str
) -> None:
    url = f"postgresql://postgres@{HOST}:{PORT}/test"
    for old, new in (change[:2], change[2:]):
        url = url.replace(old, new) if old else url
    store = PostgresqlStore(url, timeout_s=TIMEOUT_S)
    with pytest.raises(StoreUnavailable, match=says) as caught:
        store.pointer(MODEL)
    with pytest.raises(StoreUnavailable, match=says) as found:
        find(store, KEYS)
    assert "hush" not in f"{caught.value}{found.value}{store!r}{caught.value.__cause__!r}"


def test_a_reader_without_the_right_to_write_reads_and_is_told_of_keeping(
    store: PostgresqlStore, url: str, schema: str
) -> None:
    role = f"reader_{uuid.uuid4().hex[:8]}"
    execute(f"CREATE ROLE {role} LOGIN")
    try:
        first = snapshot(1, 3)
        publish(store, first, [some_rows(KEYS)])
        execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {role}")
        execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}")
        second = snapshot(2, 3)
        publish(store, second, [some_rows(KEYS)])
        theirs = PostgresqlStore(url.replace(f"{USER}@", f"{role}@"), timeout_s=TIMEOUT_S)

        async def work(reader: Any) -> None:
            assert (await reader.find(KEYS)).snapshot == second
            with pytest.raises(StoreUnavailable, match="permission denied"):
                await reader.keep(b"new", live(1.0), second)
            execute(f"GRANT INSERT, UPDATE ON {schema}.live TO {role}")
            execute(f"GRANT UPDATE ON {schema}.live_counts TO {role}")
            assert await reader.keep(b"new", live(1.0), second)

        with_readers(theirs, 1, work)
        with (
            pytest.raises(StoreUnavailable, match="permission denied"),
            theirs.publishing(MODEL) as publication,
        ):
            publication.write(snapshot(3, 3), [some_rows(KEYS)])
    finally:
        execute(f"DROP OWNED BY {role}")
        execute(f"DROP ROLE {role}")


def test_an_event_loop_of_uvloop_reads_too(store: PostgresqlStore) -> None:
    uvloop = pytest.importorskip("uvloop")
    publish(store, snapshot(1, 3), [some_rows(KEYS)])

    async def ask() -> None:
        reader = store.reader(MODEL)
        found = await asyncio.gather(*(reader.find([key]) for key in KEYS))
        assert all(item.stored[0] for item in found)
        await reader.close()

    uvloop.run(ask())
