"""The HTTP core: bytes in any pieces give the same requests, and limits hold."""

from __future__ import annotations

import itertools
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.wire.http import (
    CLOSE,
    CONTINUE,
    DEFAULT,
    GATED_BYTES,
    KEEP_ALIVE,
    Event,
    Limits,
    Phase,
    Request,
    RequestParser,
    Response,
    render,
    split_target,
)
from twofold.wire.statuses import WireError

LIMITS = Limits(max_body_bytes=200, max_header_bytes=300, max_url_bytes=100)
HOST = b"Host: a\r\n"


def parse(*pieces: bytes, limits: Limits = LIMITS) -> list[Event]:
    parser = RequestParser(limits, 0.0)
    return [event for piece in pieces for event in parser.feed(piece, 1.0)]


def comparable(events: list[Event]) -> list[object]:
    return [(e.code, str(e)) if isinstance(e, WireError) else e for e in events]


def message(method: bytes, body: bytes, style: str) -> bytes:
    head = b"%b /p?q=1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nx-one: 2\r\nEmpty:\r\n" % method
    if style == "chunked":
        chunks = b"".join(b"1;ext=1\r\n%c\r\n" % byte for byte in body)
        return head + b"Transfer-Encoding: Chunked\r\n\r\n" + chunks + b"0\r\nTrailer: t\r\n\r\n"
    if style == "upgrade":
        head += b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    if style == "expect":
        head += b"Expect: 100-continue\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


styles = st.sampled_from(["plain", "chunked", "upgrade", "expect"])
messages = st.lists(
    st.builds(message, st.sampled_from([b"GET", b"POST", b"HEAD"]), st.binary(max_size=30), styles),
    min_size=1,
    max_size=4,
).map(b"".join)
ends = st.sampled_from(
    [b"", b"FOO / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 201\r\n\r\n",
     b"GET / HTTP/1.0\r\n\r\n", b"GET /a"]
)  # fmt: skip


@given(messages, ends, st.data())
def test_any_split_of_the_stream_gives_the_same_requests(
    stream: bytes, end: bytes, data: st.DataObject
) -> None:
    stream += end
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(bounds)]
    whole = comparable(parse(stream))
    assert comparable(parse(*pieces)) == whole
    assert comparable(parse(*(bytes([byte]) for byte in stream))) == whole


@given(st.lists(st.tuples(st.binary(max_size=30), styles), min_size=1, max_size=5))
def test_bodies_come_out_as_they_went_in_and_in_order(sent: list[tuple[bytes, str]]) -> None:
    events = parse(b"".join(message(b"POST", body, style) for body, style in sent))
    requests = [event for event in events if isinstance(event, Request)]
    assert [request.body for request in requests] == [body for body, _ in sent]
    assert events.count(CONTINUE) == sum(style == "expect" for _, style in sent)


@given(st.binary(max_size=400))
def test_garbage_never_raises_and_ends_at_the_first_refusal(garbage: bytes) -> None:
    parser = RequestParser(LIMITS, 0.0)
    events = parser.feed(garbage, 0.0) + parser.feed(garbage, 0.0)
    refusals = [event for event in events if isinstance(event, WireError)]
    assert refusals == events[-1:] or not refusals


def test_request_has_what_was_sent() -> None:
    (request,) = parse(message(b"POST", b"abc", "plain"))
    assert request == Request(
        b"POST",
        b"/p?q=1",
        {b"host": b"a", b"x-one": b"1, 2", b"empty": b"", b"content-length": b"3"},
        b"abc",
        DEFAULT,
        1.0,
    )


def test_offer_to_upgrade_is_ignored_and_the_body_is_read() -> None:
    first, second = parse(message(b"POST", b"abc", "upgrade") + message(b"GET", b"", "plain"))
    assert isinstance(first, Request)
    assert isinstance(second, Request)
    assert first.body == b"abc"
    assert b"upgrade" not in first.headers
    assert second.method == b"GET"


@pytest.mark.parametrize(
    ("stream", "code", "words"),
    [
        (b"GET /" + b"a" * 100 + b" HTTP/1.1\r\n\r\n", "url_too_long", "at most 100 bytes"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 300 + b"\r\n\r\n", "headers_too_large", "at most 300"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 60 + b"\r\n", "headers_too_large", "at most 300"),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 201\r\n\r\n", "body_too_large", "200"),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
            + (b"64\r\n" + b"a" * 100 + b"\r\n") * 3,
            "body_too_large",
            "at most 200 bytes",
        ),
        (b"GET / HTTP/1.1\r\n\r\n", "bad_request", "Host: expected the header in HTTP/1.1"),
        (b"GET / HTTP/1.1\r\n" + HOST * 2 + b"\r\n", "bad_request", "got it more often"),
        (b"\x16\x03\x01\x02\x00", "bad_request", "TLS handshake. Use http://"),
        (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", "bad_request", "for a proxy"),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: cake\r\n\r\n", "expectation_failed", "Expect"),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
            "bad_request",
            "Transfer-Encoding: expected chunked",
        ),
        (
            b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n",
            "bad_request",
            "Transfer-Encoding: expected chunked over HTTP/1.1",
        ),
        (
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n",
            "bad_request",
            "Content-Length",
        ),
    ],
)  # fmt: skip
def test_what_breaks_http_or_a_limit_is_refused(stream: bytes, code: str, words: str) -> None:
    (event,) = parse(stream)
    assert isinstance(event, WireError)
    assert event.code == code
    assert words in str(event)


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\nA: " + b"a" * 2_000,
        b"GET /" + b"a" * 50 + b" HTTP/1.1\r\n" + HOST + b"A:" + b" " * 2_000,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3;" + b"x" * 2_000,
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: "
        + b"x" * 2_000,
    ],
)
def test_what_the_native_parser_holds_back_is_bounded_too(stream: bytes) -> None:
    pieces = [stream[at : at + 50] for at in range(0, len(stream), 50)]
    (event,) = parse(*pieces)
    assert isinstance(event, WireError)
    assert event.code == "headers_too_large"


def test_nothing_is_read_after_a_refusal() -> None:
    events = parse(b"FOO / HTTP/1.1\r\n\r\n", message(b"GET", b"", "plain"))
    assert len(events) == 1


@pytest.mark.parametrize(
    ("head", "connection"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n", DEFAULT),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", CLOSE),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n", KEEP_ALIVE),
        (b"GET / HTTP/1.0\r\n", CLOSE),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n", KEEP_ALIVE),
    ],
)
def test_connection_stays_open_as_the_client_asks(head: bytes, connection: bytes) -> None:
    first, *others = parse((head + b"\r\n") * 2)
    assert isinstance(first, Request)
    assert first.connection is connection
    assert first.keep_alive is (connection is not CLOSE)
    assert len(others) == first.keep_alive, "after a close nothing is read"


def test_time_is_counted_from_the_first_byte_of_each_request() -> None:
    parser = RequestParser(LIMITS, 0.0)
    stream = message(b"POST", b"abc", "plain")
    assert parser.feed(stream[:10], 1.0) == []
    assert (parser.phase, parser.since_s) == (Phase.HEAD, 1.0)
    assert parser.feed(stream[10:-1], 2.0) == []
    assert (parser.phase, parser.since_s) == (Phase.BODY, 2.0)
    (first,) = parser.feed(stream[-1:], 3.0)
    assert isinstance(first, Request)
    assert first.received_s == 1.0
    assert (parser.phase, parser.since_s) == (Phase.IDLE, 3.0)
    (second,) = parser.feed(stream, 4.0)
    assert isinstance(second, Request)
    assert second.received_s == 4.0


def test_empty_lines_between_requests_begin_no_request() -> None:
    parser = RequestParser(LIMITS, 0.0)
    assert parser.feed(b"\r\n\r\n", 5.0) == []
    assert (parser.phase, parser.since_s) == (Phase.IDLE, 0.0)


def test_end_of_the_stream_inside_a_request_is_a_refusal_and_elsewhere_is_none() -> None:
    idle, cut = RequestParser(LIMITS, 0.0), RequestParser(LIMITS, 0.0)
    assert idle.ended() is None
    cut.feed(b"GET / HT", 0.0)
    refused = cut.ended()
    assert refused is not None
    assert refused.code == "bad_request"


@pytest.mark.parametrize(("sent", "part"), [(b"GET /", "headers"), (b"", "body")])
def test_slow_request_is_refused_naming_what_is_missing(sent: bytes, part: str) -> None:
    parser = RequestParser(LIMITS, 0.0)
    parser.feed(sent or message(b"POST", b"abc", "plain")[:-1], 0.0)
    refused = parser.timed_out()
    assert refused.code == "timeout"
    assert part in str(refused)


def test_response_is_rendered_with_its_length_and_without_a_body_for_head() -> None:
    date = f"Date: {formatdate(0, usegmt=True)}\r\n".encode()
    response = Response(405, b'{"a":1}', headers=b"Allow: GET\r\n")
    head = (
        b"HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\n"
        b"Content-Length: 7\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n"
        b"Allow: GET\r\n\r\n"
    )
    full = render(response, connection=CLOSE, head_only=False, date=date)
    assert full == head + b'{"a":1}'
    assert render(response, connection=CLOSE, head_only=True, date=date) == head


def test_status_without_a_name_is_rendered_without_one() -> None:
    sent = render(Response(299, b""), connection=DEFAULT, head_only=False, date=b"")
    assert sent.startswith(b"HTTP/1.1 299 \r\nContent-Type: ")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a", b"/a", b""),
        (b"/a?b=1?c", b"/a", b"b=1?c"),
        (b"/a%20b?", b"/a%20b", b""),
        (b"/a?b#c?d", b"/a", b"b"),
        (b"http://x:80/a?b", b"/a", b"b"),
        (b"HTTPS://x", b"/", b""),
        (b"/a://b", b"/a://b", b""),
        (b"ftp://x/a", b"ftp://x/a", b""),
        (b"/a?http://x/b", b"/a", b"http://x/b"),
        (b"*", b"*", b""),
    ],
)
def test_target_has_a_path_and_a_query_and_may_name_a_host(
    target: bytes, path: bytes, query: bytes
) -> None:
    assert split_target(target) == (path, query)


# ---- the gate -----------------------------------------------------------------------------

WIDE = Limits(max_body_bytes=10**6, max_header_bytes=300, max_url_bytes=100)
LARGE = GATED_BYTES + 1


class Gate:
    """Keeps what it was asked; refuses, if it is to."""

    def __init__(self, unwanted: Exception | None = None) -> None:
        self.unwanted = unwanted
        self.asked: list[tuple[bytes, bytes, set[bytes], float]] = []

    def __call__(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], received_s: float
    ) -> Exception | None:
        self.asked.append((method, target, set(headers), received_s))
        return self.unwanted


def head_of(size: int, *lines: bytes) -> bytes:
    more = b"".join(line + b"\r\n" for line in lines)
    return b"POST /p HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % size + more + b"\r\n"


@pytest.mark.parametrize("offer", [[], [b"Connection: Upgrade", b"Upgrade: h2c"]])
def test_gate_is_asked_once_for_a_large_body_before_it_is_read(offer: list[bytes]) -> None:
    gate = Gate()
    parser = RequestParser(WIDE, 0.0, gate)
    head = head_of(LARGE, *offer)
    assert parser.feed(head[:5], 1.0) == []
    assert gate.asked == []
    assert parser.feed(head[5:], 2.0) == []
    names = {b"host", b"content-length"} | ({b"connection"} if offer else set())
    assert gate.asked == [(b"POST", b"/p", names, 1.0)]
    (request,) = parser.feed(bytes(LARGE), 3.0)
    assert isinstance(request, Request)
    assert len(request.body) == LARGE
    assert len(gate.asked) == 1


def test_refusal_of_the_gate_is_the_last_event_whatever_it_is() -> None:
    for unwanted in (WireError("unauthorized", "no"), ValueError("a fault of the gate's own")):
        parser = RequestParser(WIDE, 0.0, Gate(unwanted))
        assert parser.feed(head_of(LARGE) + bytes(9), 1.0) == [unwanted]
        assert parser.feed(bytes(LARGE), 2.0) == []
        assert parser.ended() is None


@pytest.mark.parametrize(
    "stream",
    [
        head_of(GATED_BYTES) + bytes(GATED_BYTES),
        b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_gate_is_not_asked_for_what_is_here_anyway(stream: bytes) -> None:
    gate = Gate(WireError("unauthorized", "no"))
    (request,) = RequestParser(WIDE, 0.0, gate).feed(stream, 1.0)
    assert isinstance(request, Request)
    assert gate.asked == []


def test_client_that_waits_to_be_let_in_is_told_yes_or_no() -> None:
    expects = head_of(3, b"Expect: 100-continue")
    assert RequestParser(WIDE, 0.0, Gate()).feed(expects, 1.0) == [CONTINUE]
    no = WireError("forbidden", "no")
    assert RequestParser(WIDE, 0.0, Gate(no)).feed(expects, 1.0) == [no]


def test_gate_is_not_asked_for_a_body_beyond_the_limit() -> None:
    gate = Gate()
    (event,) = RequestParser(WIDE, 0.0, gate).feed(head_of(10**6 + 1), 1.0)
    assert isinstance(event, WireError)
    assert (event.code, gate.asked) == ("body_too_large", [])
