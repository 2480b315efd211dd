"""Reads the current snapshot of a model from a PostgreSQL, within an event loop.

One statement finds the keys in the snapshot that is believed to be current, what was kept of them
since, and how often the pointer was moved, all of it as it was at one instant. Was it moved more
often than was believed, the pointer is read, and the statement repeated. So nothing is ever read of
a snapshot that wasn't current when the statement began, and no key is missing because of a switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from twofold.errors import StoreUnavailable, problem
from twofold.stores import postgresql_sql as asked
from twofold.stores.copy_format import stored_key, stored_keys
from twofold.stores.postgresql_address import Address
from twofold.stores.psycopg import AsyncSession, Failed, Keys, render
from twofold.stores.shared_trips import SharedTrips
from twofold.stores.snapshot import Pointer, Snapshot, Stored, decode_pointer
from twofold.stores.store import Found
from twofold.stores.values import Origins, decode_value, encode_live

MAX_TRIPS = 2
"""Statements that look up keys at once. More would each have fewer keys, and cost more in all."""
MAX_SESSIONS = MAX_TRIPS + 1
"""Who keeps a prediction takes none from those who ask."""
MAX_KEYS = 1_000
"""Of a statement; unless one caller has more."""
MAX_WAITING = 10_000
"""Callers that wait for a statement."""
MAX_KEEPING = 100
"""Predictions on their way to be kept."""
MAX_LIVE_KEYS = 100_000
"""Live predictions of a model that are kept between two switches."""
ATTEMPTS = 3
"""To look up keys in the snapshot that is current: each time there may be another by then."""
LOST_S = 5.0
"""A server that has neither the snapshot read last nor a newer pointer: it is believed by then."""
FIX = "Look at the server and the rights there; passwords are taken from PGPASSWORD and ~/.pgpass."

Result = TypeVar("Result")
Connect = Callable[[Address, float], Awaitable[Any]]


def unavailable(address: Address, said: str) -> StoreUnavailable:
    """Say that a server said no, or nothing."""
    return StoreUnavailable(problem(address.url, "a PostgreSQL that answers", said, FIX))


@dataclasses.dataclass(frozen=True)
class _Current:
    """What is believed to be current."""

    pointer: Pointer
    snapshot: Snapshot
    origins: Origins
    look_up: str


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What was found for the keys of a trip."""

    current: _Current | None
    batch: Mapping[bytes, bytes]
    live: Mapping[bytes, bytes]


NOTHING = _Answer(None, {}, {})


class PostgresqlReader:
    """Reads the current snapshot of a model."""

    def __init__(
        self, address: Address, model: str, timeout_s: float, connect: Connect | None = None
    ) -> None:
        """Ask nothing yet.

        Args:
            address: Where the server is.
            model: The model.
            timeout_s: Seconds an answer may take in all.
            connect: Makes a session; `AsyncSession.connect` if it isn't given.
        """
        self._address, self._model, self._timeout_s = address, model, timeout_s
        self._connect = AsyncSession.connect if connect is None else connect
        self._current: _Current | None = None
        self._gone_since_s: float | None = None
        self._idle: list[AsyncSession] = []
        self._free = asyncio.Semaphore(MAX_SESSIONS)
        self._may_keep = asyncio.Semaphore(MAX_SESSIONS - MAX_TRIPS)
        self._keeping = 0
        self._is_closed = False
        self._trips = SharedTrips(
            address.url,
            self._look_up,
            timeout_s=timeout_s,
            max_trips=MAX_TRIPS,
            max_keys=MAX_KEYS,
            max_waiting=MAX_WAITING,
        )

    async def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        """See `RemoteReader`."""
        wanted = stored_keys(keys)
        answer = await self._trips.join(wanted)
        current = answer.current
        if current is None:
            return Found(None, [None] * len(keys))
        batch, live, origins = answer.batch, answer.live, current.origins
        try:
            if live:
                found = [_both(batch, live, key, origins, with_features) for key in wanted]
                return Found(current.snapshot, found)
            return Found(
                current.snapshot,
                [
                    None
                    if (value := batch.get(key)) is None
                    else decode_value(value, origins, with_features=with_features)
                    for key in wanted
                ],
            )
        except msgspec.DecodeError as error:
            got = f"a value in {current.snapshot.name} that says: {error}"
            raise unavailable(self._address, got) from error

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        """See `RemoteReader`."""
        if self._is_closed or self._keeping >= MAX_KEEPING:
            return False
        self._keeping += 1
        try:
            async with self._in_time(asyncio.get_running_loop().time() + self._timeout_s):
                current = self._current or await self._with_session(self._refresh)
                if current is None or current.snapshot.name != snapshot.name:
                    return False
                text = render(asked.KEEP, self._address.schema)
                switches, value = current.pointer.switches, encode_live(stored)
                values = self._model, switches, stored_key(key), value, MAX_LIVE_KEYS

                async def insert(session: AsyncSession) -> bool:
                    return bool(await session.ask(text, *values))

                async with self._may_keep:
                    return await self._with_session(insert)
        finally:
            self._keeping -= 1

    async def close(self) -> None:
        """See `RemoteReader`."""
        self._is_closed = True
        await self._trips.close()
        await self._hang_up()

    async def _look_up(self, keys: Sequence[bytes], ends_s: float) -> _Answer:
        async with self._in_time(ends_s):
            return await self._with_session(lambda session: self._look_up_in(session, keys))

    async def _look_up_in(self, session: AsyncSession, keys: Sequence[bytes]) -> _Answer:
        for _ in range(ATTEMPTS):
            current = self._current or await self._refresh(session)
            if current is None:
                return NOTHING
            switches = current.pointer.switches
            try:
                found = await session.ask(current.look_up, Keys(keys), self._model, switches)
            except Failed as error:
                if error.code not in asked.GONE:
                    raise
                if self._gone_since_s is None:
                    self._gone_since_s = asyncio.get_running_loop().time()
            else:
                batch, live, moved = _parted(found)
                # A replica may say less than another has said before; its snapshot is whole.
                # Another trip may know of a newer pointer, and its callers too.
                if moved <= switches and current is self._current:
                    self._gone_since_s = None
                    return _Answer(current, batch, live)
            await self._refresh(session)
        got = "a snapshot that is gone each time it is looked for"
        raise unavailable(self._address, got)

    async def _refresh(self, session: AsyncSession) -> _Current | None:
        """Read the pointer.

        From a newer one there is no way back to an older one, unless what the newer one leads to is
        gone for so long that the server must have been restored from what it had before.
        """
        try:
            found = await session.ask(render(asked.POINTER, self._address.schema), self._model)
        except Failed as error:
            if error.code not in {asked.UNDEFINED_TABLE, asked.INVALID_SCHEMA}:
                raise
            found = []  # nothing was ever published
        where = f"{self._address.url}: {self._model}"
        pointer = decode_pointer(found[0][0], where) if found else Pointer()
        known = -1 if self._current is None else self._current.pointer.switches
        if pointer.switches > known or self._is_lost():
            self._current, self._gone_since_s = self._opened(pointer), None
        return self._current

    def _is_lost(self) -> bool:
        since_s = self._gone_since_s
        return since_s is not None and asyncio.get_running_loop().time() - since_s >= LOST_S

    def _opened(self, pointer: Pointer) -> _Current | None:
        if pointer.current is None:
            return None
        table = asked.table_of(self._model, pointer.current.name)
        text = render(asked.LOOK_UP, self._address.schema, table)
        return _Current(pointer, pointer.current, Origins(pointer.current), text)

    async def _with_session(self, work: Callable[[AsyncSession], Awaitable[Result]]) -> Result:
        """Do something in a session; once more in a new one if an old one turns out to be over."""
        for left in reversed(range(MAX_SESSIONS + 1)):
            async with self._free:
                is_old = bool(self._idle)
                try:
                    session = await self._session()
                    try:
                        return await work(session)
                    finally:
                        if self._is_closed:
                            await session.close()
                        elif session.is_open:
                            self._idle.append(session)
                except Failed as error:
                    if not (is_old and error.is_lost and left):
                        raise unavailable(self._address, str(error)) from error
            await self._hang_up()  # the others are over, too
        raise AssertionError  # the last of them returned or raised

    async def _session(self) -> AsyncSession:
        if self._idle:
            return self._idle.pop()
        return await self._connect(self._address, self._timeout_s)

    async def _hang_up(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @contextlib.asynccontextmanager
    async def _in_time(self, ends_s: float) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout_at(ends_s):
                yield
        except TimeoutError as error:
            got = f"no answer within {self._timeout_s:g} s"
            raise unavailable(self._address, got) from error


def _parted(
    found: Sequence[tuple[Any, ...]],
) -> tuple[dict[bytes, bytes], dict[bytes, bytes], int]:
    """What LOOK_UP found: of the snapshot, of what was kept; how often the pointer was moved."""
    batch: dict[bytes, bytes] = {}
    live: dict[bytes, bytes] = {}
    moved = 0
    for key, value, which in found:
        if which == asked.BATCH:
            batch[key] = value
        elif which == asked.LIVE:
            live[key] = value
        else:
            moved = which
    return batch, live, moved


def _both(
    batch: Mapping[bytes, bytes],
    live: Mapping[bytes, bytes],
    key: bytes,
    origins: Origins,
    with_features: bool,  # noqa: FBT001 - as it was given
) -> Stored | None:
    """What is live goes before what is not; features are those of the snapshot."""
    value, kept = batch.get(key), live.get(key)
    if kept is None:
        return None if value is None else decode_value(value, origins, with_features=with_features)
    features = None
    if value is not None and with_features:
        features = decode_value(value, origins, with_features=True).features
    return msgspec.structs.replace(decode_value(kept, origins), features=features)
