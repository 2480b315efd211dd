"""Looking keys up in a store that may be slow, or away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from published import live_of, snapshot_of

from twofold.errors import StoreUnavailable
from twofold.hybrid.lookup import Lookup
from twofold.hybrid.settings import AnswerSettings
from twofold.stores.snapshot import Snapshot, Stored
from twofold.stores.store import Found

AWAY = StoreUnavailable("store: expected an answer, got none.")


class FakeReader:
    """A store that has what it is given, fails as it is told to, or never answers."""

    def __init__(self) -> None:
        self.has: dict[bytes, Stored] = {}
        self.snapshot = snapshot_of()
        self.fails: BaseException | None = None
        self.is_stuck = False
        self.asked: list[tuple[list[bytes], bool]] = []
        self.kept: list[bytes] = []
        self.before: Callable[[], object] = lambda: None

    async def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        self.asked.append(([*keys], with_features))
        await self._answer()
        return Found(self.snapshot, [self.has.get(key) for key in keys])

    async def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        await self._answer()
        self.kept.append(key)
        return snapshot == self.snapshot

    async def close(self) -> None:
        pass

    async def _answer(self) -> None:
        self.before()
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.fails:
            raise self.fails


class Bench:
    def __init__(self, **policy: Any) -> None:
        self.reader = FakeReader()
        self.now_s = 0.0
        self.told: list[str] = []
        self.took_s: list[float] = []
        settings: dict[str, Any] = {
            "store_timeout_s": 0.001,
            "max_store_failures": 2,
            "store_retry_s": 1.0,
        }
        self.lookup = Lookup(
            self.reader, AnswerSettings(**settings | policy), lambda: self.now_s, self.tell
        )

    def tell(self, outcome: str, took_s: float) -> None:
        self.told.append(outcome)
        self.took_s.append(took_s)

    def find(self, *keys: bytes, features: bool = False, within_s: float = 9.0) -> Found:
        return asyncio.run(self._find(keys, features=features, within_s=within_s))

    def _find(
        self, keys: Sequence[bytes], *, features: bool, within_s: float
    ) -> Coroutine[Any, Any, Found]:
        return self.lookup.find(keys, with_features=features, within_s=within_s)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_what_the_store_has_is_found(bench: Bench) -> None:
    bench.reader.has[b"a"] = live_of(1.5)
    assert bench.lookup.snapshot is None
    assert bench.find(b"a", b"x", features=True) == Found(snapshot_of(), [live_of(1.5), None])
    assert bench.reader.asked == [([b"a", b"x"], True)]
    assert bench.told == ["answered"]
    assert bench.lookup.snapshot == snapshot_of()


@pytest.mark.parametrize(("within_s", "shown"), [(9.0, "1 ms"), (0.0, "0 ms"), (-1.0, "-1000 ms")])
def test_a_store_that_does_not_answer_in_time_is_told_so(
    bench: Bench, within_s: float, shown: str
) -> None:
    bench.reader.is_stuck = True
    with pytest.raises(StoreUnavailable, match=f"store: expected an answer within {shown}, got no"):
        bench.find(b"a", within_s=within_s)
    assert bench.told == ["failed"]


def test_what_it_says_itself_is_told_as_it_was(bench: Bench) -> None:
    bench.reader.fails = AWAY
    with pytest.raises(StoreUnavailable) as caught:
        bench.find(b"a")
    assert caught.value is AWAY
    assert bench.told == ["failed"]


def test_one_that_keeps_failing_is_not_asked_for_a_while_and_then_once(bench: Bench) -> None:
    bench.reader.fails = AWAY
    for failures in [1, 2]:
        with pytest.raises(StoreUnavailable):
            bench.find(b"a")
        assert bench.lookup.is_away == (failures == 2)
    with pytest.raises(
        StoreUnavailable, match=r"got several failures in a row\. It is tried again"
    ):
        bench.find(b"a")
    assert len(bench.reader.asked) == 2
    assert bench.told == ["failed", "failed"]
    bench.now_s = 1.0
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            bench.find(b"a")
    assert len(bench.reader.asked) == 3
    bench.now_s, bench.reader.fails = 2.0, None
    assert bench.find(b"a").stored == [None]
    assert not bench.lookup.is_away
    assert bench.told == ["failed"] * 3 + ["answered"]


def test_a_request_that_had_hardly_any_time_says_little_about_the_store() -> None:
    bench = Bench(store_timeout_s=0.02)
    bench.reader.is_stuck = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="within 10 ms"):
            bench.find(b"a", within_s=0.01)
    assert not bench.lookup.is_away
    with pytest.raises(StoreUnavailable, match="within 10 ms"):
        bench.find(b"a", within_s=0.01)
    assert bench.lookup.is_away


def test_what_was_found_last_is_remembered_and_what_is_gone_is_not(bench: Bench) -> None:
    bench.reader.has = {b"a": live_of(1.5), b"b": live_of(2.5)}
    bench.find(b"a", b"b", b"c")
    bench.reader.has = {b"b": live_of(3.5)}
    bench.find(b"a", b"b")
    bench.reader.fails = AWAY
    with pytest.raises(StoreUnavailable):
        bench.find(b"b")
    remembered = [bench.lookup.remembered(key) for key in [b"a", b"b", b"c"]]
    assert remembered == [None, live_of(3.5), None]


def test_no_more_is_remembered_than_may_be_the_last_found_longest() -> None:
    bench = Bench(max_remembered_keys=3)
    bench.reader.has = {key: live_of() for key in [b"a", b"b", b"c", b"d"]}
    for key in [b"a", b"b", b"c", b"a", b"d"]:
        bench.find(key)
    known = [key for key in bench.reader.has if bench.lookup.remembered(key)]
    assert known == [b"a", b"c", b"d"]
    bench.find(*bench.reader.has)
    assert [key for key in bench.reader.has if bench.lookup.remembered(key)] == [b"b", b"c", b"d"]


def test_nothing_is_remembered_if_nothing_may_be() -> None:
    bench = Bench(max_remembered_keys=0)
    bench.reader.has[b"a"] = live_of()
    assert bench.find(b"a").stored == [live_of()]
    assert bench.lookup.remembered(b"a") is None


def test_a_prediction_is_kept_if_the_store_takes_it_in_time(bench: Bench) -> None:
    def keep(snapshot: Snapshot) -> bool:
        return asyncio.run(bench.lookup.keep(b"a", live_of(), snapshot))

    assert keep(snapshot_of())
    assert not keep(snapshot_of(2))
    bench.reader.fails = AWAY
    assert not keep(snapshot_of())
    bench.reader.is_stuck = True
    assert not keep(snapshot_of())
    assert bench.reader.kept == [b"a", b"a"]
    # It isn't asked for anything, so it isn't failing either.
    assert bench.told == []
    assert not bench.lookup.is_away


def test_who_is_not_waited_for_any_more_is_no_failure_of_the_store() -> None:
    async def give_up() -> None:
        asked = asyncio.ensure_future(bench._find([b"a"], features=False, within_s=9.0))
        for _ in range(3):
            await asyncio.sleep(0)
        assert bench.reader.asked
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    bench = Bench(store_timeout_s=60.0)
    bench.reader.is_stuck = True
    asyncio.run(give_up())
    assert bench.told == []
    assert not bench.lookup.is_away


def test_how_long_each_request_took_is_told_and_since_when_the_store_is_away(bench: Bench) -> None:
    def slow(seconds: float) -> None:
        bench.now_s += seconds

    bench.reader.before = lambda: slow(0.25)
    bench.find(b"a")
    bench.reader.fails = StoreUnavailable("gone")
    for _ in range(2):
        assert bench.lookup.away_since_s is None
        with pytest.raises(StoreUnavailable):
            bench.find(b"a")
    assert bench.took_s == [0.25, 0.25, 0.25]
    assert bench.lookup.away_since_s == 0.75
    bench.now_s, bench.reader.fails = 5.0, None
    bench.find(b"a")
    assert bench.lookup.away_since_s is None
