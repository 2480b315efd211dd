"""A connection answers in order, keeps its limits of time, and ends as HTTP wants it to."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

from twofold.serving.priority import Priority
from twofold.serving.settings import ServeSettings
from twofold.serving.waiting import Task
from twofold.wire.connection import (
    CHECKS_PER_TURN,
    EVENTS_PER_TURN,
    HELD_BYTES,
    LARGE_READ_BYTES,
    LINGER_S,
    Caller,
    Connection,
    Connections,
)
from twofold.wire.http import GATED_BYTES, Request, Response
from twofold.wire.refusal import refusal
from twofold.wire.statuses import WireError

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
LATER = b"GET /later/%d HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.half_closed = self.closed = self.aborted = False
        self.is_tls = False
        self.untaken_bytes = 0

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written after the close"
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.untaken_bytes

    def can_write_eof(self) -> bool:
        return not self.is_tls

    def write_eof(self) -> None:
        assert not self.is_tls
        self.half_closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def text(self) -> str:
        return b"".join(self.written).decode()

    @property
    def answers(self) -> list[str]:
        """The paths that were answered, in order."""
        return re.findall(r"\r\n\r\n(/[a-z]*/?[0-9]*)(?=HTTP|$)", self.text)


class Echo:
    """Answers with the path: at once, later (/later), or by `reply` while it is asked (/early)."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.counted: list[int] = []
        self.gated: list[tuple[bytes, bytes, bytes, float]] = []
        self.unwanted: Exception | None = None
        self.unread: list[Request] = []

    def answer(self, request: Request, caller: Caller) -> Response | None:
        path = request.target.decode()
        response = Response(200, request.target)
        if not path.startswith(("/later", "/early")):
            return response
        task = Task(None, 1, 1e9, Priority.NORMAL, caller.reply, 0.0, 0.0)
        caller.waits_for(task)
        if path.startswith("/early"):
            task.end(response)
        else:
            self.tasks[path] = task
        return None

    def end(self, path: str) -> None:
        self.tasks[path].end(Response(200, path.encode()))

    def refuse(self, error: Exception, request: Request) -> Response:
        self.unread.append(request)
        return refusal(error)

    def count(self, status: int) -> None:
        self.counted.append(status)

    def gate(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], received_s: float
    ) -> Exception | None:
        self.gated.append((method, target, headers[b"content-length"], received_s))
        return self.unwanted


@dataclasses.dataclass
class Bench:
    now_s: float = 100.0
    open: int = 0

    def __post_init__(self) -> None:
        self.settings = ServeSettings(
            max_connections=2, idle_timeout_s=5, header_timeout_s=2, body_timeout_s=3
        )
        self.echo = Echo()
        self.touched: list[tuple[float, float]] = []
        self.refused: list[tuple[int, Any, Any]] = []
        self.connections = Connections(
            self.echo,
            self.settings,
            clock=lambda: self.now_s,
            touch=lambda *instants: self.touched.append(instants),
            changed=self.change,
            refused=lambda status, headers, wire: self.refused.append((status, headers, wire)),
        )

    def change(self, count: int) -> None:
        self.open += count

    def connect(self) -> tuple[Connection, Wire]:
        wire, connection = Wire(), self.connections.make()
        connection.connection_made(wire)
        return connection, wire

    def after(self, seconds: float) -> None:
        self.now_s += seconds
        list(self.connections.check())


@pytest.fixture(params=["plain requests natively", "all by the parser"])
def bench(request: pytest.FixtureRequest) -> Bench:
    bench = Bench()
    if request.param == "all by the parser":
        bench.connections.take = lambda _data, _now_s: None
    return bench


def turns(count: int, do: Callable[[], Any]) -> None:
    """Do something in an event loop, and give it some turns."""

    async def run() -> None:
        do()
        for _ in range(count):
            await asyncio.sleep(0)

    asyncio.run(run())


def test_each_response_is_one_write_and_the_connection_stays_open(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(GET % 1)
    connection.data_received(GET % 2)
    assert len(wire.written) == 2
    assert wire.written[1].endswith(b"\r\n\r\n/2")
    assert b"Date: " in wire.written[0]
    assert not wire.closed


def test_pipelined_requests_are_answered_in_order_in_one_write(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(GET % 1 + GET % 2 + GET % 3)
    assert len(wire.written) == 1
    assert wire.text.index("/1") < wire.text.index("/2") < wire.text.index("/3")


def test_long_pipeline_lets_the_others_have_their_turn(bench: Bench) -> None:
    count = EVENTS_PER_TURN * 2 + 1

    async def run() -> Wire:
        connection, wire = bench.connect()
        connection.data_received(b"".join(GET % i for i in range(count)))
        assert len(wire.written) == 1
        assert not wire.reading
        for _ in range(3):
            await asyncio.sleep(0)
        return wire

    wire = asyncio.run(run())
    assert wire.text.count("HTTP/1.1 200") == count
    assert len(wire.written) == 3
    assert wire.reading


def test_client_that_takes_no_answers_is_read_no_further(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.pause_writing()
    connection.data_received(GET % 1)
    assert (wire.written, wire.reading) == ([], False)
    connection.resume_writing()
    assert wire.text.endswith("/1")
    assert wire.reading


def test_client_that_takes_no_answers_for_too_long_is_cut_off(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.pause_writing()
    bench.after(2.9)
    assert not wire.aborted
    bench.after(0.2)
    assert wire.aborted


def test_head_gets_no_body(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert wire.text.endswith("\r\n\r\n")
    assert "Content-Length: 2\r\n" in wire.text


def test_close_is_answered_then_closed(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert "Connection: close\r\n" in wire.text
    assert wire.closed


def test_expectation_is_met_before_the_body_comes(bench: Bench) -> None:
    connection, wire = bench.connect()
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    connection.data_received(head)
    assert wire.written == [b"HTTP/1.1 100 Continue\r\n\r\n"]
    connection.data_received(b"abc")
    assert wire.text.endswith("/x")


def test_refused_client_is_told_then_given_time_to_read_it(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(GET % 1 + b"garbage\r\n\r\n")
    assert wire.text.index("200 OK") < wire.text.index("400 Bad Request")
    assert wire.half_closed
    assert not wire.closed
    connection.data_received(GET % 2)
    assert "/2" not in wire.text
    bench.after(LINGER_S + 0.1)
    assert wire.aborted


@pytest.mark.parametrize(
    ("sent", "timeout_s"),
    [(b"GET / HT", 2.0), (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na", 3.0)],
)
def test_slow_request_is_told_so(bench: Bench, sent: bytes, timeout_s: float) -> None:
    connection, wire = bench.connect()
    connection.data_received(sent)
    bench.after(timeout_s - 0.1)
    assert wire.written == []
    bench.after(0.2)
    assert "408 Request Timeout" in wire.text


def test_dripping_bytes_do_not_stretch_the_time(bench: Bench) -> None:
    connection, wire = bench.connect()
    for byte in b"GET / HTTP/1.1\r\nA: bcdefgh":
        connection.data_received(bytes([byte]))
        bench.after(0.1)
    assert "408 Request Timeout" in wire.text


def test_idle_connection_is_closed_without_a_word(bench: Bench) -> None:
    connection, wire = bench.connect()
    bench.after(4.0)
    connection.data_received(GET % 1)
    bench.after(4.9)
    assert not wire.closed
    bench.after(0.2)
    assert wire.closed
    assert wire.text.endswith("/1")


def test_connection_beyond_the_limit_is_refused_and_counted_while_it_lasts(bench: Bench) -> None:
    bench.connect()
    (second, _), (third, wire) = bench.connect(), bench.connect()
    assert "503 Service Unavailable" in wire.text
    assert "Retry-After" in wire.text
    assert bench.open == 3
    third.connection_lost(None)
    second.connection_lost(None)
    assert (bench.open, len(bench.connections)) == (1, 1)
    _, wire = bench.connect()
    assert wire.written == []


def test_flood_beyond_twice_the_limit_is_not_even_told(bench: Bench) -> None:
    wires = [bench.connect()[1] for _ in range(5)]
    assert [wire.aborted for wire in wires] == [False] * 4 + [True]


def test_half_closed_client_gets_what_it_asked_for(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.pause_writing()
    connection.data_received(GET % 1)
    assert connection.eof_received() is True
    connection.resume_writing()
    assert wire.text.endswith("/1")
    assert wire.closed


def test_end_of_the_stream_inside_a_request_is_answered(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(b"GET / HTTP/1.1\r\n")
    assert not connection.eof_received()
    assert "400 Bad Request" in wire.text
    assert wire.closed


def test_draining_answers_what_is_in_flight_and_closes_what_is_idle(bench: Bench) -> None:
    (busy, busy_wire), (_, idle_wire) = bench.connect(), bench.connect()
    busy.data_received((GET % 1)[:10])
    bench.connections.leave()
    bench.connections.draining = True
    bench.after(0.1)
    assert idle_wire.closed
    assert not busy_wire.closed
    busy.data_received((GET % 1)[10:] + GET % 2)
    assert busy_wire.text.count("200 OK") == 2
    assert busy_wire.text.count("Connection: close") == 1
    assert busy_wire.closed


def test_lost_connection_is_forgotten_with_all_it_waited_for(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.pause_writing()
    connection.data_received(GET % 1)
    connection.connection_lost(ConnectionResetError())
    connection.resume_writing()
    bench.after(1_000)
    assert (wire.written, bench.open) == ([], 0)


def test_every_response_is_counted_and_every_arrival_told(bench: Bench) -> None:
    connection, _ = bench.connect()
    connection.data_received(GET % 1 + LATER % 2)
    assert bench.echo.counted == [200]
    bench.now_s += 1.0
    bench.echo.end("/later/2")
    connection.data_received(b"garbage\r\n\r\n")
    assert bench.echo.counted == [200, 200, 400]
    assert bench.touched == [(100.0, -math.inf), (101.0, 100.0)]


# ---- answered later -----------------------------------------------------------------------


def test_answer_that_comes_later_is_written_when_it_is_there(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1)
    assert wire.written == []
    bench.echo.end("/later/1")
    assert (len(wire.written), wire.answers, wire.closed) == (1, ["/later/1"], False)
    connection.data_received(GET % 2)
    assert wire.answers == ["/later/1", "/2"]


def test_pipelined_requests_are_answered_in_their_order_though_some_come_later(
    bench: Bench,
) -> None:
    connection, wire = bench.connect()
    connection.data_received(GET % 1 + LATER % 2 + GET % 3 + LATER % 4 + GET % 5)
    assert wire.answers == ["/1"]
    assert "/later/4" not in bench.echo.tasks, "one request of a connection waits at a time"
    bench.echo.end("/later/2")
    assert wire.answers == ["/1", "/later/2", "/3"]
    connection.data_received(GET % 6)
    assert wire.answers == ["/1", "/later/2", "/3"]
    bench.echo.end("/later/4")
    assert wire.answers == ["/1", "/later/2", "/3", "/later/4", "/5", "/6"]
    assert wire.reading


def test_answer_that_comes_while_it_is_asked_for_keeps_its_place(bench: Bench) -> None:
    connection, wire = bench.connect()
    early = b"GET /early/%d HTTP/1.1\r\nHost: a\r\n\r\n"
    connection.data_received(early % 0)
    connection.data_received(GET % 1 + early % 2 + GET % 3 + LATER % 4 + early % 5)
    assert wire.answers == ["/early/0", "/1", "/early/2", "/3"]
    bench.echo.end("/later/4")
    assert wire.answers[4:] == ["/later/4", "/early/5"]


def test_any_number_of_answers_may_come_while_they_are_asked_for(bench: Bench) -> None:
    connection, wire = bench.connect()
    early = b"GET /early/%d HTTP/1.1\r\nHost: a\r\n\r\n"
    count = 2_000
    stream = b"".join(early % number for number in range(count))
    turns(count // EVENTS_PER_TURN + 1, lambda: connection.data_received(stream))
    assert wire.answers == [f"/early/{number}" for number in range(count)]


def test_client_that_hangs_up_marks_what_it_waited_for_and_gets_nothing(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1 + LATER % 2)
    task = bench.echo.tasks["/later/1"]
    assert not task.gone
    connection.connection_lost(ConnectionResetError())
    assert task.gone
    bench.echo.end("/later/1")
    connection.reply(Response(200, b"of somebody who doesn't know"))
    assert wire.written == []
    assert list(bench.echo.tasks) == ["/later/1"], "nor is anything asked for that was behind it"
    assert bench.echo.counted == []


def test_task_that_was_answered_is_not_marked_when_its_client_goes(bench: Bench) -> None:
    connection, _ = bench.connect()
    connection.data_received(LATER % 1)
    bench.echo.end("/later/1")
    connection.connection_lost(None)
    assert not bench.echo.tasks["/later/1"].gone


def test_answer_that_comes_once_more_is_not_taken_for_that_of_the_next_request(
    bench: Bench,
) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1)
    bench.echo.end("/later/1")
    connection.reply(Response(200, b"/1"))
    connection.data_received(GET % 2)
    assert wire.answers == ["/later/1", "/2"]


def test_requests_behind_one_that_waits_are_read_up_to_a_number(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 0)
    for number in range(1, EVENTS_PER_TURN + 1):
        connection.data_received(GET % number)
    assert wire.reading
    connection.data_received(GET % (EVENTS_PER_TURN + 1))
    assert not wire.reading
    turns(2, lambda: bench.echo.end("/later/0"))
    assert wire.answers == ["/later/0", *(f"/{n}" for n in range(1, EVENTS_PER_TURN + 2))]
    assert wire.reading


def test_requests_behind_one_that_waits_are_read_up_to_a_size(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 0)
    half = HELD_BYTES // 2
    connection.data_received(POST % (1, half) + bytes(half))
    connection.data_received(POST % (2, half) + bytes(half))
    assert wire.reading
    connection.data_received(POST % (3, 1) + b"x")
    assert not wire.reading
    bench.echo.end("/later/0")
    assert wire.answers == ["/later/0", "/1", "/2", "/3"]
    assert wire.reading


def test_client_that_takes_no_answers_is_not_asked_for_further_ones(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1 + LATER % 2 + GET % 3)
    connection.pause_writing()
    bench.echo.end("/later/1")
    assert (wire.answers, list(bench.echo.tasks)) == (["/later/1"], ["/later/1"])
    connection.resume_writing()
    bench.echo.end("/later/2")
    assert wire.answers == ["/later/1", "/later/2", "/3"]
    assert wire.reading


def test_waiting_for_an_answer_is_not_being_idle_and_idling_begins_with_it(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1)
    bench.after(60.0)
    bench.echo.end("/later/1")
    bench.after(4.9)
    assert (wire.answers, wire.closed, wire.aborted) == (["/later/1"], False, False)
    bench.after(0.2)
    assert wire.closed


def test_next_request_has_its_whole_time_from_the_answer_before_it(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1 + (GET % 2)[:9])
    bench.after(60.0)
    bench.echo.end("/later/1")
    bench.after(1.9)
    assert "408" not in wire.text
    bench.after(0.2)
    assert "408 Request Timeout" in wire.text


def test_time_of_many_connections_is_looked_at_in_turns(bench: Bench) -> None:
    bench.connections.settings = dataclasses.replace(bench.settings, max_connections=9_999)
    wires = [bench.connect()[1] for _ in range(2 * CHECKS_PER_TURN + 1)]
    bench.now_s += 60.0
    closed = [sum(wire.closed for wire in wires) for _ in bench.connections.check()]
    assert closed == [CHECKS_PER_TURN, 2 * CHECKS_PER_TURN, 2 * CHECKS_PER_TURN + 1]


def test_who_sends_much_at_once_lets_others_have_their_turn(bench: Bench) -> None:
    size = 2 * LARGE_READ_BYTES
    connection, wire = bench.connect()

    async def run() -> list[bool]:
        connection.data_received(POST % (1, size))
        seen = [wire.reading]
        for _ in range(2):
            connection.data_received(b"x" * (size // 2))
            seen.append(wire.reading)
            await asyncio.sleep(0)
            seen.append(wire.reading)
        return seen

    assert asyncio.run(run()) == [True, False, True, True, True]
    assert wire.answers == ["/1"]


def test_reading_goes_on_only_when_nothing_else_forbids_it(bench: Bench) -> None:
    connection, wire = bench.connect()

    async def run() -> None:
        connection.data_received(POST % (1, 2 * LARGE_READ_BYTES))
        connection.data_received(b"x" * LARGE_READ_BYTES)
        connection.pause_writing()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert not wire.reading


def test_head_gets_no_body_later_either(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(b"HEAD /later/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    bench.echo.end("/later/1")
    assert wire.text.endswith("\r\n\r\n")
    assert "Content-Length: 8\r\n" in wire.text


def test_close_is_answered_later_then_closed(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(
        b"GET /later/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % 2
    )
    assert not wire.closed
    bench.echo.end("/later/1")
    assert (wire.answers, wire.closed) == (["/later/1"], True)
    assert "Connection: close\r\n" in wire.text


@pytest.mark.parametrize("behind", [b"", GET % 2, (GET % 2)[:9]])
def test_client_that_sends_its_end_while_its_answer_is_to_come_has_gone(
    bench: Bench, behind: bytes
) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1 + behind)
    assert connection.eof_received() is False
    connection.connection_lost(None)
    assert bench.echo.tasks["/later/1"].gone
    assert wire.written == []


def test_end_of_a_tls_connection_is_the_end_of_both_its_halves(bench: Bench) -> None:
    connection, wire = bench.connect()
    wire.is_tls = True
    connection.data_received(LATER % 1)
    assert connection.eof_received() is False
    connection.connection_lost(None)
    assert bench.echo.tasks["/later/1"].gone
    assert wire.written == []


def test_refused_client_is_given_time_over_tls_too(bench: Bench) -> None:
    connection, wire = bench.connect()
    wire.is_tls = True
    connection.data_received(b"garbage\r\n\r\n")
    assert "400 Bad Request" in wire.text
    assert (wire.half_closed, wire.closed) == (False, False)
    bench.after(LINGER_S + 0.1)
    assert wire.aborted


# ---- leaving ------------------------------------------------------------------------------


def test_leaving_server_answers_what_comes_and_says_that_the_connection_ends(
    bench: Bench,
) -> None:
    (asks, asks_wire), (_, idle_wire) = bench.connect(), bench.connect()
    bench.connections.leave()
    bench.after(1.0)
    assert not idle_wire.closed, "its next request may be on its way"
    asks.data_received(GET % 1 + GET % 2)
    assert asks_wire.answers == ["/1", "/2"]
    assert asks_wire.text.count("Connection: close") == 1
    assert asks_wire.closed


def test_leaving_server_answers_later_all_that_was_pipelined(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1 + GET % 2 + LATER % 3)
    bench.connections.leave()
    bench.echo.end("/later/1")
    assert (wire.answers, wire.closed) == (["/later/1", "/2"], False)
    bench.echo.end("/later/3")
    assert (wire.answers, wire.closed) == (["/later/1", "/2", "/later/3"], True)
    assert wire.text.count("Connection: close") == 1


def test_draining_server_waits_for_what_is_answered_later(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(LATER % 1)
    bench.connections.leave()
    bench.connections.draining = True
    bench.after(1.0)
    assert not wire.closed
    bench.echo.end("/later/1")
    assert "Connection: close\r\n" in wire.text
    assert wire.closed


def test_last_answer_may_be_taken_slowly(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    wire.untaken_bytes = 1
    bench.after(LINGER_S + 0.1)
    assert (wire.closed, wire.aborted) == (True, False)
    bench.after(bench.settings.body_timeout_s - LINGER_S)
    assert wire.aborted


def test_all_connections_can_be_ended_at_once(bench: Bench) -> None:
    wires = [bench.connect()[1] for _ in range(2)]
    bench.connections.abort()
    assert [wire.aborted for wire in wires] == [True, True]


# ---- the gate -----------------------------------------------------------------------------


def test_large_body_is_refused_before_it_is_sent(bench: Bench) -> None:
    connection, wire = bench.connect()
    bench.echo.unwanted = WireError("overloaded", "server: expected no more, got more. Wait.")
    head = POST % (1, GATED_BYTES + 1)
    connection.data_received(head[:9])
    bench.now_s += 1.0
    connection.data_received(head[9:])
    assert "503 Service Unavailable" in wire.text
    assert "Connection: close\r\n" in wire.text
    first_byte_s = bench.now_s - 1.0
    assert bench.echo.gated == [(b"POST", b"/1", b"%d" % (GATED_BYTES + 1), first_byte_s)]
    connection.data_received(bytes(GATED_BYTES + 1) + GET % 2)
    assert (wire.text.count("HTTP/1.1"), wire.half_closed, wire.closed) == (1, True, False)


def test_as_much_of_a_refused_request_as_was_read_is_told(bench: Bench) -> None:
    connection, _ = bench.connect()
    connection.data_received(GET % 1)
    bench.now_s += 1.0
    connection.data_received(b"PUT /2?a HTTP/1.1\r\nHost: a\r\nX-Request-Id: b\r\nX: ")
    bench.after(2.5)
    [request] = bench.echo.unread
    assert (request.method, request.target, request.body) == (b"PUT", b"/2?a", b"")
    assert request.headers == {b"host": b"a", b"x-request-id": b"b"}
    assert (request.received_s, request.keep_alive) == (bench.now_s - 2.5, False)


def test_nothing_is_told_of_what_was_no_request(bench: Bench) -> None:
    for sent in (b"garbage\r\n\r\n", GET % 1 + b"garbage\r\n\r\n"):
        connection, _ = bench.connect()
        connection.data_received(sent)
        connection.connection_lost(None)
    assert [(item.method, item.target, item.headers) for item in bench.echo.unread] == [
        (b"", b"", {}), (b"", b"", {}),
    ]  # fmt: skip


def test_large_body_that_is_wanted_is_read(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(POST % (1, GATED_BYTES + 1))
    connection.data_received(bytes(GATED_BYTES + 1))
    assert (wire.answers, len(bench.echo.gated)) == (["/1"], 1)


def test_small_body_needs_no_gate_but_where_the_client_waits_for_it(bench: Bench) -> None:
    connection, wire = bench.connect()
    bench.echo.unwanted = WireError("overloaded", "server: expected no more, got more. Wait.")
    connection.data_received(POST % (1, GATED_BYTES) + bytes(GATED_BYTES))
    assert (wire.answers, bench.echo.gated) == (["/1"], [])
    waits = b"POST /2 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    connection.data_received(waits)
    assert "100 Continue" not in wire.text
    assert "503 Service Unavailable" in wire.text


def test_refusal_at_the_gate_waits_for_the_answers_before_it(bench: Bench) -> None:
    connection, wire = bench.connect()
    bench.echo.unwanted = WireError("overloaded", "server: expected no more, got more. Wait.")
    connection.data_received(LATER % 1 + POST % (2, GATED_BYTES + 1))
    assert wire.written == []
    bench.echo.end("/later/1")
    assert wire.text.index("/later/1") < wire.text.index("503 Service Unavailable")


def test_of_each_response_that_is_no_answer_somebody_is_told(bench: Bench) -> None:
    connection, wire = bench.connect()
    connection.data_received(GET % 1)
    assert bench.refused == []
    connection.data_received(b"GET /later/1 HTTP/1.1\r\nHost: a\r\nX-Api-Key: k\r\n\r\n")
    bench.echo.tasks["/later/1"].end(Response(503, b""))
    connection.data_received(b"no HTTP\r\n\r\n")
    (late, headers, first), (bad, _, second) = bench.refused
    assert (late, headers[b"x-api-key"], bad) == (503, b"k", 400)
    assert (first, second) == (wire, wire)
