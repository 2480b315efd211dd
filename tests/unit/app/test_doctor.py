"""A server is looked at several times; all that its metrics say reaches the diagnosis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from twofold.app.doctor import look_after, look_of
from twofold.app.endpoint import Endpoint, Reply
from twofold.errors import ConfigError
from twofold.lab.fault import Fault
from twofold.lab.look import Look
from twofold.lab.scrape import parsed
from twofold.serving import metrics as names
from twofold.serving.clients import Ended
from twofold.serving.metrics import Metrics, layout_for
from twofold.wire.exposition import exposition

CHURN = ("churn", "3")
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


class Server(Endpoint):
    """A server's metrics without the server; time passes by waiting."""

    def __init__(self) -> None:
        super().__init__("http://host:1")
        layout = layout_for([CHURN], (200, 429, 503))
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), 0)
        self.clients: dict[str, dict[Ended, float]] = {}
        self.now_s = 100.0
        self.ready = 200
        self.ahead_s = 0.0
        self.asked: list[str] = []
        self.away: set[int] = set()
        self.set(names.WORKERS, value=1.0)

    def slot(self, family: str, *labels: str) -> int:
        return self.metrics.layout.slot(family, *labels)

    def set(self, family: str, *labels: str, value: float) -> None:
        self.metrics.set(self.slot(family, *labels), value)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.now_s)

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def text(self) -> str:
        return exposition(self.metrics, self.clients).decode()

    def ask(self, path: str) -> Reply:
        self.asked.append(path)
        if len(self.asked) in self.away:
            raise ConfigError("gone")
        date = format_datetime(self.now() + timedelta(seconds=self.ahead_s), usegmt=True)
        if path == "/metrics":
            self.metrics.add(self.slot(names.REQUESTS, *CHURN, "ok"), 10)
            return Reply(200, self.text(), date)
        return Reply(self.ready, "{}", date)


@pytest.fixture
def server() -> Server:
    return Server()


def look_at(server: Server) -> Look:
    return look_of(parsed(server.text(), at_s=1.0), asked_at=NOW, answered_at=NOW)


def diagnosed(server: Server, seconds: float = 5.0, interval_s: float = 1.0) -> list[Fault]:
    found = look_after(
        server, seconds=seconds, interval_s=interval_s,
        clock=lambda: server.now_s, wait=server.wait, now=server.now,
    )  # fmt: skip
    return [item.fault for item in found.findings]


def test_server_is_looked_at_once_an_interval_and_asked_whether_it_is_ready(
    server: Server,
) -> None:
    found = look_after(
        server, seconds=2.5, interval_s=1.0,
        clock=lambda: server.now_s, wait=server.wait, now=server.now,
    )  # fmt: skip
    assert (found.looks, found.seconds, found.requests) == (4, 2.5, 30.0)
    assert (found.url, found.models, found.workers) == ("http://host:1", ("churn@3",), 1.0)
    assert found.findings == ()
    assert server.asked == ["/metrics", "/v2/health/ready"] * 4


def test_readiness_and_the_clock_are_told(server: Server) -> None:
    server.ready = 503
    assert diagnosed(server) == [Fault.NOT_READY]
    server.ready, server.ahead_s = 200, 60.0
    assert diagnosed(server) == [Fault.CLOCK_SKEW]


def test_look_that_fails_is_left_out_unless_it_is_the_first_or_the_last(server: Server) -> None:
    server.away = {3, 4}
    assert diagnosed(server) == []
    for away in ({1}, {11}):
        again = Server()
        again.away = away
        with pytest.raises(ConfigError, match=r"^gone$"):
            diagnosed(again)


def test_all_that_the_metrics_say_is_in_a_look(server: Server) -> None:
    at_s = NOW.timestamp()
    gauges = {
        names.WORKERS: 2.0, names.CONNECTIONS: 3.0, names.MAX_CONNECTIONS: 4.0, names.BLOCKS: 5.0,
        names.LONGEST_BLOCK: 6.0, names.RESTARTS: 7.0, names.DEATHS: 8.0, names.MAX_AGE: 9.0,
        names.STORE_TIMEOUT: 10.0, names.BLOCKED_AT: at_s + 1, names.RESTARTED_AT: at_s + 2,
        names.DIED_AT: at_s + 3, names.STORE_AWAY_SINCE: at_s + 4,
    }  # fmt: skip
    for family, value in gauges.items():
        server.set(family, value=value)
    server.set(names.RELOADS, "refused", value=11.0)
    server.set(names.RELOADED_AT, "refused", value=at_s + 5)
    server.set(names.RELOADED_AT, "switched", value=at_s + 6)
    server.set(names.STORE_REQUESTS, "answered", value=12.0)
    server.set(names.STORE_REQUESTS, "failed", value=13.0)
    server.set(names.RESPONSES, "503", value=14.0)
    server.metrics.observe(server.slot(names.STORE_DURATION), 0.3)
    server.clients = {"desk": {Ended.SHED: 1.5, Ended.ADMITTED: 2.5}}
    look = look_at(server)
    assert (look.workers, look.connections, look.max_connections) == (2, 3, 4)
    assert (look.blocks, look.longest_block_s, look.restarts, look.deaths) == (5, 6, 7, 8)
    assert (look.max_age_s, look.store.timeout_s, look.reloads_refused) == (9, 10, 11)
    assert (look.store.answered, look.store.failed, look.store.duration.sum_s) == (12, 13, 0.3)
    assert look.responses == {"200": 0, "429": 0, "503": 14}
    assert look.clients == {"desk": {"shed": 1.5, "admitted": 2.5}}
    instants = (
        look.blocked_at, look.restarted_at, look.died_at, look.store.away_since, look.refused_at,
        look.switched_at,
    )  # fmt: skip
    assert instants == tuple(NOW + timedelta(seconds=after) for after in range(1, 7))


def test_all_that_the_metrics_say_of_a_model_is_in_a_look(server: Server) -> None:
    at_s = NOW.timestamp()
    values = {
        names.ROWS: 1.0, names.WAITING: 2.0, names.CAPACITY: 3.0, names.ROW_COST: 4.0,
        names.PACKED_ROW_COST: 5.0, names.IS_APART: 1.0, names.OVERLOADED_SINCE: at_s,
        names.SNAPSHOT_AS_OF: at_s + 1,
    }  # fmt: skip
    for family, value in values.items():
        server.set(family, *CHURN, value=value)
    server.set(names.REQUESTS, *CHURN, "late", value=6.0)
    server.set(names.ANSWERS, *CHURN, "stale", value=7.0)
    for family in (names.DURATION, names.QUEUE, names.PREDICT):
        server.metrics.observe(server.slot(family, *CHURN, "ok"), 0.25)
        server.metrics.observe(server.slot(family, *CHURN, "late"), 9.0)
    [model] = look_at(server).models
    assert (model.rows, model.waiting_requests, model.capacity_per_s) == (1, 2, 3)
    assert (model.row_cost_s, model.packed_row_cost_s, model.is_apart) == (4, 5, True)
    assert model.overloaded_since == NOW
    assert model.snapshot_as_of == NOW + timedelta(seconds=1)
    assert (model.requests["late"], model.answers["stale"]) == (6, 7)
    for stage in (model.duration, model.queue, model.predict):
        assert stage.sum_s == 0.25
        assert max(stage.buckets.values()) == 1


def test_nothing_known_is_nothing_and_no_instant_is_none(server: Server) -> None:
    server.set(names.RESTARTED_AT, value=1e300)
    look = look_at(server)
    assert (look.blocked_at, look.restarted_at, look.clients) == (None, None, {})
    bare = look_of(parsed("up 1\n", at_s=0.0), asked_at=NOW, answered_at=NOW)
    assert (bare.models, bare.workers) == ((), 0.0)


@pytest.mark.parametrize("date", [None, "yesterday", "Wed, 99 Jul 2026 12:00:00 GMT"])
def test_date_that_is_none_is_not_used(
    server: Server, date: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = server.ask
    monkeypatch.setattr(server, "ask", lambda path: Reply(asked(path).status, server.text(), date))
    assert diagnosed(server) == []
