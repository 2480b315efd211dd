"""Publishing to a Redis that fails at any step."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from twofold.errors import (
    CommitUnknown,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    TwofoldError,
)
from twofold.stores import publish_redis
from twofold.stores.publish_redis import RedisPublication, parts, publishing_redis
from twofold.stores.redis_layout import BEGIN, LEFT, POINT, RENEW, SETTLE, Command
from twofold.stores.snapshot import Pointer, Snapshot, decode_pointer, switched

sys.path.insert(0, str(Path(__file__).parent))
from fake_redis import FakeRedis, gone
from made import rows_of, snapshot_of

KEYS = [b"%03d" % n for n in range(200)]
NAMES = ("pointer", "lock", "written")
POINTER, LOCK, WRITTEN = (f"twofold:{{churn}}:{name}" for name in NAMES)


class Killed(BaseException):
    """Stands for the end of the process."""


@contextlib.contextmanager
def publishing(redis: FakeRedis, lease_s: float = 100.0) -> Iterator[RedisPublication]:
    with publishing_redis(redis, "churn", lease_s=lease_s) as publication:
        yield publication


def publish(redis: FakeRedis, number: int) -> Snapshot:
    with publishing(redis) as publication:
        snapshot = write(publication, number)
        publication.point(switched(publication.pointer, snapshot))
    return snapshot


def write(publication: RedisPublication, number: int) -> Snapshot:
    snapshot = snapshot_of(number, len(KEYS))
    publication.write(snapshot, [rows_of(KEYS, [float(number)] * len(KEYS))])
    return snapshot


def pointer(redis: FakeRedis) -> Pointer:
    return decode_pointer(redis.hashes[POINTER][b"pointer"], "pointer")


def rows_in(redis: FakeRedis) -> set[str]:
    """The numbers of the snapshots that have rows."""
    return {key.split(":")[2][5:6] for key in redis.hashes if key.endswith(":rows")}


def has_script(script: str) -> Callable[[Sequence[Command]], bool]:
    return lambda commands: any(command[:2] == ("EVAL", script) for command in commands)


def failing(
    is_meant: Callable[[Sequence[Command]], bool], error: type[BaseException] | None = None
) -> Callable[[Sequence[Command]], None]:
    def check(commands: Sequence[Command]) -> None:
        if is_meant(commands):
            raise error() if error else gone()

    return check


def test_a_row_that_was_changed_is_found() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        snapshot = write(publication, 1)
        bucket = next(rows for name, rows in redis.hashes.items() if name.endswith(":rows"))
        key = next(iter(bucket))
        bucket[key] += b"x"
        with pytest.raises(TwofoldError, match=r"as it was written \(checksum .* got checksum"):
            publication.verify(snapshot)
        del bucket[key]
        assert publication.verify(snapshot) == len(KEYS) - 1


def test_a_snapshot_is_written_counted_and_pointed_to() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        snapshot = write(publication, 1)
        assert publication.verify(snapshot) == len(KEYS)
        found = publication.find(snapshot, [KEYS[7], b"nobody"])
        assert [item and item.predictions for item in found] == [(1.0,), None]
        assert POINTER not in redis.hashes
        publication.point(switched(publication.pointer, snapshot))
        assert publication.pointer.current == snapshot
    assert pointer(redis).current == snapshot
    assert redis.locks == {}
    assert redis.hashes[WRITTEN] == {b"000001-abcd": b"200"}


def test_what_the_pointer_does_not_lead_to_is_deleted() -> None:
    redis = FakeRedis()
    for number in (1, 2, 3, 4):
        publish(redis, number)
    assert rows_in(redis) == {"3", "4"}
    with publishing(redis) as publication:
        write(publication, 5)
        assert rows_in(redis) == {"3", "4", "5"}
    assert rows_in(redis) == {"3", "4"}
    assert set(redis.hashes[WRITTEN]) == {b"000003-abcd", b"000004-abcd"}


def test_a_snapshot_that_is_discarded_is_deleted_at_once_and_no_other() -> None:
    redis = FakeRedis()
    first = publish(redis, 1)
    with publishing(redis) as publication:
        second, third = write(publication, 2), write(publication, 3)
        publication.discard(second)
        publication.discard(first)
        assert rows_in(redis) == {"1", "3"}
        assert set(redis.hashes[WRITTEN]) == {b"000001-abcd", b"000003-abcd"}
        publication.point(switched(publication.pointer, third))
        publication.discard(third)
        assert publication.verify(third) == len(KEYS)


def test_a_snapshot_that_cannot_be_discarded_is_deleted_at_the_end() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        second = write(publication, 2)
        usual, redis.before = redis.before, failing(lambda commands: commands[0][0] == "UNLINK")
        with pytest.raises(StoreUnavailable):
            publication.discard(second)
        redis.before = usual
    assert rows_in(redis) == set()


def test_live_predictions_are_deleted_with_the_switch() -> None:
    redis = FakeRedis()
    publish(redis, 1)
    redis.hashes["twofold:{churn}:live:1:000001-abcd"] = {b"a": b"b"}
    publish(redis, 2)
    assert not any(":live:" in key for key in redis.hashes)


def test_a_second_publisher_is_refused() -> None:
    redis = FakeRedis()
    with publishing(redis):
        with pytest.raises(LeaseHeld, match="its right ends within 100 s"), publishing(redis):
            pytest.fail("two at once")
        assert LOCK in redis.locks
    publish(redis, 1)


def test_the_right_to_publish_is_taken_though_it_was_asked_for_twice() -> None:
    """As a client does when a node of a cluster doesn't answer."""
    redis = FakeRedis()
    send = redis.send
    redis.send = lambda commands: (send(commands), send(commands))[1]  # type: ignore[method-assign]
    publish(redis, 1)
    publish(redis, 2)
    assert pointer(redis).switches == 2


@pytest.mark.parametrize("chunk", [1, 2_000])
def test_a_key_that_stands_twice_is_named(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(publish_redis, "MAX_COMMANDS", chunk)
    redis = FakeRedis()
    with publishing(redis) as publication:
        twice = rows_of([*KEYS, KEYS[7]], [1.0] * 201)
        with pytest.raises(InvalidInput, match=r"^key: expected each key once, got '007' twice"):
            publication.write(snapshot_of(1, 201), [twice])
    assert rows_in(redis) == set()


def test_rows_sent_twice_by_the_client_are_no_doubled_keys() -> None:
    redis = FakeRedis()
    send = redis.send
    redis.send = lambda commands: (send(commands), send(commands))[1]  # type: ignore[method-assign]
    with publishing(redis) as publication:
        assert publication.verify(write(publication, 1)) == len(KEYS)


def test_a_move_whose_answer_is_lost_is_found_out() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        snapshot = write(publication, 1)
        redis.after = failing(has_script(POINT))
        publication.point(switched(publication.pointer, snapshot))
        assert publication.pointer.current == snapshot
    assert pointer(redis).current == snapshot
    assert redis.locks == {}


def test_a_move_that_is_lost_is_found_out_and_can_not_happen_later() -> None:
    redis = FakeRedis()
    first = publish(redis, 1)
    with publishing(redis) as publication:
        snapshot = write(publication, 2)
        redis.before = failing(has_script(POINT))
        with pytest.raises(StoreUnavailable):
            publication.point(switched(publication.pointer, snapshot))
        (late,) = (trip for trip in redis.trips[-2:] if has_script(POINT)(trip))
        redis.before = lambda commands: None
        assert redis.send(late) == [0]
        # It may be tried again.
        publication.point(switched(publication.pointer, snapshot))
    assert pointer(redis).current == snapshot
    assert pointer(redis).previous == first


def test_a_move_of_which_nothing_can_be_learnt_is_unknown_and_nothing_is_deleted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publish_redis, "SETTLE_WAIT_S", 0.0)
    redis = FakeRedis()
    publish(redis, 1)
    with publishing(redis) as publication:
        snapshot = write(publication, 2)
        redis.after = failing(has_script(POINT))
        redis.before = failing(has_script(SETTLE))
        with pytest.raises(CommitUnknown, match="expected an answer to the switch"):
            publication.point(switched(publication.pointer, snapshot))
        asked = sum(has_script(SETTLE)(trip) for trip in redis.trips)
        assert asked == publish_redis.SETTLE_ATTEMPTS
        redis.after = redis.before = lambda commands: None
    assert rows_in(redis) == {"1", "2"}
    assert pointer(redis).current == snapshot


def test_a_move_after_somebody_elses_is_unknown_if_its_answer_is_lost() -> None:
    redis = FakeRedis()
    publish(redis, 1)
    with publishing(redis) as publication:
        snapshot = write(publication, 2)

        def lose(commands: Sequence[Command]) -> None:
            if has_script(POINT)(commands):
                redis.before = lambda commands: None
                redis.locks.clear()
                publish(redis, 3)
                raise gone()

        redis.before = lose
        with pytest.raises(CommitUnknown):
            publication.point(switched(publication.pointer, snapshot))


def test_a_store_that_is_gone_before_the_move_leaves_no_doubt() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        snapshot = write(publication, 1)
        redis.before = failing(lambda commands: True)
        with pytest.raises(StoreUnavailable):
            publication.point(switched(publication.pointer, snapshot))
        assert not any(has_script(POINT)(trip) for trip in redis.trips)


def test_a_move_is_done_though_deleting_fails() -> None:
    redis = FakeRedis()
    for number in (1, 2):
        publish(redis, number)
    with publishing(redis) as publication:
        snapshot = write(publication, 3)
        redis.before = failing(lambda commands: commands[0][0] == "UNLINK")
        publication.point(switched(publication.pointer, snapshot))
        redis.before = lambda commands: None
    assert rows_in(redis) == {"1", "2", "3"}
    with publishing(redis):
        assert rows_in(redis) == {"2", "3"}


def test_who_lost_the_right_changes_nothing_of_anybody_else() -> None:
    redis = FakeRedis()
    publish(redis, 1)
    with publishing(redis) as publication:
        mine = write(publication, 2)
        redis.locks.clear()
        publish(redis, 3)
        assert rows_in(redis) == {"1", "3"}
        with publishing(redis) as other:
            theirs = write(other, 4)
            with pytest.raises(LeaseHeld, match="expected the right to publish"):
                publication.point(switched(publication.pointer, mine))
            with pytest.raises(LeaseHeld):
                publication.write(snapshot_of(5, 200), [rows_of(KEYS, [1.0] * 200)])
            publication.sweep()
            publication.discard(mine)
            publication.discard_all()
            assert other.verify(theirs) == 200
            other.point(switched(other.pointer, theirs))
    current = pointer(redis).current
    assert current is not None
    assert current.number == 4
    assert rows_in(redis) == {"3", "4"}


def test_who_was_stopped_for_longer_than_the_lease_writes_no_more() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        publication._lock._until_s = 0.0
        with pytest.raises(LeaseHeld):
            write(publication, 1)
        with pytest.raises(LeaseHeld):
            publication.point(Pointer(switches=1))


def test_the_right_is_renewed_and_its_loss_is_seen() -> None:
    redis = FakeRedis()
    renewed = threading.Event()
    redis.after = lambda commands: renewed.set() if has_script(RENEW)(commands) else None
    with publishing(redis, lease_s=0.1) as publication:
        assert renewed.wait(10)
        redis.locks.clear()
        publication._lock._thread.join(10)
        with pytest.raises(LeaseHeld):
            publication._lock.check()


@pytest.mark.parametrize("at", range(11))
def test_whatever_step_a_publisher_dies_at_the_next_one_sets_it_right(at: int) -> None:
    redis = FakeRedis()
    for number in (1, 2):
        publish(redis, number)
    steps = itertools.count()

    def die(commands: Sequence[Command]) -> None:
        if next(steps) >= at:
            raise Killed

    redis.before = die
    with contextlib.suppress(Killed):
        publish(redis, 3)
    redis.before = lambda commands: None
    kept = [item.number for item in pointer(redis).kept]
    assert kept in ([2, 1], [3, 2])
    assert {str(number) for number in kept} <= rows_in(redis)
    assert next(steps) == 10 or at < 10  # so many there are
    redis.locks.clear()  # the lease ends
    publish(redis, 4)
    assert [item.number for item in pointer(redis).kept] == [4, kept[0]]
    assert rows_in(redis) == {"4", str(kept[0])}
    assert len(redis.hashes[WRITTEN]) == 2


def test_a_snapshot_is_announced_before_it_has_rows_and_listed_until_it_has_none() -> None:
    redis = FakeRedis()
    with publishing(redis) as publication:
        write(publication, 1)
    names = [trip[0][1] if trip[0][0] == "EVAL" else trip[0][0] for trip in redis.trips]
    assert names.index(BEGIN) < names.index("HSET")
    assert names.index("UNLINK") < names.index("HDEL")
    assert names.index(LEFT) < names.index(BEGIN)


def test_parts_are_cut() -> None:
    assert list(parts(range(5), 2)) == [(0, 1), (2, 3), (4,)]
    assert list(parts([], 2)) == []
