"""What every store promises, on real files and servers.

A store is added by a branch of the fixture `place`, and one of `stores.open_store`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import InvalidInput, LeaseHeld, StoreUnavailable, TwofoldError
from twofold.stores import live_log, postgresql_reader, read_redis
from twofold.stores.snapshot import (
    Origin,
    Pointer,
    Snapshot,
    Stored,
    key_of,
    next_number,
    rolled_back,
    switched,
)

sys.path.insert(0, str(Path(__file__).parent))
import stores
from servers import PostgresqlServer, RedisServers, running_postgresql, running_redis
from stores import (
    AT,
    KEYS,
    LEASE_S,
    ROWS,
    TIMEOUT_S,
    Reading,
    numbered,
    open_store,
    publish,
    rows_of,
    snapshot_of,
)

SEEN_S = 5.0
"""After so long at the latest a reader sees what others did."""
IDS = ["embedded", "postgresql", "redis", "redis-cluster"]
if shutil.which("valkey-server"):
    IDS.append("valkey")


@dataclasses.dataclass
class Place:
    """A store under test.

    Attributes:
        spec: See `stores.open_store`.
        store: The store.
        model: A model of this test's own.
        server: What can be stopped and started; None for files.
        take_away: Takes the right to publish a model from its holder; None if nobody can.
        room: The constant that limits live predictions, and its value for a few of them.
    """

    spec: str
    store: Any
    model: str
    server: RedisServers | PostgresqlServer | None
    take_away: Callable[[str], None] | None
    room: tuple[Any, str, int]

    def child(self, *words: object) -> subprocess.Popen[str]:
        """Start a process; see `stores`."""
        command = [sys.executable, stores.__file__, self.spec, self.model, *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reading]:
        reading = Reading(self.store, self.model)
        try:
            yield reading
        finally:
            reading.close()


@pytest.fixture(scope="module", params=IDS)
def kind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Any]]:
    """The kind of a store, and its server."""
    folder = tmp_path_factory.mktemp(request.param) / "store"
    if request.param == "embedded":
        yield "embedded", folder
        return
    if request.param == "postgresql":
        with running_postgresql() as server:
            yield "postgresql", server
        return
    name = "valkey-server" if request.param == "valkey" else "redis-server"
    nodes = 3 if request.param == "redis-cluster" else 1
    with running_redis(folder, nodes=nodes, command=name) as servers:
        yield request.param, servers


@pytest.fixture
def place(kind: tuple[str, Any], request: pytest.FixtureRequest) -> Place:
    id_, where = kind
    model = f"m-{uuid.uuid4().hex}"
    if id_ == "embedded":
        spec = f"{id_} {where}"
        return Place(spec, open_store(spec), model, None, None, (live_log, "MAX_BYTES", 200))
    spec = f"{id_} {where.url}"
    if id_ == "postgresql":
        # Its right to publish is its session's: whoever ends that is a server that goes away.
        room = (postgresql_reader, "MAX_LIVE_KEYS", 5)
        if "server" in request.fixturenames:
            spec = f"{id_} {where.stopped_url}"
        return Place(spec, open_store(spec), model, where, None, room)
    room = (read_redis, "MAX_LIVE_KEYS", 5)
    return Place(spec, open_store(spec), model, where, where.take_away, room)


@pytest.fixture
def server(place: Place) -> RedisServers | PostgresqlServer:
    if place.server is None:
        pytest.skip("files have no server")
    return place.server


def eventually(question: Callable[[], bool]) -> None:
    """What others did is seen in bounded time."""
    until_s = time.monotonic() + SEEN_S
    while not question():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def live(value: float, snapshot: Snapshot) -> Stored:
    origin = Origin(
        source="live", model=snapshot.model, version="4", run_id="", as_of=AT, predicted_at=AT
    )
    return Stored((value,), origin)


def publish_rows(place: Place, keys: list[bytes], *predictions: Any, **more: Any) -> Snapshot:
    """Publish one snapshot of one batch."""
    about = {name: more.pop(name) for name in ("outputs", "type", "features") if name in more}
    with place.store.publishing(place.model) as publication:
        number = next_number(publication.pointer)
        snapshot = snapshot_of(place.model, number, len(keys), **about)
        publication.write(snapshot, [rows_of(keys, *predictions, **more)])
        assert publication.verify(snapshot) == len(keys)
        publication.point(switched(publication.pointer, snapshot))
    return snapshot


def is_gone(publication: Any, snapshot: Snapshot) -> bool:
    try:
        return publication.verify(snapshot) == 0
    except TwofoldError:
        return True


def test_an_empty_store_has_nothing_of_a_model(place: Place) -> None:
    assert place.store.pointer(place.model) == Pointer()
    with place.reading() as reading:
        assert reading.find([b"a", b"b"]) == (None, [None, None])
        assert reading.find([]) == (None, [])
    with place.store.publishing(place.model) as publication:
        assert publication.pointer == Pointer()


def test_what_is_published_is_found_with_its_origin(place: Place) -> None:
    snapshot = publish(place.store, place.model)
    pointer = place.store.pointer(place.model)
    assert pointer == Pointer(switches=1, current=snapshot)
    with place.reading() as reading:
        found = reading.find([KEYS[0], b"nobody", KEYS[-1]])
    assert found.snapshot == snapshot
    origin = Origin(
        source="batch",
        model=place.model,
        version="3",
        run_id=snapshot.run_id,
        as_of=AT,
        predicted_at=AT,
    )
    stored = Stored((1.0,), origin)
    assert found.stored == [stored, None, stored]


def test_a_snapshot_without_rows_is_one(place: Place) -> None:
    snapshot = publish(place.store, place.model, [])
    with place.reading() as reading:
        assert reading.find([b"a"]) == (snapshot, [None])


def test_a_reader_opened_before_the_first_snapshot_sees_it(place: Place) -> None:
    with place.reading() as reading:
        assert reading.find([KEYS[0]]).snapshot is None
        snapshot = publish(place.store, place.model)
        eventually(lambda: reading.find([KEYS[0]]).snapshot == snapshot)
        assert reading.find(KEYS[:1]).stored != [None]


def test_whole_numbers_are_found_as_numbers_and_as_texts(place: Place) -> None:
    keys = [key_of(key) for key in (17, -3, 2**63 - 1, 0)]
    publish_rows(place, keys, [1.0, 2.0, 3.0, 4.0])
    with place.reading() as reading:
        wanted = [17, "17", "-3", 9223372036854775807, 0, "00", "017"]
        found = reading.find([key_of(key) for key in wanted]).stored
    assert [item and item.predictions[0] for item in found] == [1.0, 1.0, 2.0, 3.0, 4.0, None, None]


ODD = [
    b"",
    b"\0",
    b"\0\0",
    b"a\0b",
    b"../../etc",
    b"a/b",
    b"{}",
    b"{a}b}",
    b"}{",
    b"a\nb\r\n",
    b"$3\r\nabc",
    b"\xff\xfe",
    b"\xc3",
    b"%s;'\"--",
    "Zoë 東京 🙂".encode(),
    b" a",
    b"a ",
    b"A",
    b"a",
    b"x" * 10_000,
    b"x" * 9_999 + b"y",
]


def test_keys_may_be_any_bytes(place: Place) -> None:
    publish_rows(place, ODD, [float(n) for n in range(len(ODD))])
    with place.reading() as reading:
        found = reading.find([*ODD, b"\0\0\0", b"x" * 9_999])
        alone = [reading.find([key]).stored[0] for key in ODD]
    numbers = [item and item.predictions[0] for item in found.stored]
    assert numbers == [*(float(n) for n in range(len(ODD))), None, None]
    assert alone == found.stored[:-2]


def test_random_keys_are_each_found_and_no_others(place: Place) -> None:
    @settings(max_examples=15, deadline=None, database=None)
    @given(st.sets(st.binary(max_size=40), max_size=200), st.lists(st.binary(max_size=3)))
    def check(keys: set[bytes], others: list[bytes]) -> None:
        ordered = sorted(keys)
        publish_rows(place, ordered, [float(n) for n in range(len(ordered))])
        with place.reading() as reading:
            found = reading.find([*ordered, *others])
        there = {key: float(n) for n, key in enumerate(ordered)}
        for key, item in zip([*ordered, *others], found.stored, strict=True):
            assert (item and item.predictions[0]) == there.get(key)

    check()


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("float64", [0.1, -0.0, 5e-324, 1.7976931348623157e308]),
        ("int64", [0, -1, 2**63 - 1, -(2**63)]),
        ("bool", [True, False, True, False]),
        ("string", ["", "a\0b", "Zoë 🙂", "x" * 5_000]),
    ],
)
def test_predictions_of_every_type_come_as_they_went(
    place: Place, type_: str, values: list[Any]
) -> None:
    keys = [b"a", b"b", b"c", b"d"]
    kinds = {"float64": pa.float64(), "int64": pa.int64(), "bool": pa.bool_()}
    column = pa.array(values, kinds.get(type_, pa.string()))
    publish_rows(place, keys, column, column[::-1], outputs=("one", "two"), type=type_)
    with place.reading() as reading:
        found = reading.find(keys).stored
    pairs = list(zip(values, values[::-1], strict=True))
    got = [item and item.predictions for item in found]
    assert got == pairs
    assert [[type(value) for value in item or ()] for item in got] == [
        [type(value) for value in pair] for pair in pairs
    ]
    assert repr(got) == repr(pairs)


def test_what_is_not_finite_is_kept(place: Place) -> None:
    publish_rows(place, [b"a", b"b", b"c"], [math.nan, math.inf, -math.inf])
    with place.reading() as reading:
        found = [item and item.predictions[0] for item in reading.find([b"a", b"b", b"c"]).stored]
    assert math.isnan(found[0] or 0.0)
    assert found[1:] == [math.inf, -math.inf]


def test_repaired_rows_have_their_own_instant(place: Place) -> None:
    later = AT + timedelta(days=1, microseconds=7)
    publish_rows(place, [b"a", b"b", b"c"], [1.0, 2.0, 3.0], instants=[AT, later, AT])
    with place.reading() as reading:
        found = reading.find([b"a", b"b", b"c"]).stored
    assert [item and item.origin.predicted_at for item in found] == [AT, later, AT]
    assert all(item and item.origin.as_of == AT for item in found)


def test_features_come_only_if_they_are_asked_for(place: Place) -> None:
    features = pa.RecordBatch.from_pylist(
        [{"tenure": 1, "plan": "a", "fee": 0.5}, {"tenure": None, "plan": None, "fee": None}]
    )
    about = {"features": ("tenure", "plan", "fee")}
    with place.store.publishing(place.model) as publication:
        snapshot = snapshot_of(place.model, 1, 2, **about)
        rows = rows_of([b"a", b"b"], [1.0, 2.0], features=features)
        publication.write(snapshot, [rows])
        checked = publication.find(snapshot, [b"a", b"b", b"c"])
        publication.point(switched(publication.pointer, snapshot))
    with place.reading() as reading:
        plain, full = (
            reading.find([b"a", b"b", b"c"], with_features=wanted).stored
            for wanted in (False, True)
        )
    assert [item and item.features for item in plain] == [None, None, None]
    assert [item and item.features for item in full] == [*features.to_pylist(), None]
    assert checked == full


@pytest.mark.parametrize("apart", [1, 1_500])
def test_a_key_that_stands_twice_is_refused_by_name(place: Place, apart: int) -> None:
    before = publish(place.store, place.model)
    keys = [b"customer-%d" % n for n in range(3_000)]
    keys[700 + apart] = keys[700]
    with place.store.publishing(place.model) as publication:
        snapshot = snapshot_of(place.model, 2, len(keys))
        with pytest.raises(InvalidInput, match=r"^key: expected each key once, got 'customer-700'"):
            publication.write(snapshot, numbered(snapshot, keys))
    assert place.store.pointer(place.model).current == before


def test_nothing_is_seen_of_a_snapshot_before_it_is_pointed_to(place: Place) -> None:
    first = publish(place.store, place.model)
    with place.reading() as reading:
        with place.store.publishing(place.model) as publication:
            second = snapshot_of(place.model, next_number(publication.pointer), ROWS)
            publication.write(second, numbered(second))
            assert publication.verify(second) == ROWS
            assert publication.find(second, [KEYS[3]])[0] is not None
            assert place.store.pointer(place.model).current == first
            assert reading.find([KEYS[3]]).snapshot == first
            publication.point(switched(publication.pointer, second))
            assert place.store.pointer(place.model) == publication.pointer
        eventually(lambda: reading.find([KEYS[3]]).snapshot == second)


def test_what_was_not_pointed_to_is_deleted(place: Place) -> None:
    first = publish(place.store, place.model)
    with place.store.publishing(place.model) as publication:
        left = snapshot_of(place.model, 2, ROWS)
        publication.write(left, numbered(left))
    with place.store.publishing(place.model) as publication:
        assert is_gone(publication, left)
        assert publication.verify(first) == ROWS


def test_what_is_discarded_is_deleted_at_once_unless_it_is_pointed_to(place: Place) -> None:
    first, second = (publish(place.store, place.model) for _ in range(2))
    with place.store.publishing(place.model) as publication:
        third = snapshot_of(place.model, 3, ROWS)
        publication.write(third, numbered(third))
        for snapshot in [first, second, third, third, snapshot_of(place.model, 4, ROWS)]:
            publication.discard(snapshot)
        assert is_gone(publication, third)
        assert publication.verify(first) == publication.verify(second) == ROWS
        fourth = snapshot_of(place.model, 4, ROWS)
        publication.write(fourth, numbered(fourth))
        publication.point(switched(publication.pointer, fourth))
        publication.discard(fourth)
        assert publication.verify(fourth) == ROWS


def test_the_previous_snapshot_is_kept_and_older_ones_are_deleted(place: Place) -> None:
    first, second, third = (publish(place.store, place.model) for _ in range(3))
    pointer = place.store.pointer(place.model)
    assert (pointer.current, pointer.previous, pointer.switches) == (third, second, 3)
    with place.store.publishing(place.model) as publication:
        assert is_gone(publication, first)
        assert publication.verify(second) == publication.verify(third) == ROWS


def test_it_is_rolled_back_and_forth(place: Place) -> None:
    first, second = (publish(place.store, place.model) for _ in range(2))
    with place.reading() as reading:
        for wanted in (first, second, first):
            with place.store.publishing(place.model) as publication:
                publication.point(rolled_back(publication.pointer, place.model))
            current = place.store.pointer(place.model).current
            assert current is not None
            assert current.name == wanted.name

            def is_wanted(name: str = wanted.name) -> bool:
                found = reading.find(KEYS[:50])
                assert found.snapshot is not None
                number = float(found.snapshot.number)
                assert {item and item.predictions for item in found.stored} == {(number,)}
                return found.snapshot.name == name

            eventually(is_wanted)
    third = publish(place.store, place.model)
    pointer = place.store.pointer(place.model)
    assert pointer.current == third
    assert pointer.previous is not None
    assert pointer.previous.name == first.name


def test_of_two_publishers_one_is_refused(place: Place) -> None:
    with place.store.publishing(place.model):
        with (
            pytest.raises(LeaseHeld, match=place.model),
            open_store(place.spec).publishing(place.model),
        ):
            pytest.fail("two publish at once")
        with open_store(place.spec).publishing(f"{place.model}-other"):
            pass
        # It is renewed for as long as it is needed.
        time.sleep(1.5 * LEASE_S)
        with (
            pytest.raises(LeaseHeld),
            open_store(place.spec).publishing(place.model),
        ):
            pytest.fail("two publish at once")
    publish(place.store, place.model)


def test_a_pointer_moved_by_somebody_else_is_left_alone(place: Place) -> None:
    if place.take_away is None:
        pytest.skip("nobody can take the right to publish away")
    publish(place.store, place.model)
    with place.store.publishing(place.model) as publication:
        mine = snapshot_of(place.model, 2, ROWS)
        publication.write(mine, numbered(mine))
        place.take_away(place.model)
        other = publish(open_store(place.spec), place.model)
        moved = switched(publication.pointer, mine)
        with pytest.raises(LeaseHeld, match=place.model):
            publication.point(moved)
    pointer = place.store.pointer(place.model)
    assert (pointer.current, pointer.switches) == (other, 2)
    with place.store.publishing(place.model) as publication:
        assert is_gone(publication, mine)
        assert publication.verify(other) == ROWS


def publish_soon(place: Place) -> Snapshot:
    """Publish as soon as a dead publisher's right has ended."""
    until_s = time.monotonic() + LEASE_S + SEEN_S
    while True:
        try:
            return publish(place.store, place.model)
        except LeaseHeld:
            assert time.monotonic() < until_s
            time.sleep(0.05)


@pytest.mark.parametrize("moment", stores.MOMENTS)
def test_a_publisher_that_is_killed_does_no_harm(place: Place, moment: str) -> None:
    first = publish(place.store, place.model)
    with place.child("publish", 2, 2, moment) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == moment
        child.kill()
    reached = 2 if moment == "pointed" else 1
    with place.reading() as reading:
        found = reading.find(KEYS)
        assert found.snapshot is not None
        assert found.snapshot.number == reached
        assert {item and item.predictions for item in found.stored} == {(float(reached),)}
        again = publish_soon(place)
        eventually(lambda: reading.find(KEYS[:1]).snapshot == again)
    pointer = place.store.pointer(place.model)
    assert [item.number for item in pointer.kept] == [reached + 1, reached]
    assert pointer.previous is not None
    assert reached == 2 or pointer.previous == first


def test_a_publisher_that_is_killed_anywhere_does_no_harm(place: Place) -> None:
    publish(place.store, place.model)
    for seed in range(5):
        with place.child("publish", 2 + seed * 100, 99 + seed * 100, "never") as child:
            chance = random.Random(seed)  # noqa: S311 - not a secret
            time.sleep(0.5 + chance.random())
            child.kill()
        with place.reading() as reading:
            found = reading.find(KEYS)
        assert found.snapshot is not None
        number = float(found.snapshot.number)
        assert {item and item.predictions for item in found.stored} == {(number,)}
        publish_soon(place)


def test_a_live_prediction_is_kept_for_all_readers_until_the_next_switch(place: Place) -> None:
    first = publish(place.store, place.model)
    new = b"new-customer"
    with place.reading() as one, place.reading() as other:
        assert other.find([new]).stored == [None]
        assert one.find([new]).snapshot == first
        assert one.keep(new, live(7.5, first), first)
        assert one.keep(KEYS[0], live(8.5, first), first)
        (found,) = one.find([new]).stored
        assert found == live(7.5, first)
        eventually(lambda: other.find([new]).stored == [live(7.5, first)])
        eventually(lambda: other.find([KEYS[0]]).stored == [live(8.5, first)])
        with place.store.publishing(place.model) as publication:
            assert publication.verify(first) == ROWS
            (plain,) = publication.find(first, KEYS[:1])
            assert plain is not None
            assert plain.predictions == (1.0,)
        second = publish(place.store, place.model)
        eventually(lambda: other.find([new]) == (second, [None]))
        assert not one.keep(new, live(9.5, first), first)
        for wanted in (1.0, 2.0):
            with place.store.publishing(place.model) as publication:
                publication.point(rolled_back(publication.pointer, place.model))

            def is_back(value: float = wanted) -> bool:
                lost, there = one.find([new, KEYS[0]]).stored
                return lost is None and there is not None and there.predictions == (value,)

            eventually(is_back)
            with place.reading() as fresh:
                assert fresh.find([new]).stored == [None]


def test_a_live_prediction_has_the_features_of_the_row_that_was_published(place: Place) -> None:
    features = pa.RecordBatch.from_pylist([{"tenure": 1}])
    with place.store.publishing(place.model) as publication:
        snapshot = snapshot_of(place.model, 1, 1, features=("tenure",))
        publication.write(snapshot, [rows_of([b"a"], [1.0], features=features)])
        publication.point(switched(publication.pointer, snapshot))
    with place.reading() as reading:
        reading.find([b"a"])
        for key in (b"a", b"n"):
            assert reading.keep(key, live(2.0, snapshot), snapshot)
        found = reading.find([b"a", b"n"], with_features=True).stored
        assert [item and item.predictions for item in found] == [(2.0,), (2.0,)]
        assert [item and item.features for item in found] == [{"tenure": 1}, None]
        assert reading.find([b"a"]).stored == [live(2.0, snapshot)]


def test_a_live_prediction_may_be_kept_anew(place: Place) -> None:
    snapshot = publish(place.store, place.model)
    with place.reading() as reading:
        reading.find([b"n"])
        assert reading.keep(b"n", live(1.0, snapshot), snapshot)
        assert reading.keep(b"n", live(2.0, snapshot), snapshot)
        assert reading.find([b"n"]).stored == [live(2.0, snapshot)]


def test_live_predictions_are_kept_only_as_long_as_there_is_room(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*place.room)
    snapshot = publish(place.store, place.model)
    with place.reading() as reading:
        reading.find([b"n"])
        kept = [reading.keep(b"new-%d" % n, live(1.0, snapshot), snapshot) for n in range(50)]
        number = kept.count(True)
        assert kept == [True] * number + [False] * (50 - number)
        assert 1 <= number <= 10
        found = reading.find([b"new-%d" % n for n in range(50)]).stored
        assert [item is not None for item in found] == kept


def test_many_keys_and_many_calls_at_once_are_answered(place: Place) -> None:
    snapshot = publish(place.store, place.model)
    with place.reading() as reading:
        found = reading.find(KEYS * 3)
        assert {item and item.predictions for item in found.stored} == {(1.0,)}
        asked = [[KEYS[n], b"nobody", KEYS[-n]][: n % 4] for n in range(300)]
        for keys, answer in zip(asked, reading.together(asked), strict=True):
            assert answer.snapshot == snapshot
            assert [item is not None for item in answer.stored] == [
                key != b"nobody" for key in keys
            ]


def test_readers_see_whole_snapshots_while_they_are_switched(place: Place) -> None:
    publish(place.store, place.model)
    readers = [place.child("read", 51) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
    for number in range(2, 52):
        assert publish(place.store, place.model).number == number
    for reader in readers:
        told, _ = reader.communicate(timeout=2 * stores.MAX_READ_S)
        assert reader.returncode == 0
        seen = json.loads(told)
        assert seen["missing"] == seen["mixed"] == seen["back"] == 0
        assert seen["reads"] > 100
        assert seen["seen"][-1] == 51
        assert len(seen["seen"]) > 3


@pytest.mark.parametrize("how", ["stop", "hang"])
def test_a_server_that_is_gone_is_said_in_time_and_one_that_is_back_serves(
    place: Place, server: RedisServers | PostgresqlServer, how: str
) -> None:
    snapshot = publish(place.store, place.model)
    at_most_s = 3 * TIMEOUT_S + 1
    with place.reading() as reading:
        assert reading.find(KEYS[:1]).snapshot == snapshot
        server.stop() if how == "stop" else server.hang()
        try:
            for call in (
                lambda: reading.find(KEYS[:1]),
                lambda: reading.find([b"other"]),
                lambda: reading.keep(b"new", live(1.0, snapshot), snapshot),
                lambda: place.store.pointer(place.model),
                lambda: publish(place.store, place.model),
            ):
                began_s = time.monotonic()
                with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
                    call()
                assert time.monotonic() - began_s < at_most_s
        finally:
            server.start() if how == "stop" else server.go_on()
        found = back(reading)
        assert found.snapshot == snapshot
        assert {item and item.predictions for item in found.stored} == {(1.0,)}
        again = publish_soon(place)
        eventually(lambda: reading.find(KEYS[:1]).snapshot == again)


def back(reading: Reading) -> Any:
    """What is found once the server answers again."""
    until_s = time.monotonic() + SEEN_S
    while True:
        try:
            return reading.find(KEYS)
        except StoreUnavailable:
            assert time.monotonic() < until_s
            time.sleep(0.1)


def test_a_server_that_goes_while_a_publisher_is_at_work_leaves_what_there_was(
    place: Place, server: RedisServers | PostgresqlServer
) -> None:
    first = publish(place.store, place.model)
    try:
        with place.store.publishing(place.model) as publication:
            second = snapshot_of(place.model, 2, ROWS)
            publication.write(second, numbered(second))
            server.stop()
            moved = switched(publication.pointer, second)
            with pytest.raises(StoreUnavailable):
                publication.point(moved)
    finally:
        server.start()
    assert place.store.pointer(place.model).current == first
    publish_soon(place)


def test_closing_a_reader_is_allowed_at_any_time(place: Place) -> None:
    with place.reading():
        pass
    publish(place.store, place.model)
    with place.reading() as reading:
        reading.find(KEYS[:1])
