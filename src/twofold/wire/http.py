"""HTTP/1.1 without I/O: bytes in, requests and refusals out; a response in, its bytes out.

Rules of this file:
- Any split of the same bytes gives the same events.
- Nothing grows beyond the limits, whatever comes, and however slowly.
- After a refusal the stream can't be trusted any more: the parser takes no further bytes, and
  the connection ends (RFC 9112, 2.2 and 11.2).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import httptools
import msgspec

from twofold.wire.statuses import REASONS, WireError

JSON = b"application/json"

DEFAULT = b""
KEEP_ALIVE = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"

REQUEST_LINE_BYTES = 64
"""What a request line has beside its URL, with room for empty lines before it."""
TLS_HANDSHAKE = b"\x16\x03"


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large a request may be."""

    max_body_bytes: int
    max_header_bytes: int
    max_url_bytes: int


class Request(msgspec.Struct, frozen=True):
    """One whole request.

    Attributes:
        method: `b"GET"`, ...
        target: Path and query as sent.
        headers: Names in lower case; values of repeated ones joined by `, `.
        body: All of it, chunks joined.
        connection: The header line about the connection that its response must carry.
        received_s: When its first byte came, monotonic seconds.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    connection: bytes
    received_s: float

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open after the response."""
        return self.connection is not CLOSE


NOTHING_READ = Request(b"", b"", {}, b"", CLOSE, 0.0)
"""What is known of a request of which nothing was."""


class Response(msgspec.Struct, frozen=True):
    """One whole response.

    Attributes:
        status: One of `REASONS`.
        body: All of it.
        content_type: Of the body.
        headers: Further header lines, each ended by CRLF.
    """

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: bytes = b""


class Phase(enum.Enum):
    """What the parser waits for."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"


class _Stop(Exception):
    """Ends the native parser's work on this stream."""


Gate = Callable[[bytes, bytes, dict[bytes, bytes], float], Exception | None]
"""Given method, target, headers, and when the first byte came: why the body needn't be sent; None
if it may."""
GATED_BYTES = 16_384
"""Smaller bodies are here by the time they could be refused."""


def open_gate(_method: bytes, _target: bytes, _headers: dict[bytes, bytes], _: float) -> None:
    """Want every body."""


Event = Request | Exception | Literal[b"HTTP/1.1 100 Continue\r\n\r\n"]
CONTINUE: Literal[b"HTTP/1.1 100 Continue\r\n\r\n"] = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The client waits for this before it sends its body; it is sent as it stands."""


class RequestParser:
    """Parses one connection's bytes.

    Attributes:
        phase: What it waits for.
        since_s: Since when, monotonic seconds.
    """

    # One slot per part of the message being read; the object lives as long as its connection.
    __slots__ = (
        "_body",
        "_body_bytes",
        "_events",
        "_gate",
        "_header_bytes",
        "_headers",
        "_limits",
        "_now_s",
        "_over",
        "_parser",
        "_progress",
        "_received_s",
        "_target",
        "_unseen_bytes",
        "_upgrading",
        "phase",
        "since_s",
    )  # fmt: skip

    def __init__(self, limits: Limits, now_s: float, gate: Gate = open_gate) -> None:
        """Wait for a first request.

        Args:
            limits: How large it may be.
            now_s: The current instant, monotonic seconds.
            gate: Asked, before a large body is read, whether it is wanted.
        """
        self._limits = limits
        self._gate = gate
        self._parser = httptools.HttpRequestParser(self)
        self._events: list[Event] = []
        self._over = False
        self._upgrading = False
        self._progress = False
        self._unseen_bytes = 0
        self._now_s = self._received_s = self.since_s = now_s
        self.phase = Phase.IDLE
        self._reset()

    def feed(self, data: bytes, now_s: float) -> list[Event]:
        """Take the next bytes of the stream.

        Args:
            data: Any number of bytes.
            now_s: When they came.

        Returns:
            What they completed, in order; a refusal is the last event of a stream.
        """
        if self._over:
            return []
        self._now_s = now_s
        self._events = events = []
        self._progress = False
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if not self._over:
                self._refuse(_broken(error, data))
        if not self._over and self.phase is not Phase.IDLE:
            self._check_unseen(len(data))
        return events

    def timed_out(self) -> WireError:
        """Refuse the request that is being read, for taking too long."""
        self._end()
        part = "headers" if self.phase is Phase.HEAD else "body"
        return WireError(
            "timeout",
            f"request: expected its {part} in time, got only a part of them. Send it in one go.",
        )

    def ended(self) -> WireError | None:
        """Refuse the request that the end of the stream cut off, if it did."""
        cut = self.phase is not Phase.IDLE and not self._over
        self._end()
        if not cut:
            return None
        return WireError(
            "bad_request",
            "request: expected a whole request, got the end of the stream in its middle. Send "
            "as many bytes of body as Content-Length says.",
        )

    def unread(self) -> Request:
        """As much as was read of the request that was refused: it is the last of its stream."""
        method = self._parser.get_method() if self._target else b""
        return Request(method, self._target, self._headers, b"", CLOSE, self._received_s)

    def _parse(self, data: bytes) -> None:
        view: bytes | memoryview = data
        while True:
            try:
                self._parser.feed_data(view)
            except httptools.HttpParserUpgrade as upgrade:
                # Some clients offer to upgrade to HTTP/2 with every request. Offers may be
                # ignored (RFC 9110, 7.8), but the native parser stops there: read the message
                # again as if it had made none.
                view = memoryview(view)[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self._upgrading = False
                self._reset()
                self._parser = httptools.HttpRequestParser(self)
                self._parser.feed_data(head)
                continue
            return

    def _head_without_upgrade(self) -> bytes:
        lines = [b"%b %b HTTP/1.1" % (self._parser.get_method(), self._target)]
        lines += [b"%b: %b" % item for item in self._headers.items() if item[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._body: bytes | bytearray = b""
        self._body_bytes = 0

    def _end(self) -> None:
        self._over = True
        self._body = b""  # the connection may linger, and this be large

    def _refuse(self, error: Exception) -> None:
        self._end()
        self._events.append(error)

    def _stop(self, error: Exception) -> _Stop:
        self._refuse(error)
        return _Stop()

    def _check_unseen(self, count: int) -> None:
        """Bound what the native parser holds back or skips: parts of headers, chunk extensions."""
        if self._progress:
            self._unseen_bytes = 0
            return
        self._unseen_bytes += count
        limits = self._limits
        head = limits.max_header_bytes + limits.max_url_bytes + REQUEST_LINE_BYTES
        if self._unseen_bytes > head:
            self._refuse(_headers_too_large(limits))

    # What follows is called by the native parser.

    def on_message_begin(self) -> None:
        """A request's first byte came."""
        if self.phase is Phase.IDLE:
            self.phase = Phase.HEAD
            self.since_s = self._received_s = self._now_s
            self._unseen_bytes = 0

    def on_url(self, url: bytes) -> None:
        """The URL came, or a part of it."""
        self._target = self._target + url if self._target else url
        if len(self._target) > self._limits.max_url_bytes:
            limit = self._limits.max_url_bytes
            message = f"url: expected at most {limit} bytes, got more. Send the row in the body."
            raise self._stop(WireError("url_too_long", message))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header came whole, or one trailer."""
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self._limits.max_header_bytes:
            raise self._stop(_headers_too_large(self._limits))
        if self.phase is Phase.BODY:
            return  # Trailers are read and dropped (RFC 9110, 6.5.1).
        name = name.lower()
        known = self._headers.get(name)
        self._headers[name] = value if known is None else known + b", " + value

    def on_headers_complete(self) -> None:
        """The head came whole."""
        headers = self._headers
        if b"upgrade" in headers and self._parser.should_upgrade():
            self._upgrading = True
            return
        self._check_head(headers)
        self.phase = Phase.BODY
        self.since_s = self._now_s
        self._progress = True
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._limits.max_body_bytes:
            raise self._stop(_body_too_large(self._limits))
        if b"expect" in headers or (length is not None and int(length) > GATED_BYTES):
            method = self._parser.get_method()
            unwanted = self._gate(method, self._target, headers, self._received_s)
            if unwanted is not None:
                raise self._stop(unwanted)
        if b"expect" in headers:
            if headers[b"expect"].lower() != b"100-continue":
                message = "Expect: expected 100-continue, got something else. Leave it out."
                raise self._stop(WireError("expectation_failed", message))
            if self._parser.get_http_version() != "1.0":
                self._events.append(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        self._progress = True
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.max_body_bytes:
            raise self._stop(_body_too_large(self._limits))
        if not self._body:
            self._body = body
        else:
            # One growing buffer: a list of a million small chunks would be ten times the limit.
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._upgrading:
            return
        parser = self._parser
        headers = self._headers
        connection = DEFAULT
        if not parser.should_keep_alive():
            connection = CLOSE
            self._over = True
        elif b"connection" in headers:
            connection = KEEP_ALIVE
        self._events.append(
            Request(
                parser.get_method(),
                self._target,
                headers,
                bytes(self._body),
                connection,
                self._received_s,
            )
        )
        self.phase = Phase.IDLE
        self.since_s = self._now_s
        self._progress = True
        self._reset()

    def _check_head(self, headers: dict[bytes, bytes]) -> None:
        parser = self._parser
        message = ""
        if parser.get_method() == b"CONNECT":
            message = "CONNECT: expected a request for this server, got one for a proxy. Send POST."
        host = headers.get(b"host")
        if host is None:
            version = parser.get_http_version()
            if version != "1.0":
                message = f"Host: expected the header in HTTP/{version}, got none. Send one."
        elif b"," in host:
            message = "Host: expected the header once, got it more often. Send one."
        coding = headers.get(b"transfer-encoding")
        if coding is not None and (
            coding.lower() != b"chunked" or parser.get_http_version() == "1.0"
        ):
            # Two parties that read a body's end differently can be made to see different
            # requests: only the one unambiguous form is taken (RFC 9112, 6.1).
            message = (
                "Transfer-Encoding: expected chunked over HTTP/1.1, got something else. Send the "
                "body with Content-Length."
            )
        if message:
            raise self._stop(WireError("bad_request", message))


def _body_too_large(limits: Limits) -> WireError:
    return WireError(
        "body_too_large",
        f"body: expected at most {limits.max_body_bytes} bytes, got more. Send fewer rows in one "
        "request, or use a batch run.",
    )


def _headers_too_large(limits: Limits) -> WireError:
    return WireError(
        "headers_too_large",
        f"headers: expected at most {limits.max_header_bytes} bytes, got more. Send fewer or "
        "shorter headers.",
    )


def _broken(error: httptools.HttpParserError, data: bytes) -> WireError:
    if data.startswith(TLS_HANDSHAKE):
        message = "request: expected HTTP, got a TLS handshake. Use http:// for this port."
    elif isinstance(error, httptools.HttpParserInvalidMethodError):
        message = (
            "request: expected an HTTP/1.1 method such as GET or POST, got something else. "
            "Send HTTP/1.1."
        )
    else:
        message = f"request: expected HTTP/1.1, got a fault in it: {error}. Mend the client."
    return WireError("bad_request", message)


_STATUS_LINES = {
    status: f"HTTP/1.1 {status} {reason}\r\nContent-Type: ".encode()
    for status, reason in ({item.value: item.phrase for item in HTTPStatus} | REASONS).items()
}


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """The path of a target, escaped as it was sent, and its query.

    A target may name the host before them (RFC 9112, 3.2.2).
    """
    path, _, query = target.partition(b"#")[0].partition(b"?")
    scheme, _, rest = path.partition(b"://")
    if rest and scheme.lower() in (b"http", b"https"):
        path = b"/" + rest.partition(b"/")[2]
    return path, query


def path_of(request: Request) -> str:
    """The path of a request for logs: without query and host, escaped as it was sent."""
    return split_target(request.target)[0].decode("ascii", "backslashreplace")


def render(response: Response, *, connection: bytes, head_only: bool, date: bytes) -> bytes:
    """Render a response, to be sent in one write.

    Args:
        response: What to send.
        connection: `DEFAULT`, `KEEP_ALIVE` or `CLOSE`.
        head_only: Whether to leave the body out, as the answer to HEAD.
        date: The Date header line, ended by CRLF.
    """
    body, status = response.body, response.status
    return b"%b%b\r\nContent-Length: %d\r\n%b%b%b\r\n%b" % (
        _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\nContent-Type: " % status,
        response.content_type,
        len(body),
        date,
        connection,
        response.headers,
        b"" if head_only else body,
    )


def around_connection(response: Response) -> tuple[bytes, bytes]:
    """Render a response but for the header lines about date and connection: before and behind."""
    rendered = render(response, connection=b"", head_only=False, date=b"")
    behind = len(response.headers) + len(b"\r\n") + len(response.body)
    return rendered[:-behind], rendered[-behind:]
