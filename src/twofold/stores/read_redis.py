"""Look keys up in Redis: all look-ups of one turn of the event loop in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from twofold.errors import StoreUnavailable, problem
from twofold.stores.redis_layout import KEEP, Buckets, Command, Names, mark_of, not_ours
from twofold.stores.snapshot import Pointer, Snapshot, Stored, decode_pointer
from twofold.stores.store import Found
from twofold.stores.values import Origins, decode_value, encode_live
from twofold.stores.view import View

MAX_TURNS = 2
"""Round trips of look-ups under way at once; what comes meanwhile waits for the next, together."""
MAX_KEEPS = 2
"""Live predictions on the way at once."""
MAX_CONNECTIONS = MAX_TURNS + MAX_KEEPS
"""To each server."""
MAX_TURN_KEYS = 4_096
"""Keys that are looked up together, but for those of one call, which are of one snapshot."""
MAX_WAITING_KEYS = 1 << 20
MAX_LOOKS = 4
"""How often keys are looked up while one snapshot after the other is deleted."""
MAX_LIVE_KEYS = 100_000
"""Live predictions that are kept beside a snapshot."""


class Channel(Protocol):
    """A connection of an event loop to a Redis server or a cluster.

    Attributes:
        address: Where it leads.
        is_ordered: Whether commands sent together are carried out in their order.
    """

    address: str
    is_ordered: bool

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and give the answers in their order.

        Raises:
            StoreUnavailable: No answer came, or it was a refusal.
        """
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class _Ask:
    """A call of `find` that waits."""

    __slots__ = ("answer", "keys", "until_s", "with_features")

    def __init__(
        self, keys: Sequence[bytes], *, with_features: bool, loop: Any, timeout_s: float
    ) -> None:
        self.keys = keys
        self.with_features = with_features
        self.answer: asyncio.Future[Found] = loop.create_future()
        self.until_s: float = loop.time() + timeout_s


class _Opened:
    """The snapshot that is read, as long as the pointer isn't moved."""

    __slots__ = ("buckets", "mark", "origins", "snapshot")

    def __init__(self, snapshot: Snapshot, mark: str) -> None:
        self.snapshot = snapshot
        self.mark = mark
        self.buckets = Buckets.of(snapshot)
        self.origins = Origins(snapshot)


class RedisReader:
    """See `RemoteReader`."""

    def __init__(self, channel: Channel, model: str, *, timeout_s: float) -> None:
        """Know nothing yet."""
        self._channel = channel
        self._model = model
        self._names = Names(model)
        self._timeout_s = timeout_s
        self._view = View()
        self._mark = ""
        self._opened: _Opened | None = None
        self._waiting: list[_Ask] = []
        self._waiting_keys = 0
        self._turns: set[asyncio.Task[None]] = set()
        self._keeping = asyncio.Semaphore(MAX_KEEPS)
        # Of the last look-up: where keys are missing once, they are again.
        self._is_missing = False
        self._is_closed = False

    async def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        """See `RemoteReader.find`.

        Raises:
            StoreUnavailable: The store doesn't answer in time, too much waits for it already, or
                the reader is closed.
        """
        if self._is_closed:
            raise self._closed()
        if self._waiting and self._waiting_keys + len(keys) > MAX_WAITING_KEYS:
            got = f"{self._waiting_keys} that wait"
            fix = "Ask less at once, or let more servers answer."
            raise StoreUnavailable(problem(self._where, "fewer keys", got, fix))
        loop = asyncio.get_running_loop()
        ask = _Ask(keys, with_features=with_features, loop=loop, timeout_s=self._timeout_s)
        if not self._waiting:
            # Whoever asks in this turn of the loop joins in.
            loop.call_soon(self._begin)
        self._waiting.append(ask)
        self._waiting_keys += len(keys)
        return await ask.answer

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        """See `RemoteReader.keep`.

        Other readers see it within `view.REFRESH_S`.

        Raises:
            StoreUnavailable: The store doesn't answer.
        """
        try:
            async with asyncio.timeout(self._timeout_s), self._keeping:
                if self._view.pointer is None:
                    await self._refresh()
                opened = self._opened
                if opened is None or opened.snapshot.name != snapshot.name:
                    return False
                keys = (self._names.pointer, self._names.live(opened.mark))
                about = (opened.mark, key, encode_live(stored), MAX_LIVE_KEYS)
                (is_kept,) = await self._channel.send([("EVAL", KEEP, 2, *keys, *about)])
        except TimeoutError as error:
            raise self._late() from error
        if is_kept and self._opened is opened:
            self._view.has_live = True
        return bool(is_kept)

    async def close(self) -> None:
        """Hang up; who waits is told."""
        self._is_closed = True
        for turn in self._turns:
            turn.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)
        for ask in self._waiting:
            _fail(ask, self._closed())
        self._waiting.clear()
        await self._channel.close()

    @property
    def _where(self) -> str:
        return f"{self._channel.address} {self._model}"

    def _begin(self) -> None:
        """Send what waits, if not too much is under way."""
        if self._is_closed or not self._waiting or len(self._turns) >= MAX_TURNS:
            return
        number, keys = 0, 0
        for ask in self._waiting:
            keys += len(ask.keys)
            if number and keys > MAX_TURN_KEYS:
                keys -= len(ask.keys)
                break
            number += 1
        asks, self._waiting = self._waiting[:number], self._waiting[number:]
        self._waiting_keys -= keys
        turn = asyncio.get_running_loop().create_task(self._turn(asks))
        self._turns.add(turn)
        turn.add_done_callback(self._ended)
        if self._waiting:
            self._begin()

    def _ended(self, turn: asyncio.Task[None]) -> None:
        self._turns.discard(turn)
        self._begin()

    async def _turn(self, asks: list[_Ask]) -> None:
        """Answer some calls, whatever comes."""
        error: Exception
        try:
            async with asyncio.timeout_at(asks[0].until_s):
                for _ in range(MAX_LOOKS):
                    asks = await self._look(asks)
                    if not asks:
                        return
            got = "one after the other deleted while it was read"
            fix = "Publish less often."
            error = StoreUnavailable(problem(self._where, "a snapshot that stays", got, fix))
        except TimeoutError as late:
            error = self._late()
            error.__cause__ = late
        except asyncio.CancelledError:
            error = self._closed()
        except Exception as raised:  # noqa: BLE001 - the callers wait for it
            error = raised
        for ask in asks:
            _fail(ask, error)

    async def _look(self, asks: list[_Ask]) -> list[_Ask]:
        """Look up once.

        Returns:
            The calls that it must be done again for, as the snapshot is another one by now.
        """
        is_due = self._view.is_due(asyncio.get_running_loop().time())
        if is_due and self._opened is None:
            await self._refresh()
            is_due = False
        opened = self._opened
        if opened is None:
            for ask in asks:
                _settle(ask, Found(None, [None] * len(ask.keys)))
            return []
        # On one server the state is then read after the keys: what is missing is missing, and it
        # needn't be asked once more.
        with_state = is_due or (self._is_missing and self._channel.is_ordered)
        keys = [key for ask in asks for key in ask.keys]
        rows, live = await self._fetch(opened, keys, with_state=with_state)
        if with_state and self._opened is not opened:
            return asks
        self._is_missing = None in rows
        is_sure = with_state and self._channel.is_ordered
        open_asks: list[tuple[_Ask, slice]] = []
        first = 0
        for ask in asks:
            part = slice(first, first + len(ask.keys))
            first = part.stop
            if is_sure or None not in rows[part]:
                self._answer(ask, rows[part], live and live[part], opened)
            else:
                open_asks.append((ask, part))
        if open_asks:
            await self._refresh()
            if self._opened is not opened:
                return [ask for ask, _ in open_asks]
        for ask, part in open_asks:
            self._answer(ask, rows[part], live and live[part], opened)
        return []

    async def _fetch(
        self, opened: _Opened, keys: list[bytes], *, with_state: bool
    ) -> tuple[list[bytes | None], list[bytes | None] | None]:
        """Fetch what stands beside some keys, and the state of the pointer if it is wanted.

        Returns:
            What was published, and what was kept live; None if nothing was.
        """
        asked_s = asyncio.get_running_loop().time()
        commands: list[Command] = [("HGET", opened.buckets.holding(key), key) for key in keys]
        with_live = self._view.has_live and bool(keys)
        if with_live:
            commands.append(("HMGET", self._names.live(opened.mark), *keys))
        if with_state:
            commands += self._state()
        answers = await self._channel.send(commands) if commands else []
        if with_state:
            await self._told(answers[-2:], asked_s=asked_s)
        return answers[: len(keys)], answers[len(keys)] if with_live else None

    def _answer(
        self,
        ask: _Ask,
        rows: list[bytes | None],
        live: list[bytes | None] | None,
        opened: _Opened,
    ) -> None:
        origins, wanted = opened.origins, ask.with_features
        try:
            stored = [
                None if data is None else decode_value(data, origins, with_features=wanted)
                for data in rows
            ]
            for at, data in enumerate(live or ()):
                if data is not None:
                    row, kept = stored[at], decode_value(data, origins)
                    features = None if row is None else row.features
                    stored[at] = msgspec.structs.replace(kept, features=features)
        except msgspec.DecodeError as error:
            _fail(ask, not_ours(self._channel.address, opened.snapshot, error))
        else:
            _settle(ask, Found(opened.snapshot, stored))

    def _state(self) -> list[Command]:
        """Ask whether the pointer was moved, which is told in few bytes, and for live ones."""
        live = self._names.live(self._mark)
        return [("HGET", self._names.pointer, "mark"), ("HLEN", live)]

    async def _refresh(self) -> None:
        asked_s = asyncio.get_running_loop().time()
        await self._told(await self._channel.send(self._state()), asked_s=asked_s)

    async def _told(self, state: Sequence[Any], *, asked_s: float) -> None:
        """Take note of what `_state` was answered; read the pointer if it was moved."""
        mark, live = state
        if self._view.pointer is not None and (mark or b"").decode() == self._mark:
            self._view.confirm(has_live=bool(live), asked_s=asked_s)
            return
        asked_s = asyncio.get_running_loop().time()
        (raw,) = await self._channel.send([("HGET", self._names.pointer, "pointer")])
        pointer = decode_pointer(raw, self._where) if raw else Pointer()
        self._view.learn(pointer, asked_s=asked_s)
        known = self._view.pointer
        if known is None or known.current is None:
            self._mark, self._opened = mark_of(known), None
        elif mark_of(known) != self._mark:
            self._mark = mark_of(known)
            self._opened = _Opened(known.current, self._mark)

    def _late(self) -> StoreUnavailable:
        got = f"none within {self._timeout_s:g} s"
        fix = "Look whether it runs, and what keeps it busy."
        return StoreUnavailable(problem(self._where, "an answer of the store", got, fix))

    def _closed(self) -> StoreUnavailable:
        fix = "Open another one."
        return StoreUnavailable(problem(self._where, "an open reader", "a closed one", fix))


def _settle(ask: _Ask, found: Found) -> None:
    # Whoever asked may have gone.
    if not ask.answer.done():
        ask.answer.set_result(found)


def _fail(ask: _Ask, error: Exception) -> None:
    if not ask.answer.done():
        ask.answer.set_exception(error)
