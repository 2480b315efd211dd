from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from twofold.errors import StoreUnavailable
from twofold.stores.shared_trips import SharedTrips


class Server:
    """Answers a trip when it is told to."""

    def __init__(self) -> None:
        self.trips: list[list[bytes]] = []
        self.held: list[asyncio.Future[str]] = []
        self.is_slow = False
        self.left_s = 0.0

    async def go(self, keys: Sequence[bytes], ends_s: float) -> str:
        self.left_s = ends_s - asyncio.get_running_loop().time()
        self.trips.append(list(keys))
        if self.is_slow:
            self.held.append(asyncio.get_running_loop().create_future())
            return await self.held[-1]
        return f"trip {len(self.trips)}"


def trips_to(server: Server, **limits: int) -> SharedTrips[str]:
    chosen = {"max_trips": 1, "max_keys": 10, "max_waiting": 10} | limits
    return SharedTrips("db", server.go, timeout_s=60, **chosen)


def run(work: Callable[[Server], Awaitable[Any]]) -> Server:
    server = Server()

    async def go() -> None:
        await work(server)

    asyncio.run(go())
    return server


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_who_asks_in_the_same_turn_goes_on_the_same_trip() -> None:
    async def work(server: Server) -> None:
        trips = trips_to(server)
        answers = await asyncio.gather(*(trips.join([b"a", b"%d" % n]) for n in range(3)))
        assert answers == ["trip 1"] * 3
        assert await trips.join([b"z"]) == "trip 2"

    assert run(work).trips == [[b"a", b"0", b"1", b"2"], [b"z"]]


def test_who_comes_while_all_trips_are_under_way_goes_on_the_next() -> None:
    async def work(server: Server) -> None:
        server.is_slow = True
        trips = trips_to(server, max_trips=2)
        answers = []
        for key in (b"1", b"2", b"3", b"4"):
            answers.append(trips.join([key]))
            await turns()
        assert server.trips == [[b"1"], [b"2"]]
        server.held[1].set_result("second")
        await turns()
        assert server.trips[2:] == [[b"3", b"4"]]
        server.held[0].set_result("first")
        server.held[2].set_result("third")
        assert await asyncio.gather(*answers) == ["first", "second", "third", "third"]

    run(work)


def test_a_trip_has_no_more_keys_than_it_may_unless_one_caller_has() -> None:
    async def work(server: Server) -> None:
        trips = trips_to(server, max_keys=3)
        many = [b"%d" % n for n in range(5)]
        asked = ([b"a", b"b"], [b"c"], [b"d"], many, [])
        await asyncio.gather(*(trips.join(keys) for keys in asked))

    many = [b"0", b"1", b"2", b"3", b"4"]
    assert run(work).trips == [[b"a", b"b", b"c"], [b"d"], many, []]


def test_a_trip_ends_when_the_time_of_its_first_caller_is_over() -> None:
    async def work(server: Server) -> None:
        server.is_slow = True
        trips = trips_to(server)
        trips.join([b"a"])
        await turns()
        assert 59 < server.left_s <= 60
        waits = trips.join([b"b"])
        trips._waiting[0] = trips._waiting[0]._replace(ends_s=asyncio.get_running_loop().time() + 9)
        trips.join([b"c"])
        server.held[0].set_result("fine")
        await turns()
        assert 8 < server.left_s <= 9
        server.held[1].set_result("fine")
        await waits

    run(work)


def test_no_more_callers_wait_than_may() -> None:
    async def work(server: Server) -> None:
        trips = trips_to(server, max_waiting=2)
        answers = [trips.join([b"a"]), trips.join([b"b"])]
        with pytest.raises(StoreUnavailable, match=r"^db: expected at most 2 callers waiting"):
            trips.join([b"c"])
        await asyncio.gather(*answers)
        await trips.join([b"c"])

    run(work)


def test_an_error_is_told_to_all_on_the_trip_and_to_nobody_else() -> None:
    async def work(server: Server) -> None:
        server.is_slow = True
        trips = trips_to(server)
        answers = [trips.join([b"a"]), trips.join([b"b"])]
        await turns()
        last = trips.join([b"c"])
        server.held[0].set_exception(ValueError("no"))
        await turns()
        for answer in answers:
            with pytest.raises(ValueError, match="no"):
                await answer
        server.held[1].set_result("fine")
        assert await last == "fine"

    run(work)


def test_who_gives_up_before_a_trip_does_not_go_and_after_it_began_harms_nobody() -> None:
    async def work(server: Server) -> None:
        server.is_slow = True
        trips = trips_to(server)
        gone, stays, later = trips.join([b"a"]), trips.join([b"b"]), trips.join([b"c"])
        gone.cancel()
        await turns()
        assert server.trips == [[b"b", b"c"]]
        later.cancel()
        server.held[0].set_result("fine")
        assert await stays == "fine"

    run(work)


def test_closing_ends_trips_and_tells_who_waits_and_who_comes() -> None:
    async def work(server: Server) -> None:
        server.is_slow = True
        trips = trips_to(server)
        first = trips.join([b"a"])
        await turns()
        waits = trips.join([b"b"])
        await trips.close()
        for answer in (first, waits):
            with pytest.raises(StoreUnavailable, match="expected an open reader"):
                await answer
        with pytest.raises(StoreUnavailable, match="expected an open reader"):
            trips.join([b"c"])
        assert server.trips == [[b"a"]]

    run(work)
