"""One worker's loop over real sockets: what came before the stop is answered, nothing after it.

Nothing here waits for time to pass: the clients act inside the callbacks of `listen`, and the
clock is moved by hand.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import multiprocessing
import resource
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from twofold.serving.settings import ServeSettings
from twofold.serving.supervisor import LEAVE
from twofold.wire import listen as module
from twofold.wire.connection import Caller, Connections
from twofold.wire.http import Request, Response
from twofold.wire.listen import MAX_LAG_S, SPARE_FILES, Hooks, listen, new_loop
from twofold.wire.refusal import refusal

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
LATER = b"GET /later/%d HTTP/1.1\r\nHost: a\r\n\r\n"
LIMIT_S = 10
"""A test that goes wrong ends then, and fails."""


class Bench:
    """A listener on a free port, a link to a parent, and what happened in which order."""

    def __init__(self, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = loop
        self.now_s = 100.0
        self.lag_s = 0.0
        self.step_s = 0.0
        self.happened: list[str] = []
        self.at_ready: Callable[[], None] = self.stop
        self.at_drain: Callable[[], None] = int
        self.at_change: Callable[[int], None] = lambda _: None
        self.at_answer: Callable[[], object] = int
        self.at_tick: Callable[[], object] = int
        self.waiting: list[Caller] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.link, self.parent = multiprocessing.Pipe()
        self.clients: list[socket.socket] = []
        self.settings = ServeSettings(max_connections=8, drain_s=5.0, idle_timeout_s=50.0)

    def answer(self, request: Request, caller: Caller) -> Response | None:
        """Answer at once, or later what begins with /later."""
        self.happened.append(request.target.decode())
        self.at_answer()
        if request.target.startswith(b"/later"):
            self.waiting.append(caller)
            return None
        return Response(200, b"answer to " + request.target)

    def refuse(self, error: Exception, request: Request) -> Response:
        return refusal(error)

    def count(self, status: int) -> None:
        pass

    def gate(self, *_: object) -> None:
        pass

    def clock(self) -> float:
        self.now_s += self.step_s
        return self.now_s

    def stop(self) -> None:
        """End the parent, as the workers see it."""
        self.parent.close()

    def leave(self) -> None:
        """Tell the worker that others answer from now on."""
        self.parent.send_bytes(LEAVE)

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(self.address, timeout=LIMIT_S)
        self.clients.append(client)
        client.sendall(sent)
        return client

    def listen(self) -> None:
        self.connections = Connections(
            self, self.settings, clock=self.clock, changed=self.at_change
        )
        how = Hooks(
            ready=lambda: self._tell("ready", self.at_ready),
            drain=lambda: self._tell("drain", self.at_drain),
            lag_s=lambda: self.lag_s,
            tick=self.at_tick,
        )
        listen(self.loop(), self.listener, self.connections, parent=self.link, how=how)

    def _tell(self, what: str, act: Callable[[], None]) -> None:
        self.happened.append(what)
        act()

    def close(self) -> None:
        self.stop()
        self.link.close()
        self.listener.close()
        for client in self.clients:
            client.close()


@pytest.fixture(params=[new_loop, asyncio.new_event_loop])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(request.param)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    alarm = signal.signal(signal.SIGALRM, lambda *_: asyncio.get_running_loop().stop())
    signal.alarm(LIMIT_S)
    yield bench
    signal.alarm(0)
    signal.signal(signal.SIGALRM, alarm)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    bench.close()


def read_all(client: socket.socket) -> str:
    """Read up to the end; a connection that was reset ends, too."""
    found = b""
    try:
        while data := client.recv(65_536):
            found += data
    except ConnectionResetError:
        pass
    return found.decode()


def test_worker_ends_when_its_parent_is_gone(bench: Bench) -> None:
    bench.listen()
    assert bench.happened == ["ready", "drain"]


def test_worker_ends_at_sigterm_and_drains_once_however_often_it_is_told(bench: Bench) -> None:
    def told() -> None:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        bench.stop()

    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("nobody listened for SIGTERM"))
    try:
        bench.at_ready = lambda: signal.raise_signal(signal.SIGTERM)
        bench.at_drain = told
        bench.listen()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert bench.happened == ["ready", "drain"]


def test_what_was_sent_before_the_stop_is_answered_although_nobody_had_accepted_it(
    bench: Bench,
) -> None:
    clients: list[socket.socket] = []

    def arrive() -> None:
        clients.extend(bench.connect(GET % number) for number in range(3))
        bench.stop()

    bench.at_ready = arrive
    bench.listen()
    assert bench.happened[0] == "ready"
    assert sorted(bench.happened[1:4]) == ["/0", "/1", "/2"]
    assert bench.happened[4:] == ["drain"]
    for number, client in enumerate(clients):
        text = read_all(client)
        assert text.endswith(f"answer to /{number}")
        assert "Connection: close\r\n" in text


def test_request_in_flight_is_finished_while_draining_and_its_connection_closed(
    bench: Bench,
) -> None:
    whole = GET % 1

    def begin() -> None:
        bench.connect(whole[:9])
        bench.stop()

    bench.at_ready = begin
    bench.at_drain = lambda: bench.clients[0].sendall(whole[9:])
    bench.listen()
    assert bench.happened == ["ready", "drain", "/1"]
    text = read_all(bench.clients[0])
    assert text.startswith("HTTP/1.1 200 OK\r\n")
    assert "Connection: close\r\n" in text


def test_nobody_can_connect_while_a_last_request_is_finished(bench: Bench) -> None:
    whole = GET % 1

    def begin() -> None:
        bench.connect(whole[:9])
        bench.stop()

    def try_to_connect() -> None:
        try:
            bench.connect()
            bench.happened.append("connected")
        except ConnectionRefusedError:
            bench.happened.append("turned away")

    bench.at_ready, bench.at_answer = begin, try_to_connect
    bench.at_drain = lambda: bench.clients[0].sendall(whole[9:])
    bench.listen()
    assert bench.happened == ["ready", "drain", "/1", "turned away"]


def test_request_that_is_never_finished_is_cut_off_when_draining_took_its_time(
    bench: Bench,
) -> None:
    def begin() -> None:
        bench.connect((GET % 1)[:9])
        bench.stop()

    def hurry() -> None:
        bench.step_s = 1.0  # the clock moves whenever it is looked at

    bench.at_ready, bench.at_drain = begin, hurry
    bench.listen()
    assert bench.happened == ["ready", "drain"]
    assert read_all(bench.clients[0]) == ""
    assert bench.now_s >= 100.0 + bench.settings.drain_s


def test_idle_connection_is_closed_by_the_worker_when_its_time_is_over(bench: Bench) -> None:
    bench.at_ready = bench.connect

    def changed(count: int) -> None:
        bench.happened.append(f"{count:+}")
        if count > 0:
            bench.now_s += bench.settings.idle_timeout_s + 1.0
        else:
            bench.stop()

    bench.at_change = changed
    bench.listen()
    assert bench.happened == ["ready", "+1", "-1", "drain"]
    assert read_all(bench.clients[0]) == ""


def test_request_that_is_answered_later_is_answered_while_draining(bench: Bench) -> None:
    def drain() -> None:
        [caller] = bench.waiting
        caller.reply(Response(200, b"answer to /later/1"))

    bench.at_ready = lambda: bench.connect(LATER % 1)
    bench.at_answer, bench.at_drain = bench.stop, drain
    bench.listen()
    assert bench.happened == ["ready", "/later/1", "drain"]
    text = read_all(bench.clients[0])
    assert text.endswith("answer to /later/1")
    assert "Connection: close\r\n" in text


def test_worker_that_is_to_leave_answers_once_more_whoever_is_connected(bench: Bench) -> None:
    def begin() -> None:
        for _ in range(2):
            bench.connect()
        bench.leave()

    def ask() -> None:
        if bench.connections.leaving and bench.happened == ["ready"]:
            bench.clients[0].sendall(GET % 0)

    def answered() -> None:
        if bench.happened[-1] == "/0":
            bench.clients[1].sendall(GET % 1)

    bench.at_ready, bench.at_tick, bench.at_answer = begin, ask, answered
    bench.listen()
    assert bench.happened == ["ready", "/0", "/1", "drain"]
    for number, client in enumerate(bench.clients):
        text = read_all(client)
        assert text.endswith(f"answer to /{number}")
        assert "Connection: close\r\n" in text


def test_worker_that_is_to_leave_waits_for_nobody_longer_than_draining_takes(
    bench: Bench,
) -> None:
    def begin() -> None:
        bench.connect()
        bench.leave()

    def hurry() -> None:
        if bench.connections.leaving:
            bench.step_s = 1.0

    bench.at_ready, bench.at_tick = begin, hurry
    bench.listen()
    assert bench.happened == ["ready", "drain"]
    assert read_all(bench.clients[0]) == ""


def test_worker_that_leaves_drains_at_once_when_it_is_told_to_stop(bench: Bench) -> None:
    def begin() -> None:
        bench.connect()
        bench.leave()

    def stop() -> None:
        if bench.connections.leaving:
            bench.stop()

    bench.at_ready, bench.at_tick = begin, stop
    bench.listen()
    assert bench.happened == ["ready", "drain"]


def test_word_that_is_not_known_changes_nothing(bench: Bench) -> None:
    def begin() -> None:
        bench.parent.send_bytes(b"hello")
        bench.connect(GET % 1)

    bench.at_ready, bench.at_answer = begin, bench.stop
    bench.listen()
    assert bench.happened == ["ready", "/1", "drain"]
    assert "Connection: close" not in read_all(bench.clients[0])


def test_worker_that_is_late_takes_no_more_connections_in_until_it_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    ticks = itertools.count(1)

    def fall_behind() -> None:
        bench.lag_s = MAX_LAG_S + 0.01

    def tick() -> None:
        count = next(ticks)
        if count == 2:
            bench.connect(GET % 1)
        elif count == 9:
            bench.happened.append("in time again")
            bench.lag_s = MAX_LAG_S

    bench.at_ready, bench.at_tick, bench.at_answer = fall_behind, tick, bench.stop
    bench.listen()
    assert bench.happened == ["ready", "in time again", "/1", "drain"]
    assert read_all(bench.clients[0]).endswith("answer to /1")


def test_worker_that_cannot_take_connections_in_again_tries_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.0)
    opened = module._Door.open
    failures = iter([OSError(errno.EMFILE, "too many open files")])

    async def open_at_last(door: module._Door) -> None:
        if bench.happened and door._opening is None:
            for failure in failures:
                bench.happened.append("failed")
                raise failure
        await opened(door)

    ticks = itertools.count(1)

    def tick() -> None:
        count = next(ticks)
        bench.lag_s = MAX_LAG_S + 0.01 if count == 1 else 0.0
        if count == 2:
            bench.connect(GET % 1)

    monkeypatch.setattr(module._Door, "open", open_at_last)
    bench.at_ready, bench.at_tick, bench.at_answer = int, tick, bench.stop
    bench.listen()
    assert bench.happened == ["ready", "failed", "/1", "drain"]
    assert read_all(bench.clients[0]).endswith("answer to /1")


def test_failure_to_get_ready_ends_the_worker_with_it(bench: Bench) -> None:
    def fail() -> None:
        raise BrokenPipeError("the supervisor is gone")

    bench.at_ready = fail
    with pytest.raises(BrokenPipeError, match="the supervisor is gone"):
        bench.listen()
    assert bench.happened == ["ready"]


def limit_of_files(bench: Bench, soft: int) -> int:
    """Listen under this limit; give the one there is then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    bench.listen()
    now, hard_now = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard_now == hard
    return now


def test_limit_of_open_files_is_raised_to_what_the_connections_may_need(bench: Bench) -> None:
    bench.settings = ServeSettings(max_connections=100)
    assert limit_of_files(bench, 300) == 2 * 100 + SPARE_FILES


def test_limit_of_open_files_is_raised_no_further_than_the_system_allows(bench: Bench) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("the system allows any number")
    bench.settings = ServeSettings(max_connections=min(1_000_000, hard))
    assert limit_of_files(bench, 300) == min(hard, 2_000_000 + SPARE_FILES)


def test_limit_of_open_files_is_never_lowered(bench: Bench) -> None:
    bench.settings = ServeSettings(max_connections=1)
    assert limit_of_files(bench, 600) == 600
