"""One client that sends its next request when it has the answer to the one before."""

from __future__ import annotations

import http.server
import itertools
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from http_thread import Quiet, serving_http

from twofold.app.compare.lone import ask_alone, ask_for_stages, timed
from twofold.errors import TwofoldError

STAGES = "parse;dur=0.5, queue;dur=0, predict;dur=0.25, encode;dur=0.25, total;dur=1"
ASK = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"


class Handler(Quiet, http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timed = 0

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.close_connection = True
            return
        body = b"x" * 100_000
        self.send_response(200 if self.path == "/good" else 422)
        if self.headers.get("X-Twofold-Timing") == "1":
            self.send_header("Server-Timing", STAGES)
            type(self).timed += 1
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    with serving_http(Handler) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def test_each_answer_is_read_to_its_end_and_timed(address: tuple[str, int]) -> None:
    times_s, answers = ask_alone(address, [ASK], seconds=0.05, warm_up=2)
    assert len(times_s) < answers <= len(times_s) + 2
    assert len(times_s) >= 1
    assert min(times_s) > 0.0


def test_the_server_is_asked_for_its_own_times(address: tuple[str, int]) -> None:
    Handler.timed = 0
    told = ask_for_stages(address, [ASK], seconds=0.01, warm_up=1)
    assert len(told) == Handler.timed - 1
    assert told[0] == {
        "parse": 0.0005, "queue": 0.0, "predict": 0.00025, "encode": 0.00025, "total": 0.001,
    }  # fmt: skip


@pytest.mark.parametrize("path", [b"/bad", b"/gone"])
def test_what_is_no_answer_to_a_row_is_an_error(address: tuple[str, int], path: bytes) -> None:
    with pytest.raises(TwofoldError, match="server: expected an answer to a row of INPUT"):
        ask_alone(address, [ASK.replace(b"/good", path)], seconds=0.01, warm_up=0)


def test_the_first_calls_do_not_count() -> None:
    numbers = itertools.count()
    called: list[int] = []
    calls = ((lambda number=number: called.append(number)) for number in numbers)
    times_s = timed(iter(calls), seconds=0.1, warm_up=5)
    assert len(called) == len(times_s) + 5


def test_slow_calls_are_not_made_for_long_before_they_count() -> None:
    called: list[float] = []
    calls = itertools.repeat(lambda: called.append(time.sleep(0.002) or 0.0))
    times_s = timed(calls, seconds=0.001, warm_up=1_000)
    assert len(called) == len(times_s) + 1
