"""Shared trips: look-ups that are asked for in the same turn of the event loop go together.

While all trips are under way, those that come later wait for the next; so the busier a server is,
the more keys it is asked for at once.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from twofold.errors import StoreUnavailable, problem

Answer = TypeVar("Answer")


class _Caller(NamedTuple, Generic[Answer]):
    keys: Sequence[bytes]
    answer: asyncio.Future[Answer]
    ends_s: float


class SharedTrips(Generic[Answer]):
    """Takes keys to a server, those of several callers at once."""

    def __init__(
        self,
        where: str,
        go: Callable[[Sequence[bytes], float], Awaitable[Answer]],
        *,
        timeout_s: float,
        max_trips: int,
        max_keys: int,
        max_waiting: int,
    ) -> None:
        """Begin with nobody waiting.

        Args:
            where: The server, for messages.
            go: Makes a trip with some keys, none of them twice, that ends at an instant of the
                event loop's clock, one way or another.
            timeout_s: Seconds until then, for the caller of a trip who has waited longest: so
                there is no timer for each of them.
            max_trips: That are under way at once.
            max_keys: Of a trip; unless one caller has more.
            max_waiting: Callers that wait for a trip.
        """
        self._where = where
        self._go = go
        self._timeout_s = timeout_s
        self._max_trips, self._max_keys, self._max_waiting = max_trips, max_keys, max_waiting
        self._waiting: deque[_Caller[Answer]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._is_due = self._is_closed = False

    def join(self, keys: Sequence[bytes]) -> asyncio.Future[Answer]:
        """Come along on the next trip; its answer is about the keys of all who did.

        Raises:
            StoreUnavailable: Too many wait already.
        """
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise self._closed()
        if len(self._waiting) >= self._max_waiting:
            fix = "Send fewer at once, or give the server more room."
            wanted, got = f"at most {self._max_waiting} callers waiting", "more"
            raise StoreUnavailable(problem(self._where, wanted, got, fix))
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(_Caller(keys, answer, loop.time() + self._timeout_s))
        if not self._is_due and len(self._under_way) < self._max_trips:
            self._is_due = True
            loop.call_soon(self._set_off)
        return answer

    async def close(self) -> None:
        """End the trips that are under way; who waits is told."""
        self._is_closed = True
        self._tell([caller.answer for caller in self._waiting], self._closed())
        self._waiting.clear()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _set_off(self) -> None:
        self._is_due = False
        while self._waiting and len(self._under_way) < self._max_trips:
            keys: dict[bytes, None] = {}
            answers: list[asyncio.Future[Answer]] = []
            ends_s = math.inf
            while self._waiting and (
                not answers or len(keys) + len(self._waiting[0].keys) <= self._max_keys
            ):
                caller = self._waiting.popleft()
                if not caller.answer.done():  # else the caller has given up
                    keys.update(dict.fromkeys(caller.keys))
                    answers.append(caller.answer)
                    ends_s = min(ends_s, caller.ends_s)
            if answers:
                trip = self._travel(list(keys), answers, ends_s)
                self._under_way.add(asyncio.get_running_loop().create_task(trip))

    async def _travel(
        self, keys: list[bytes], answers: list[asyncio.Future[Answer]], ends_s: float
    ) -> None:
        try:
            found = await self._go(keys, ends_s)
        except asyncio.CancelledError:
            self._tell(answers, self._closed())
            raise
        except Exception as error:  # noqa: BLE001 - it is the callers', who all are told
            self._tell(answers, error)
        else:
            for answer in answers:
                if not answer.done():
                    answer.set_result(found)
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._under_way.discard(task)
            self._set_off()

    @staticmethod
    def _tell(answers: Sequence[asyncio.Future[Answer]], error: Exception) -> None:
        for answer in answers:
            if not answer.done():
                answer.set_exception(error)

    def _closed(self) -> StoreUnavailable:
        fix = "Open another reader."
        return StoreUnavailable(problem(self._where, "an open reader", "a closed one", fix))
