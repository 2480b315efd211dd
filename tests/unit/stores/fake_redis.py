"""A Redis of a few commands, in memory, that can be told to fail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from twofold.errors import StoreUnavailable
from twofold.stores import redis_layout as layout
from twofold.stores.redis_layout import Command


def gone() -> StoreUnavailable:
    return StoreUnavailable("redis://h:1/0: expected an answer of the store, got none. Wait.")


class FakeRedis:
    """A server.

    Attributes:
        hashes: What it has, by key and field.
        locks: Texts, by key.
        trips: The commands of each round trip.
        before: Called with each round trip, before it is carried out; may raise.
        after: As above, after it was.
    """

    address = "redis://h:1/0"

    def __init__(self) -> None:
        self.hashes: dict[str, dict[bytes, bytes]] = {}
        self.locks: dict[str, str] = {}
        self.trips: list[list[Command]] = []
        self.before: Callable[[Sequence[Command]], None] = lambda commands: None
        self.after: Callable[[Sequence[Command]], None] = lambda commands: None
        self.is_ordered = True

    def send(self, commands: Sequence[Command]) -> list[Any]:
        self.trips.append(list(commands))
        self.before(commands)
        answers = [self._do(*command) for command in commands]
        self.after(commands)
        return answers

    def _do(self, name: str, *given: Any) -> Any:
        if name == "EVAL":
            script, number, *rest = given
            return SCRIPTS[script](self, rest[:number], rest[number:])
        key, *rest = given
        key = text(key)
        there = self.hashes.get(key, {})
        if name == "HSET":
            there = self.hashes.setdefault(key, {})
            pairs = list(zip(rest[::2], rest[1::2], strict=True))
            before = len(there)
            there.update((data(field), data(value)) for field, value in pairs)
            return len(there) - before
        return {
            "HDEL": lambda: int(there.pop(data(rest[0]), None) is not None),
            "UNLINK": lambda: int(self.hashes.pop(key, None) is not None),
            "HMGET": lambda: [there.get(data(field)) for field in rest],
            "HLEN": lambda: len(there),
            "HGET": lambda: there.get(data(rest[0])),
        }[name]()


class FakeChannel:
    """The same for an event loop."""

    def __init__(self, redis: FakeRedis) -> None:
        self.address = redis.address
        self.is_ordered = redis.is_ordered
        self.is_closed = False
        self._redis = redis

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        return self._redis.send(commands)

    async def close(self) -> None:
        self.is_closed = True


def text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def data(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _take(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    pointer = redis.hashes.get(keys[1], {}).get(b"pointer")
    return [int(redis.locks.setdefault(keys[0], given[0]) == given[0]), pointer]


def _renew(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    return int(redis.locks.get(keys[0]) == given[0])


def _release(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    return int(redis.locks.get(keys[0]) == given[0] and bool(redis.locks.pop(keys[0])))


def _begin(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    if redis.locks.get(keys[0]) != given[0]:
        return 0
    redis.hashes.setdefault(keys[1], {})[data(given[1])] = data(given[2])
    return 1


def _point(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    pointer = redis.hashes.get(keys[1], {}).get(b"pointer", b"")
    if pointer == given[2]:
        return 1
    if redis.locks.get(keys[0]) != given[0] or pointer != given[1]:
        return 0
    redis.hashes[keys[1]] = {b"pointer": data(given[2]), b"mark": data(given[3])}
    redis.hashes.pop(keys[2], None)
    return 1


def _settle(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    if redis.locks.get(keys[0]) == given[0]:
        redis.locks[keys[0]] = given[1]
    return redis.hashes.get(keys[1], {}).get(b"pointer")


def _left(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    pointer = redis.hashes.get(keys[1], {}).get(b"pointer", b"")
    if redis.locks.get(keys[0]) != given[0] or pointer != given[1]:
        return None
    return [item for pair in redis.hashes.get(keys[2], {}).items() for item in pair]


def _keep(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    if redis.hashes.get(keys[0], {}).get(b"mark") != data(given[0]):
        return 0
    there = redis.hashes.setdefault(keys[1], {})
    if given[1] not in there and len(there) >= given[3]:
        return 0
    there[given[1]] = given[2]
    return 1


def _read_back(redis: FakeRedis, keys: list[str], given: list[Any]) -> Any:
    there = redis.hashes.get(text(keys[0]), {})
    rows = [str(len(key)).encode() + b":" + key + value for key, value in there.items()]
    digests = [hashlib.sha1(row, usedforsecurity=False).digest() for row in rows]
    return [len(rows), str(sum(int.from_bytes(digest[:5], "big") for digest in digests)).encode()]


SCRIPTS: dict[str, Callable[[FakeRedis, list[str], list[Any]], Any]] = {
    layout.TAKE: _take,
    layout.RENEW: _renew,
    layout.RELEASE: _release,
    layout.BEGIN: _begin,
    layout.POINT: _point,
    layout.SETTLE: _settle,
    layout.LEFT: _left,
    layout.KEEP: _keep,
    layout.READ_BACK: _read_back,
}
