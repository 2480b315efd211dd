"""The reader, with a server made by hand; tests/conformance has a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from twofold.errors import StoreUnavailable
from twofold.stores import postgresql_reader
from twofold.stores import postgresql_sql as asked
from twofold.stores.postgresql_address import parse_address
from twofold.stores.postgresql_reader import PostgresqlReader
from twofold.stores.psycopg import Failed, Keys
from twofold.stores.snapshot import Origin, Pointer, Snapshot, Stored, encode_pointer, switched
from twofold.stores.values import encode_live

AT = datetime(2026, 1, 31, tzinfo=UTC)
ADDRESS = parse_address("postgresql://me:hush@db/t")
LOST = Failed("the connection is lost", None, is_lost=True)


def snapshot(number: int) -> Snapshot:
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
        rows=1,
        outputs=("prediction",),
        type="float64",
    )


class Server:
    """Has a pointer, tables, and something to say to each statement first."""

    def __init__(self) -> None:
        self.pointer = Pointer()
        self.tables: dict[str, dict[bytes, bytes]] = {}
        self.live: dict[bytes, bytes] = {}
        self.before: list[Callable[[], None] | Failed] = []
        self.sessions = 0

    def publish(self, number: int) -> None:
        item = snapshot(number)
        value = msgspec.msgpack.encode([[float(number)], 0])
        self.tables[asked.table_of("churn", item.name)] = {b"a": value}
        self.pointer = switched(self.pointer, item)
        kept = {asked.table_of("churn", item.name) for item in self.pointer.kept}
        self.tables = {name: rows for name, rows in self.tables.items() if name in kept}
        self.live = {}

    async def connect(self, address: Any, timeout_s: float) -> Session:
        self.sessions += 1
        return Session(self)


class Session:
    def __init__(self, server: Server) -> None:
        self.server, self.is_open = server, True

    async def ask(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        server = self.server
        await asyncio.sleep(0)
        if server.before:
            said = server.before.pop(0)
            if isinstance(said, Failed):
                self.is_open = not said.is_lost
                raise said
            said()
        if "INSERT" in text:
            _, switches, key, value, most = values
            if switches != server.pointer.switches or len(server.live) >= most:
                return []
            server.live[key] = value
            return [(1,)]
        if "UNION" not in text:
            return [(encode_pointer(server.pointer),)] if server.pointer.switches else []
        return self._look_up(text, *values)

    def _look_up(self, text: str, wanted: Keys, model: str, switches: int) -> list[tuple[Any, ...]]:
        server = self.server
        (rows,) = [rows for name, rows in server.tables.items() if name in text] or [None]
        if rows is None:
            raise Failed("no such table", asked.UNDEFINED_TABLE, is_lost=False)
        keys = wanted.keys
        found = [(key, rows[key], asked.BATCH) for key in keys if key in rows]
        if switches == server.pointer.switches:
            found += [(key, server.live[key], asked.LIVE) for key in keys if key in server.live]
        return [*found, (None, None, server.pointer.switches)]

    async def close(self) -> None:
        self.is_open = False


def run(
    work: Callable[[PostgresqlReader, Server], Awaitable[None]], timeout_s: float = 5.0
) -> Server:
    server = Server()

    async def go() -> None:
        reader = PostgresqlReader(ADDRESS, "churn", timeout_s, server.connect)
        await work(reader, server)
        await reader.close()

    asyncio.run(go())
    return server


async def number_of(reader: PostgresqlReader) -> int:
    """The snapshot that is found, all of it."""
    found = await reader.find([b"a"])
    assert found.snapshot is not None
    (stored,) = found.stored
    assert stored is not None
    assert stored.predictions == (float(found.snapshot.number),)
    return found.snapshot.number


def test_nothing_is_found_before_the_first_snapshot_and_then_it_is() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        found = await reader.find([b"a", b"b"])
        assert (found.snapshot, found.stored) == (None, [None, None])
        server.publish(1)
        assert await number_of(reader) == 1

    run(work)


@pytest.mark.parametrize("more", [1, 2, 3])
def test_a_switch_is_followed_at_once_whether_the_old_table_is_there_or_gone(more: int) -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        assert await number_of(reader) == 1
        for number in range(2, 2 + more):
            server.publish(number)
        assert await number_of(reader) == 1 + more

    run(work)


def test_a_pointer_that_moves_faster_than_it_is_read_is_given_up_after_three_looks() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        assert await number_of(reader) == 1
        numbers = iter(range(2, 100))

        def move() -> None:
            for _ in range(2):
                server.publish(next(numbers))

        server.before = [move] * 20
        with pytest.raises(StoreUnavailable, match="a snapshot that is gone each time"):
            await reader.find([b"a"])
        server.before = []
        await number_of(reader)

    run(work)


def test_a_reader_does_not_go_back_to_what_a_replica_says_that_is_behind() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        behind = server.pointer
        server.publish(2)
        assert await number_of(reader) == 2
        server.pointer = behind
        assert await number_of(reader) == 2

    run(work)


def test_a_server_that_was_restored_is_believed_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        before, tables = server.pointer, dict(server.tables)
        server.publish(2)
        assert await number_of(reader) == 2
        server.pointer, server.tables = before, tables
        with pytest.raises(StoreUnavailable, match="a snapshot that is gone each time"):
            await reader.find([b"a"])
        monkeypatch.setattr(postgresql_reader, "LOST_S", 0.0)
        assert await number_of(reader) == 1
        server.pointer, server.tables = Pointer(), {}
        assert (await reader.find([b"a"])).snapshot is None

    run(work)


def test_an_answer_that_another_trip_has_overtaken_is_not_given() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        assert await number_of(reader) == 1
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await number_of(reader))

        slow = asyncio.create_task(ask())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.publish(2)
        await asyncio.gather(ask(), slow)
        assert answers == [2, 2]

    run(work)


def test_a_session_that_is_over_is_replaced_and_a_server_that_refuses_is_told_of() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        await reader.find([b"a"])
        server.before = [LOST]
        assert await number_of(reader) == 1
        assert server.sessions == 2
        server.before = [LOST, LOST]
        with pytest.raises(StoreUnavailable, match="the connection is lost") as caught:
            await reader.find([b"a"])
        assert str(caught.value).startswith("postgresql://me@db/t: expected a PostgreSQL")
        server.before = [Failed("permission denied", "42501", is_lost=False)]
        with pytest.raises(StoreUnavailable, match="permission denied"):
            await reader.find([b"a"])

    run(work)


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        async def never(address: Any, timeout_s: float) -> Any:
            await asyncio.sleep(3600)

        reader._connect = never
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.05 s"):
            await reader.find([b"a"])
        with pytest.raises(StoreUnavailable, match=r"no answer within 0\.05 s"):
            await reader.keep(b"a", live(1.0), snapshot(1))

    run(work, timeout_s=0.05)


def live(value: float) -> Stored:
    origin = Origin(source="live", model="churn", version="2", run_id="", as_of=AT, predicted_at=AT)
    return Stored((value,), origin)


def test_what_is_kept_is_found_before_what_was_published_until_the_next_switch() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        assert await reader.keep(b"a", live(7.0), snapshot(1))
        assert not await reader.keep(b"a", live(8.0), snapshot(9))
        assert (await reader.find([b"a", b"b"])).stored == [live(7.0), None]
        server.publish(2)
        assert not await reader.keep(b"a", live(8.0), snapshot(1))
        assert await number_of(reader) == 2

    run(work)


def test_a_value_that_is_none_is_told_of() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        for rows in server.tables.values():
            rows[b"a"] = encode_live(live(1.0))[:-1]
        with pytest.raises(StoreUnavailable, match="a value in 1-x that says"):
            await reader.find([b"a"])

    run(work)


def test_no_more_predictions_are_on_their_way_to_be_kept_than_may() -> None:
    async def work(reader: PostgresqlReader, server: Server) -> None:
        server.publish(1)
        await reader.find([b"a"])
        keys = [b"%d" % n for n in range(150)]
        kept = await asyncio.gather(*(reader.keep(key, live(1.0), snapshot(1)) for key in keys))
        assert kept == [True] * 100 + [False] * 50

    run(work)
