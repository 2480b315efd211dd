"""A connection answers in order, keeps its limits of time, and ends as HTTP wants it to."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from twofold.serving.settings import ServeSettings
from twofold.wire.connection import EVENTS_PER_TURN, LINGER_S, Connection, Connections
from twofold.wire.http import Request, Response
from twofold.wire.refusal import refusal

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.half_closed = self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written after the close"
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def text(self) -> str:
        return b"".join(self.written).decode()


class Echo:
    """Answers with the path."""

    def answer(self, request: Request) -> Response:
        return Response(200, request.target)

    def refuse(self, error: Exception) -> Response:
        return refusal(error)


@dataclasses.dataclass
class Bench:
    now_s: float = 100.0
    open: int = 0

    def __post_init__(self) -> None:
        self.settings = ServeSettings(
            max_connections=2, idle_timeout_s=5, header_timeout_s=2, body_timeout_s=3
        )
        self.connections = Connections(
            Echo(), self.settings, clock=lambda: self.now_s, changed=self.change
        )

    def change(self, count: int) -> None:
        self.open += count

    def connect(self) -> tuple[Connection, Wire]:
        wire, connection = Wire(), self.connections.make()
        connection.connection_made(wire)
        return connection, wire

    def after(self, seconds: float) -> None:
        self.now_s += seconds
        self.connections.check()


@pytest.fixture
def bench() -> Bench:
    return Bench()


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
