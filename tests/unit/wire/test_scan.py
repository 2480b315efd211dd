"""Plain requests are recognised, read as the parser reads them, and all else is left to it."""

from __future__ import annotations

import gc
import http.client
import os
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.wire import scan as module
from twofold.wire.http import DEFAULT, KEEP_ALIVE, Limits, Phase, Request, RequestParser
from twofold.wire.scan import native, scanner

LIMITS = Limits(max_body_bytes=200, max_header_bytes=2_000, max_url_bytes=100)
NARROW = Limits(max_body_bytes=9, max_header_bytes=70, max_url_bytes=8)
WIDE = Limits(max_body_bytes=10**9, max_header_bytes=10**6, max_url_bytes=10**5)
HOST = b"Host: a\r\n"
POST = (
    b"POST /v1/models/churn/predict?x=1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: */*\r\n"
    b"Connection: Keep-Alive\r\nX-Empty:\r\nContent-Length: 13\r\n\r\n" + b'{"rows":[[1]]'
)


@pytest.fixture(autouse=True)
def is_built(request: pytest.FixtureRequest) -> None:
    if native() is None and request.function is not test_without_the_native_part_nothing_is_plain:
        reason = "twofold._wire was not built: install a C compiler, and twofold anew"
        assert os.environ.get("CI") != "true", reason
        pytest.skip(reason)


def scanned(data: bytes, limits: Limits = LIMITS) -> Request | None:
    """What is recognised, once the parser has agreed with it."""
    request = scanner(limits)(data, 7.0)
    if request is not None:
        parser = RequestParser(limits, 0.0)
        for now_s in (7.0, 8.0):
            (event,) = parser.feed(data, now_s)
            assert isinstance(event, Request)
            assert event == request if now_s == 7.0 else event.body == request.body
            assert list(event.headers) == list(request.headers)
            assert event.connection is request.connection
            assert (parser.phase, parser.since_s) == (Phase.IDLE, now_s)
        assert {type(part) for item in request.headers.items() for part in item} <= {bytes}
    return request


def head(*lines: bytes, method: bytes = b"GET") -> bytes:
    return b"".join([method, b" / HTTP/1.1\r\n", *(line + b"\r\n" for line in lines), b"\r\n"])


# ---- recognised ---------------------------------------------------------------------------


class Wire:
    """What http.client takes for a socket."""

    sent = b""

    def sendall(self, data: bytes) -> None:
        self.sent += data


def sent_by_http_client(method: str, body: bytes | None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", 8080)
    wire: Any = Wire()
    connection.sock = wire
    connection.request(method, "/v1/models/churn/predict", body, {"Accept": "*/*"})
    return wire.sent


ORDINARY = {
    "curl, GET": b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: curl/7.88.1\r\n"
    b"Accept: */*\r\n\r\n",
    "curl, HEAD": b"HEAD / HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: curl/7.88.1\r\n"
    b"Accept: */*\r\n\r\n",
    "curl, POST": b"POST /v1/models/churn/predict HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
    b"User-Agent: curl/7.88.1\r\nAccept: */*\r\nContent-Length: 14\r\n"
    b'Content-Type: application/x-www-form-urlencoded\r\n\r\n{"rows":[[1]]}',
    "http.client, GET": sent_by_http_client("GET", None),
    "http.client, POST": sent_by_http_client("POST", b'{"rows":[[1]]}'),
    "http.client, POST of nothing": sent_by_http_client("POST", None),
    "requests": b"POST /v1/models/churn/predict HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
    b"User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Accept: */*\r\nConnection: keep-alive\r\nContent-Length: 14\r\n"
    b'Content-Type: application/json\r\n\r\n{"rows":[[1]]}',
    "wrk": b"POST /v1/models/churn/predict HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
    b'Content-Length: 14\r\nContent-Type: application/json\r\n\r\n{"rows":[[1]]}',
    "Go": b"POST /v1/models/churn/predict HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
    b"User-Agent: Go-http-client/1.1\r\nContent-Length: 14\r\nContent-Type: application/json\r\n"
    b'Accept-Encoding: gzip\r\n\r\n{"rows":[[1]]}',
    "fetch of Node": b"POST /v1/models/churn/predict HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n"
    b"connection: keep-alive\r\ncontent-type: application/json\r\naccept: */*\r\n"
    b"accept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\n"
    b'accept-encoding: gzip, deflate\r\ncontent-length: 14\r\n\r\n{"rows":[[1]]}',
    "tritonclient": b"POST /v2/models/churn/infer HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
    b"Connection: keep-alive\r\nInference-Header-Content-Length: 12\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: 20\r\n\r\n"
    b'{"inputs":[]\x00\x00\x80\x3f\x00\x00\x00\x40',
    "a probe of Kubernetes": b"GET /v2/health/ready HTTP/1.1\r\nHost: 10.0.0.7:8080\r\n"
    b"User-Agent: kube-probe/1.31\r\nAccept: */*\r\n\r\n",
    "a proxy": b"POST /v1/models/churn/predict HTTP/1.1\r\nHost: models.example.org\r\n"
    b"X-Request-Id: 8f1c\r\nX-Forwarded-For: 10.1.2.3, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n"
    b"X-Twofold-Deadline-Ms: 250\r\nAuthorization: Bearer a.b.c\r\n"
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    b'Content-Type: application/json\r\nContent-Length: 14\r\n\r\n{"rows":[[1]]}',
}


@pytest.mark.parametrize("data", ORDINARY.values(), ids=ORDINARY)
def test_requests_of_ordinary_clients_are_recognised(data: bytes) -> None:
    request = scanned(data)
    assert request is not None
    assert data.endswith(b"\r\n\r\n" + request.body)


def test_request_has_what_was_sent() -> None:
    assert scanned(POST) == Request(
        b"POST",
        b"/v1/models/churn/predict?x=1",
        {
            b"host": b"127.0.0.1:8080",
            b"accept": b"*/*",
            b"connection": b"Keep-Alive",
            b"x-empty": b"",
            b"content-length": b"13",
        },
        b'{"rows":[[1]]',
        KEEP_ALIVE,
        7.0,
    )


OF_NAMES = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
KNOWN = [
    b"Accept", b"Accept-Encoding", b"Accept-Language", b"Authorization", b"Cache-Control",
    b"Content-Encoding", b"Content-Type", b"Cookie", b"Inference-Header-Content-Length",
    b"Keep-Alive", b"Origin", b"Referer", b"Traceparent", b"Tracestate", b"User-Agent",
    b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Request-Id", b"X-Twofold-Deadline-Ms",
]  # fmt: skip
cased = st.sampled_from([bytes.lower, bytes.upper, bytes.title])
names = st.one_of(
    st.builds(lambda case, name: case(name), cased, st.sampled_from(KNOWN)),
    st.text(OF_NAMES, min_size=1, max_size=20).map(lambda text: b"x" + text.encode()),
)
visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
printable = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
values = st.text(printable, max_size=30).map(lambda text: text.strip().encode())
blanks = st.sampled_from([b"", b" ", b"\t", b"  ", b" \t "])


@given(
    method=st.sampled_from([b"GET", b"HEAD", b"POST"]),
    target=st.text(visible, max_size=60).map(lambda text: b"/" + text.encode()),
    headers=st.lists(st.tuples(names, values), max_size=20, unique_by=lambda h: h[0].lower()),
    body=st.binary(max_size=60),
    keep_alive=st.sampled_from([None, b"keep-alive", b"Keep-Alive", b"KEEP-ALIVE"]),
    data=st.data(),
)
def test_any_plain_request_is_recognised_with_all_its_parts(
    method: bytes,
    target: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
    keep_alive: bytes | None,
    data: st.DataObject,
) -> None:
    body = body if method == b"POST" else b""
    lengths = [b"%d" % len(body), b"%09d" % len(body)] + ([] if body else [None])
    length = data.draw(st.sampled_from(lengths))
    special = [(b"Host", b"a:1"), (b"Content-Length", length), (b"CONNECTION", keep_alive)]
    every = [(name, value) for name, value in (*headers, *special) if value is not None]
    every = data.draw(st.permutations(every))
    lines = [b"%b:%b%b" % (name, data.draw(blanks), value) for name, value in every]
    message = b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, target, b"\r\n".join(lines), body)
    request = scanned(message, WIDE)
    connection = DEFAULT if keep_alive is None else KEEP_ALIVE
    found = {name.lower(): value for name, value in every}
    assert request == Request(method, target, found, body, connection, 7.0)


def test_up_to_64_headers_are_plain() -> None:
    lines = [HOST.strip(), *(b"x-%d: a" % i for i in range(63))]
    assert scanned(head(*lines)) is not None
    assert scanned(head(*lines, b"x: a")) is None


# ---- left to the parser -------------------------------------------------------------------


UNPLAIN = [
    b"",
    b"\r\n" + head(b"Host: a"),
    head(b"Host: a")[:-1],
    head(b"Host: a") + b"\r\n",
    head(b"Host: a") + head(b"Host: a"),
    head(b"Host: a", method=b"PUT"),
    head(b"Host: a", method=b"get"),
    head(b"Host: a", method=b"GET "),
    b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    b"GET /\r\n" + HOST + b"\r\n",
    b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://a/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\t HTTP/1.1\r\n" + HOST + b"\r\n",
    head(),
    head(b"Accept: */*"),
    head(b"Host: a", b"host: a"),
    head(b"Host: a, b"),
    head(b"Host: a", b"X: 1", b"x: 2"),
    head(b"Host: a", b"Accept: a/b", b"accept: c/d"),
    head(b"Host: a", b": x"),
    head(b"Host: a", b"X"),
    head(b"Host: a", b"X : x"),
    head(b"Host: a", b" X: x"),
    head(b"Host: a", b"X\xe4: x"),
    head(b"Host: a", b"X: x "),
    head(b"Host: a", b"X: x\t"),
    head(b"Host: a", b"X: x\ty"),
    head(b"Host: a", b"X: \xe4"),
    head(b"Host: a", b"X: \x00"),
    head(b"Host: a", b"X: \x7f"),
    head(b"Host: a", b"X: x\r\n y"),
    head(b"Host: a", b"X: x\ry"),
    head(b"Host: a", b"X: x\ny: z"),
    head(b"Host: a", b"Connection: close"),
    head(b"Host: a", b"Connection: keep-alive, x"),
    head(b"Host: a", b"Connection:"),
    head(b"Host: a", b"Transfer-Encoding: chunked", method=b"POST") + b"0\r\n\r\n",
    head(b"Host: a", b"Transfer-Encoding:"),
    head(b"Host: a", b"Expect: 100-continue", b"Content-Length: 1", method=b"POST") + b"x",
    head(b"Host: a", b"Upgrade: h2c"),
    head(b"Host: a", b"Trailer: x"),
    head(b"Host: a", b"TE: trailers"),
    head(b"Host: a", b"Proxy-Connection: keep-alive"),
    head(b"Host: a", b"Content-Length: 1") + b"x",
    head(b"Host: a", b"Content-Length: 1", method=b"HEAD") + b"x",
    head(b"Host: a", method=b"POST") + b"x",
    head(b"Host: a", b"Content-Length: 2", method=b"POST") + b"x",
    head(b"Host: a", b"Content-Length: 2", method=b"POST") + b"xyz",
    *(
        head(b"Host: a", b"Content-Length: " + length, method=b"POST") + b"x"
        for length in (b"", b"+1", b"-1", b"1 ", b"0 1", b"1,1", b"0x1", b"0000000001", b"1.0")
    ),
]


@pytest.mark.parametrize("data", UNPLAIN)
def test_what_is_not_plain_is_left_to_the_parser(data: bytes) -> None:
    assert scanned(data, WIDE) is None


def test_every_part_of_a_request_alone_is_left_to_the_parser() -> None:
    assert scanned(POST) is not None
    for size in range(len(POST)):
        assert scanned(POST[:size]) is None
        assert scanned(POST[size + 1 :]) is None


@pytest.mark.parametrize("one_less", ["max_body_bytes", "max_header_bytes", "max_url_bytes"])
def test_what_breaks_a_limit_is_left_to_the_parser(one_less: str) -> None:
    data = b"POST /abc HTTP/1.1\r\nHost: ab\r\nContent-Length: 3\r\n\r\nxyz"
    just = {"max_body_bytes": 3, "max_header_bytes": 4 + 2 + 4 + 14 + 1 + 4, "max_url_bytes": 4}
    assert scanned(data, Limits(**just)) is not None
    assert scanned(data, Limits(**(just | {one_less: just[one_less] - 1}))) is None


# ---- read as the parser reads them --------------------------------------------------------


odd_names = st.sampled_from(
    [b"Host", b"Content-Length", b"Connection", b"Transfer-Encoding", b"Expect", b"Upgrade",
     b"Trailer", b"TE", b"Proxy-Connection", b"HTTP2-Settings", b"X", b"x ", b" x", b"", b"x\x00"]
)  # fmt: skip
odd_values = st.sampled_from(
    [b"a", b"a,b", b"0", b"1", b"2", b"3", b"002", b"+2", b"2 ", b"1_0", b"keep-alive", b"close",
     b"Keep-Alive", b"upgrade", b"chunked", b"100-continue", b"h2c", b"\xff", b"a\tb", b"a\x0bb"]
)  # fmt: skip
odd_headers = st.builds(
    lambda case, name, before, value, after: case(name) + b":" + before + value + after,
    cased,
    st.one_of(odd_names, names),
    blanks,
    st.one_of(odd_values, values),
    st.sampled_from([b"\r\n"] * 6 + [b" \r\n", b"\t\r\n", b"\n", b"\r", b"\r\r\n", b"\r\n "]),
)
messages = st.builds(
    lambda line, host, lines, length, end, body: (
        line + host + b"".join(lines) + length + end + body
    ),
    st.sampled_from(
        [b"GET / HTTP/1.1\r\n"] * 3 + [b"POST /a?b#c HTTP/1.1\r\n"] * 5 + [b"HEAD / HTTP/1.1\r\n"]
        + [b"PUT / HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"\r\nGET / HTTP/1.1\r\n", b"GET a"]
    ),
    st.sampled_from([HOST] * 5 + [b"hOST:\r\n", b""]),
    st.lists(odd_headers, max_size=4),
    st.sampled_from([b"", b"Content-Length: 3\r\n", b"content-length:\t03\r\n"]),
    st.sampled_from([b"\r\n"] * 8 + [b"", b"\n"]),
    st.sampled_from([b"", b"abc", b"abc", b"abcd", b"\r\n", HOST]),
)  # fmt: skip
mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "insert", "delete", "flip"]),
        st.integers(0, 400),
        st.one_of(st.sampled_from(b"\r\n \t:,/0aA\x00\x7f\x80"), st.integers(0, 255)),
    ),
    max_size=3,
)


def mutated(data: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    changed = bytearray(data)
    for kind, place, byte in changes:
        at = place % (len(changed) + 1)
        if kind == "insert":
            changed.insert(at, byte)
        elif kind == "delete":
            del changed[at : at + 1 + byte % 4]
        elif at < len(changed):
            changed[at] = byte if kind == "set" else changed[at] ^ 1 << byte % 8
    return bytes(changed)


@given(
    st.one_of(messages, st.sampled_from([POST, *ORDINARY.values()])),
    mutations,
    st.sampled_from([LIMITS, NARROW, WIDE]),
)
def test_what_is_recognised_is_what_the_parser_reads(
    message: bytes, changes: list[tuple[str, int, int]], limits: Limits
) -> None:
    scanned(mutated(message, changes), limits)


@given(st.binary(max_size=300))
def test_garbage_is_left_to_the_parser(garbage: bytes) -> None:
    assert scanned(garbage) is None


def test_a_request_with_any_one_byte_changed_is_read_alike() -> None:
    recognised = 0
    for at in range(len(POST)):
        for byte in range(256):
            recognised += scanned(POST[:at] + bytes([byte]) + POST[at + 1 :]) is not None
    assert 0.1 < recognised / (256 * len(POST)) < 0.5


def test_a_request_with_any_one_byte_more_or_less_is_read_alike() -> None:
    for at in range(len(POST)):
        scanned(POST[:at] + POST[at + 1 :])
        scanned(POST[:at] + POST[at : at + 1] + POST[at:])
        for byte in b"\r\n\t :,0aZ~\x00\x7f\x80":
            scanned(POST[:at] + bytes([byte]) + POST[at:])


# ---- what it costs, and what it keeps -----------------------------------------------------


def test_common_words_are_made_once() -> None:
    words: list[list[int]] = []
    for name in KNOWN:
        data = head(b"HOST: a", b"accept-charset: */*", name + b": application/json")
        request = scanned(data)
        assert request is not None
        kept = [request.method, *request.headers.values(), list(request.headers)[-1]]
        words.append([id(word) for word in kept])
        again = scanned(data.lower().replace(b"get / http", b"GET / HTTP"))
        assert again is not None
        assert list(again.headers)[-1] is list(request.headers)[-1]
    assert len({tuple(word[:-1]) for word in words}) == 1


def test_scanning_leaves_nothing_behind() -> None:
    scan = scanner(LIMITS)
    tracemalloc.start()
    try:
        used: list[int] = []
        for _ in range(3):
            for data in (POST, *ORDINARY.values(), *UNPLAIN):
                for _ in range(20):
                    scan(data, 1.0)
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert abs(used[2] - used[1]) < 1_000


def test_a_scanner_keeps_what_it_was_given_only_while_it_lives() -> None:
    class Given(Request):
        pass

    connection = bytes([1, 2, 3])
    before = sys.getrefcount(Given), sys.getrefcount(connection)
    made = native().Scanner(Given, connection, connection, 100, 100, 100)
    assert type(made.scan(head(b"Host: a"), 1.0)) is Given
    assert made.scan(head(b"Host: a"), 1.0).connection is connection
    del made
    gc.collect()
    assert (sys.getrefcount(Given), sys.getrefcount(connection)) == before


@pytest.mark.parametrize("at", [3, 4, 5])
def test_a_scanner_of_odd_limits_is_refused(at: int) -> None:
    arguments: list[Any] = [Request, DEFAULT, KEEP_ALIVE, 1, 1, 1]
    arguments[at] = -1
    with pytest.raises(ValueError, match="negative"):
        native().Scanner(*arguments)


@pytest.mark.parametrize("arguments", [(), (b"x",), ("x", 1.0), (None, 1.0), (b"x", 1.0, 1)])
def test_what_is_no_bytes_is_the_caller_s_mistake(arguments: tuple[Any, ...]) -> None:
    scan: Any = scanner(LIMITS)
    with pytest.raises(TypeError, match="scan takes bytes"):
        scan(*arguments)


def test_an_error_of_the_request_s_type_comes_through() -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    scan = native().Scanner(broken, DEFAULT, KEEP_ALIVE, 100, 100, 100).scan
    assert scan(b"x", 1.0) is None
    with pytest.raises(ZeroDivisionError):
        scan(head(b"Host: a"), 1.0)


def test_without_the_native_part_nothing_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "twofold._wire", None)
    module.native.cache_clear()
    try:
        scan = scanner(LIMITS)
        assert [scan(data, 1.0) for data in (POST, b"")] == [None, None]
    finally:
        monkeypatch.undo()
        module.native.cache_clear()
