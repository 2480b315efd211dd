"""The native way to what is stored for a key answers, and counts, what the usual way does."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shelves import NOW, UNAVAILABLE, Keyed, Shelf, access_of, origin_of, stored

from twofold.errors import InvalidInput
from twofold.serving.native import native
from twofold.wire.connection import Connections

if native() is None:
    assert os.environ.get("CI") != "true", "the native part was not built"
    pytest.skip("needs the native part", allow_module_level=True)

PATH = "/v1/models/churn/answers/"
LIVE = origin_of(source="live", run_id="", as_of=NOW - timedelta(seconds=5))
OLD = origin_of(as_of=NOW - timedelta(days=2))
OTHER = origin_of(version="2", run_id='the "old" one')
FUTURE = origin_of(as_of=NOW + timedelta(milliseconds=1, microseconds=500))
STORED = {
    "a": stored(7.5),
    "17": stored(float("nan")),
    "live": stored(1e300, origin=LIVE),
    "old": stored(-0.0, origin=OLD),
    "other": stored(2, origin=OTHER),
    "future": stored(3.0, origin=FUTURE),
    "yes": stored(bool(1)),
    "two": stored(1.0, 2.0, origin=origin_of(version="2", outputs=("low", "high"))),
    # Which are not asked for by what looks like them.
    "%61": stored(2.0),
    "a?max_age_s=1": stored(2.0),
    "a#x": stored(2.0),
    "label": stored('high "risk" \u00fc'),
    'quo"te': stored(1.0),
    "\u00fc\u4e2d": stored(1.0),
    "100%": stored(1.0),
    "back\\slash": stored(1.0),
    "a/b": stored(1.0),
    "x/answers/y": stored(1.0),
    "a-b_c.d~e": stored(1.0),
    "": stored(1.0),
}


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.written += b"closed"

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""

    def can_write_eof(self) -> bool:
        return False


class Side:
    """A server, with or without the desk."""

    def __init__(self, keyed: Keyed, *, has_desk: bool) -> None:
        self.keyed, self.bench = keyed, keyed.bench
        self.connections = Connections(
            self.bench.routes,
            self.bench.settings,
            clock=lambda: self.bench.now_s,
            keyed=self.bench.routes.keyed() if has_desk else (),
            tally=self.bench.metrics.tally,
        )
        self.connections.date = b"Date: now\r\n"
        if has_desk and self.connections._desk is not None:
            self.connections._desk.set_date(b"Date: now\r\n")

    def answer(self, *sent: bytes) -> bytes:
        connection, wire = self.connections.make(), Wire()
        connection.connection_made(wire)  # type: ignore[arg-type]
        for data in sent:
            connection.data_received(data)
        return wire.written

    def is_native(self, sent: bytes) -> bool:
        """Whether a request is answered natively."""
        return isinstance(self.connections.take(sent, self.bench.now_s), bytes)

    def totals(self) -> list[Any]:
        return [
            (family.name, labels, values)
            for family, labels, values in self.bench.metrics.totals()
        ]  # fmt: skip


def sides(make_bench: Any, **policy: Any) -> tuple[Side, Side]:
    """The same server twice: with the desk, and without."""
    made = []
    for has_desk in (True, False):
        keyed = Keyed(make_bench(), Shelf()).open(**policy)
        keyed.shelf.stored = {key.encode(): item for key, item in STORED.items()}
        made.append(Side(keyed, has_desk=has_desk))
    return made[0], made[1]


@pytest.fixture
def both(make_bench: Any) -> tuple[Side, Side]:
    return sides(make_bench)


def get(key: str, *lines: str, method: str = "GET", path: str = PATH) -> bytes:
    return "\r\n".join([f"{method} {path}{key} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


KEYS = st.sampled_from(list(STORED)) | st.text(max_size=8)
AGES = st.sampled_from([0, 1, -1, 5_000_000, 82_800_000_000]) | st.integers(-(10**7), 10**11)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(KEYS, st.sampled_from(["", "/", "/%", "\"'<>~!$&()*+,;=:@"]), AGES), max_size=6
    ),
    policy=st.sampled_from(
        [{}, {"on_other_version": "live"}, {"on_stale": "refuse", "max_age_s": 3600.0005}]
    ),
)
def test_any_key_is_answered_and_counted_alike(
    make_bench: Any, asked: list[tuple[str, str, int]], policy: Any
) -> None:
    with_desk, without = sides(make_bench, **policy)
    for key, safe, later_us in asked:
        sent = get(quote(key, safe=safe))
        for side in (with_desk, without):
            side.keyed.now = NOW + timedelta(microseconds=later_us)
        assert with_desk.answer(sent, sent) == without.answer(sent, sent)
    assert with_desk.totals() == without.totals()


@pytest.mark.parametrize("key", ["a", "17", "live", "other", "yes", "label", "a/b", "a-b_c.d~e"])
def test_fresh_predictions_are_answered_natively(both: tuple[Side, Side], key: str) -> None:
    native_one, usual = both
    assert native_one.is_native(get(key))
    assert not usual.is_native(get(key))
    assert native_one.is_native(get(key, "User-Agent: x", "Accept: */*", "traceparent: 00-1-2-3"))
    timed = get(key, "X-Twofold-Deadline-Ms: 100")
    assert native_one.is_native(timed)
    assert native_one.answer(timed) == usual.answer(timed)


OTHERS = {
    "unknown": get("none"),
    "stale": get("old"),
    "out of the future": get("future"),
    "empty": get(""),
    "escaped": get("%61"),
    "with a query": get("a?max_age_s=1"),
    "with a wrong query": get("a?"),
    "with a fragment": get("a#x"),
    "HEAD": get("a", method="HEAD"),
    "POST": get("a", "Content-Length: 0", method="POST"),
    "of another model": get("a", path="/v1/models/risk/answers/"),
    "of no model": get("a", path="/v1/models/none/answers/"),
    "of a version": get("a", path="/v1/models/churn/versions/3/answers/"),
    "of a host": get("a", path=f"http://a{PATH}"),
    "with an id": get("a", "X-Request-Id: 7"),
    "with a wrong deadline": get("a", "X-Twofold-Deadline-Ms: 0"),
    "with a class": get("a", "X-Twofold-Priority: batch"),
    "with a key": get("a", "Authorization: Bearer x"),
    "with a body": get("a", "Content-Length: 2") + b"{}",
    "closing": get("a", "Connection: close"),
    "by path": get("", path="/v1/models/churn/answers"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_requests_are_left_to_the_usual_way_and_counted_once(
    both: tuple[Side, Side], what: str
) -> None:
    with_desk, without = both
    assert not with_desk.is_native(OTHERS[what])
    assert with_desk.totals() == without.totals()
    assert with_desk.answer(OTHERS[what]) == without.answer(OTHERS[what])
    assert with_desk.totals() == without.totals()


def test_model_of_any_name_is_found(make_bench: Any) -> None:
    made = []
    for has_desk in (True, False):
        bench = make_bench()
        served = bench.service.versions.pop("churn")
        bench.service.versions["answers"] = served
        for item in served.values():
            item.name = "answers"
        keyed = Keyed(bench, Shelf(answers=stored(1.0))).open("answers")
        made.append(Side(keyed, has_desk=has_desk))
    sent = get("answers", path="/v1/models/answers/answers/")
    assert made[0].is_native(sent)
    assert made[0].answer(sent) == made[1].answer(sent)
    assert b'{"key":"answers","prediction":1.0,' in made[1].answer(sent)


@pytest.mark.parametrize(
    ("age_us", "shown", "is_fresh"),
    [
        (0, b'"age_s":0.0,', True),
        (999, b'"age_s":0.0,', True),
        (1_000, b'"age_s":0.001,', True),
        (1_001_000, b'"age_s":1.001,', True),
        (2_000_500, b'"age_s":2.0,', True),
        (2_000_501, b'"age_s":2.0,', False),
        (-500, b'"age_s":0.0,', True),
    ],
)
def test_age_is_that_of_the_usual_way_to_the_microsecond(
    make_bench: Any, age_us: int, shown: bytes, is_fresh: bool
) -> None:
    for side in sides(make_bench, max_age_s=2.0005):
        side.keyed.now = LIVE.as_of + timedelta(microseconds=age_us)
        answer = side.answer(get("live"))
        assert shown in answer
        assert (b'"fresh":true' in answer) == is_fresh


def test_prediction_of_just_after_now_is_not_answered_with_what_stood_before(
    both: tuple[Side, Side],
) -> None:
    with_desk, without = both
    for key in ("a", "future", "live", "future", "a"):
        assert with_desk.answer(get(key)) == without.answer(get(key))


def test_leaving_server_says_so_natively_too(both: tuple[Side, Side]) -> None:
    for side in both:
        assert b"200 OK" in side.answer(get("a"))
        side.bench.service.drain()
        assert b'"draining"' in side.answer(get("a"))
    assert both[0].totals() == both[1].totals()


def test_switch_is_seen_at_once(both: tuple[Side, Side]) -> None:
    for side in both:
        side.answer(get("a"))
        side.keyed.shelf.stored[b"a"] = stored(9.5, origin=origin_of(run_id="day"))
        answer = side.answer(get("a"))
        assert b'"prediction":9.5' in answer
        assert b'"run_id":"day"' in answer


@pytest.mark.parametrize("error", [UNAVAILABLE, InvalidInput("snapshot: expected it whole.")])
def test_store_that_fails_is_told_as_by_the_usual_way(both: tuple[Side, Side], error: Any) -> None:
    for side in both:
        side.keyed.shelf.fails = error
    assert both[0].answer(get("a")) == both[1].answer(get("a"))
    assert both[0].totals() == both[1].totals()


def test_whoever_finds_what_is_no_body_is_not_believed(both: tuple[Side, Side]) -> None:
    side = both[0]
    desk: Any = side.connections._desk
    for found in (7, "text", [b"a"]):
        desk.add_keyed(PATH.encode(), lambda _, found=found: found, 0)
        before = side.totals()
        assert not isinstance(desk.take(get("a"), 0.0), bytes)
        assert side.totals() == before


def test_desk_takes_no_slot_that_is_not_there(both: tuple[Side, Side]) -> None:
    desk: Any = both[0].connections._desk
    for slot in (-1, 10**9):
        with pytest.raises(IndexError, match="no such slot"):
            desk.add_keyed(PATH.encode(), len, slot)
    with pytest.raises(TypeError):
        desk.add_keyed(PATH, len, 0)


def test_servers_with_keys_tell_nobody_before_they_know_who_it_is(
    make_bench: Any, tmp_path: Path
) -> None:
    keyed = Keyed(make_bench(), Shelf(a=stored(7.5))).open(access=access_of(tmp_path))
    side = Side(keyed, has_desk=True)
    assert not side.is_native(get("a"))
    assert b"401 Unauthorized" in side.answer(get("a"))
