"""Looking keys up in a Redis that changes meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from twofold.errors import StoreUnavailable
from twofold.stores import read_redis
from twofold.stores.publish_redis import publishing_redis
from twofold.stores.read_redis import RedisReader
from twofold.stores.redis_layout import Command
from twofold.stores.snapshot import Snapshot, next_number, switched
from twofold.stores.view import REFRESH_S

sys.path.insert(0, str(Path(__file__).parent))
from fake_redis import FakeChannel, FakeRedis, gone
from made import live_of, rows_of, snapshot_of

KEYS = [b"%03d" % n for n in range(200)]


def publish(redis: FakeRedis) -> Snapshot:
    with publishing_redis(redis, "churn", lease_s=100.0) as publication:
        number = next_number(publication.pointer)
        snapshot = snapshot_of(number, len(KEYS))
        publication.write(snapshot, [rows_of(KEYS, [float(number)] * len(KEYS))])
        publication.point(switched(publication.pointer, snapshot))
    return snapshot


def reader_of(redis: FakeRedis, timeout_s: float = 5.0) -> RedisReader:
    return RedisReader(FakeChannel(redis), "churn", timeout_s=timeout_s)


def due(reader: RedisReader) -> None:
    """Let the refresh time pass."""
    reader._view._asked_s -= REFRESH_S


def kinds(trips: Sequence[Sequence[Command]]) -> list[list[str]]:
    return [[command[0] for command in trip] for trip in trips]


def test_calls_of_one_turn_share_one_round_trip() -> None:
    redis = FakeRedis()
    snapshot = publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])
        due(reader)
        await reader.find(KEYS[:1])
        redis.trips.clear()
        found = await asyncio.gather(*(reader.find([key]) for key in KEYS))
        assert kinds(redis.trips) == [["HGET"] * len(KEYS)]
        assert {item.snapshot for item in found} == {snapshot}
        assert all(item.stored[0] is not None for item in found)

    asyncio.run(go())


def test_calls_wait_together_while_as_many_round_trips_as_may_be_are_under_way() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])
        gate, send = asyncio.Event(), reader._channel.send

        async def slow(commands: Sequence[Command]) -> list[Any]:
            await gate.wait()
            return await send(commands)

        reader._channel.send = slow  # type: ignore[method-assign]
        redis.trips.clear()
        asked: list[Any] = []
        for key in KEYS[:10]:
            asked.append(asyncio.ensure_future(reader.find([key])))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        gate.set()
        found = await asyncio.gather(*asked)
        assert all(item.stored[0] is not None for item in found)
        keys = [[c for c in trip if c[0] == "HGET"] for trip in redis.trips]
        assert [len(trip) for trip in keys] == [1] * read_redis.MAX_TURNS + [
            10 - read_redis.MAX_TURNS
        ]

    asyncio.run(go())


def test_the_pointer_is_read_again_with_the_keys_when_it_is_due() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])
        redis.trips.clear()
        due(reader)
        await reader.find(KEYS[:1])
        await reader.find(KEYS[:1])
        assert kinds(redis.trips) == [["HGET", "HMGET", "HGET", "HLEN"], ["HGET"]]
        redis.trips.clear()
        second = publish(redis)
        redis.trips.clear()
        due(reader)
        assert (await reader.find(KEYS[:1])).snapshot == second

    asyncio.run(go())


@pytest.mark.parametrize("is_ordered", [True, False])
def test_a_key_is_said_to_be_missing_only_after_the_pointer_was_read(is_ordered: bool) -> None:
    redis = FakeRedis()
    redis.is_ordered = is_ordered
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])
        for _ in range(2):
            third = publish(redis)
        # The snapshot that it knows is deleted by now.
        found = await reader.find([KEYS[7], b"nobody"])
        assert found.snapshot == third
        assert [item and item.predictions for item in found.stored] == [(3.0,), None]
        redis.trips.clear()
        due(reader)
        assert (await reader.find([b"nobody"])).stored == [None]
        assert len(redis.trips) == (1 if is_ordered else 2)

    asyncio.run(go())


def test_where_keys_are_missing_the_pointer_is_read_in_the_same_round_trip() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find([b"nobody"])
        for keys, trips in (([b"nobody"], 1), (KEYS[:1], 1), ([b"nobody"], 2), ([b"nobody"], 1)):
            redis.trips.clear()
            await reader.find(keys)
            assert len(redis.trips) == trips

    asyncio.run(go())


def test_who_finds_all_is_not_kept_waiting_by_who_does_not() -> None:
    redis = FakeRedis()
    first = publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])
        second = publish(redis)
        hit, miss = await asyncio.gather(reader.find(KEYS[:1]), reader.find([b"nobody"]))
        assert (hit.snapshot, miss.snapshot) == (first, second)
        assert miss.stored == [None]

    asyncio.run(go())


def test_a_reader_gives_up_on_snapshots_that_are_deleted_faster_than_it_reads() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])

        def race(commands: Sequence[Command]) -> None:
            if commands[0][0] == "HGET" and commands[0][1] != reader._names.pointer:
                redis.before = lambda commands: None
                publish(redis)
                publish(redis)
                redis.before = race

        redis.before = race
        redis.trips.clear()
        with pytest.raises(StoreUnavailable, match="expected a snapshot that stays"):
            await reader.find(KEYS[:1])

    asyncio.run(go())


def test_a_live_prediction_goes_before_the_stored_one_and_ends_with_the_switch() -> None:
    redis = FakeRedis()
    first = publish(redis)

    async def go() -> None:
        reader, other = reader_of(redis), reader_of(redis)
        for one in (reader, other):
            await one.find(KEYS[:1])
            due(one)
            await one.find(KEYS[:1])
            assert not one._view.has_live
        assert await reader.keep(KEYS[0], live_of(9.5), first)
        assert (await reader.find(KEYS[:2])).stored[0] == live_of(9.5)
        due(other)
        await other.find(KEYS[:1])
        assert (await other.find(KEYS[:1])).stored == [live_of(9.5)]
        second = publish(redis)
        assert not await reader.keep(KEYS[0], live_of(9.5), first)
        assert not await reader.keep(KEYS[0], live_of(9.5), second)  # not known yet
        due(reader)
        found = await reader.find(KEYS[:1])
        assert found.snapshot == second
        assert found.stored[0] is not None
        assert found.stored[0].predictions == (2.0,)

    asyncio.run(go())


def test_every_call_of_a_turn_is_told_that_the_store_is_gone_and_the_next_ones_are_served() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)

        def fail(commands: Sequence[Command]) -> None:
            raise gone()

        redis.before = fail
        asked = [reader.find([key]) for key in KEYS[:5]]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in told] == [StoreUnavailable] * 5
        redis.before = lambda commands: None
        assert (await reader.find(KEYS[:1])).stored[0] is not None

    asyncio.run(go())


def test_a_store_that_does_not_answer_is_given_up_in_time() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis, timeout_s=0.05)
        snapshot = (await reader.find(KEYS[:1])).snapshot
        assert snapshot is not None

        async def never(commands: Sequence[Command]) -> list[Any]:
            await asyncio.sleep(60)
            return []

        reader._channel.send = never  # type: ignore[method-assign]
        for call in (reader.find(KEYS[:1]), reader.keep(b"n", live_of(1.0), snapshot)):
            with pytest.raises(StoreUnavailable, match=r"none within 0.05 s"):
                await call
        several = [reader.find([key]) for key in KEYS[: read_redis.MAX_TURNS + 3]]
        told = await asyncio.gather(*several, return_exceptions=True)
        assert {type(error) for error in told} == {StoreUnavailable}

    asyncio.run(go())


def test_no_more_waits_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    redis = FakeRedis()
    publish(redis)
    monkeypatch.setattr(read_redis, "MAX_WAITING_KEYS", 10)

    async def go() -> None:
        reader = reader_of(redis)
        assert len((await reader.find(KEYS)).stored) == 200
        calls = [reader.find(KEYS[:4]) for _ in range(4)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        refused = [isinstance(item, StoreUnavailable) for item in told]
        assert refused == [False, False, True, True]
        assert len((await reader.find(KEYS[:4])).stored) == 4

    asyncio.run(go())


def test_large_turns_are_cut_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    redis = FakeRedis()
    publish(redis)
    monkeypatch.setattr(read_redis, "MAX_TURN_KEYS", 10)

    async def go() -> None:
        reader = reader_of(redis)
        calls = [reader.find(KEYS[:size]) for size in (4, 4, 4, 30, 0, 1)]
        found = await asyncio.gather(*calls)
        assert [len(item.stored) for item in found] == [4, 4, 4, 30, 0, 1]
        assert all(item.stored.count(None) == 0 for item in found)

    asyncio.run(go())


def test_a_caller_that_goes_away_harms_nobody() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        gone_one = asyncio.ensure_future(reader.find(KEYS[:1]))
        other = asyncio.ensure_future(reader.find(KEYS[1:2]))
        await asyncio.sleep(0)
        gone_one.cancel()
        assert (await other).stored[0] is not None
        with pytest.raises(asyncio.CancelledError):
            await gone_one

    asyncio.run(go())


def test_who_waits_when_a_reader_is_closed_is_told() -> None:
    redis = FakeRedis()
    publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        channel = reader._channel

        async def never(commands: Sequence[Command]) -> list[Any]:
            await asyncio.sleep(60)
            return []

        channel.send = never  # type: ignore[method-assign]
        asked = []
        for key in KEYS[:4]:
            asked.append(asyncio.ensure_future(reader.find([key])))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await reader.close()
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(item) for item in told] == [StoreUnavailable] * 4
        assert isinstance(channel, FakeChannel)
        assert channel.is_closed
        with pytest.raises(StoreUnavailable, match="an open reader"):
            await reader.find(KEYS[:1])

    asyncio.run(go())


def test_something_else_in_place_of_a_prediction_is_said() -> None:
    redis = FakeRedis()
    publish(redis)
    for key in [key for key in redis.hashes if key.endswith(":rows")]:
        redis.hashes[key] = dict.fromkeys(redis.hashes[key], b"\xc1")

    async def go() -> None:
        with pytest.raises(StoreUnavailable, match="000001-abcd: expected a prediction as it was"):
            await reader_of(redis).find(KEYS[:1])

    asyncio.run(go())


def test_a_server_that_was_emptied_is_believed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    redis = FakeRedis()
    first = publish(redis)

    async def go() -> None:
        reader = reader_of(redis)
        await reader.find(KEYS[:1])
        redis.hashes.clear()
        assert await reader.find(KEYS[:1]) == (first, [None])
        assert reader._view._older_since_s is not None
        reader._view._older_since_s -= 10
        assert await reader.find(KEYS[:1]) == (None, [None])
        again = publish(redis)
        due(reader)
        assert (await reader.find(KEYS[:1])).snapshot == again

    asyncio.run(go())
