"""One connection: what its parser completes is answered in order, and its time is limited."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from twofold.serving.settings import ServeSettings
from twofold.wire.http import (
    CLOSE,
    CONTINUE,
    Event,
    Limits,
    Phase,
    Request,
    RequestParser,
    Response,
    render,
)
from twofold.wire.statuses import WireError

EVENTS_PER_TURN = 32
"""Pipelined requests of one connection answered before others get their turn."""
LINGER_S = 2.0
"""How long what a refused client still sends is read and dropped: closing at once would reset
the connection, and the client would never see why (RFC 9112, 9.6)."""


class Answers(Protocol):
    """Answers requests; `twofold.wire.routes.Routes`."""

    def answer(self, request: Request) -> Response:
        """Answer a request."""
        ...

    def refuse(self, error: Exception) -> Response:
        """Answer what never became a request."""
        ...


class Connections:
    """All connections of one worker, and what they share.

    Attributes:
        draining: Whether a connection ends with the last response it waits for.
        date: The Date header line, renewed with every `check`.
    """

    def __init__(
        self,
        answers: Answers,
        settings: ServeSettings,
        *,
        clock: Callable[[], float],
        changed: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Begin without connections.

        Args:
            answers: Who answers.
            settings: Limits and timeouts.
            clock: Monotonic seconds.
            changed: Told +1 for every connection opened and -1 for every one closed.
        """
        self.answers = answers
        self.settings = settings
        self.clock = clock
        self.limits = Limits(
            settings.max_body_bytes, settings.max_header_bytes, settings.max_url_bytes
        )
        self.draining = False
        self.date = b""
        self._changed = changed
        self._open: set[Connection] = set()
        self._renew_date()

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def make(self) -> Connection:
        """Make the protocol of a connection that was just accepted."""
        return Connection(self)

    def opened(self, connection: Connection) -> bool:
        """Take a connection in; False if there are too many."""
        self._open.add(connection)
        self._changed(1)
        limit = self.settings.max_connections
        if len(self._open) > 2 * limit:
            # Even telling them costs a connection each, for a while.
            connection.abort()
        return len(self._open) <= limit

    def closed(self, connection: Connection) -> None:
        """Let a connection go."""
        self._open.discard(connection)
        self._changed(-1)

    def check(self) -> None:
        """Close what is out of time. To be called several times a second."""
        self._renew_date()
        now_s = self.clock()
        for connection in tuple(self._open):
            connection.check(now_s)

    def abort(self) -> None:
        """Close all, whatever they do."""
        for connection in tuple(self._open):
            connection.abort()

    def _renew_date(self) -> None:
        self.date = f"Date: {formatdate(usegmt=True)}\r\n".encode()


class Connection(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_all", "_ended", "_events", "_parser", "_peer_done", "_since_s", "_transport", "_writable",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        """Belong to a worker's connections."""
        self._all = connections
        self._since_s = connections.clock()
        self._parser = RequestParser(connections.limits, self._since_s)
        self._events: deque[Event] = deque()
        self._writable = True
        self._peer_done = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open."""
        self._transport = transport  # type: ignore[assignment] - a stream's is an asyncio.Transport
        if not self._all.opened(self):
            limit = self._all.settings.max_connections
            message = f"server: expected at most {limit} connections, got more. Try again later."
            self._take([WireError("too_many_connections", message)])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Be gone; what isn't answered yet needs no answer any more."""
        self._ended = True
        self._events.clear()
        self._all.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer what they complete."""
        if self._ended:
            return
        events = self._parser.feed(data, self._all.clock())
        if len(events) == 1 and self._writable and not self._events:
            self._transport.write(self._reply(events[0]))
            if self._ended:
                self._finish(events[0])
        elif events:
            self._take(events)

    def eof_received(self) -> bool:
        """Answer what is here, then close: the client sends no more."""
        if self._ended:
            return False
        self._peer_done = True
        cut = self._parser.ended()
        if cut is not None:
            self._take([cut])
        return bool(self._events)

    def pause_writing(self) -> None:
        """The client doesn't take its answers: read nothing more from it."""
        self._writable = False
        self._since_s = self._all.clock()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client takes its answers again."""
        self._writable = True
        if not self._ended:
            self._work()

    def check(self, now_s: float) -> None:
        """Close or refuse what is out of time."""
        settings = self._all.settings
        parser = self._parser
        if self._ended:
            if now_s - self._since_s > LINGER_S:
                self.abort()
        elif not self._writable:
            if now_s - self._since_s > settings.body_timeout_s:
                self.abort()
        elif self._events:
            pass
        elif parser.phase is Phase.IDLE:
            if self._all.draining or now_s - parser.since_s > settings.idle_timeout_s:
                self._ended = True
                self._since_s = now_s
                self._transport.close()
        else:
            limit_s = (
                settings.header_timeout_s if parser.phase is Phase.HEAD else settings.body_timeout_s
            )
            if now_s - parser.since_s > limit_s:
                self._take([parser.timed_out()])

    def abort(self) -> None:
        """Close at once; what isn't sent yet is lost."""
        self._transport.abort()

    def _take(self, events: list[Event]) -> None:
        self._events.extend(events)
        if self._writable:
            self._work()

    def _work(self) -> None:
        """Answer what waits, in order, as much as one turn allows, in one write."""
        events = self._events
        replies: list[bytes] = []
        event: Event = CONTINUE
        while events and not self._ended and len(replies) < EVENTS_PER_TURN:
            event = events.popleft()
            replies.append(self._reply(event))
        if replies:
            self._transport.write(b"".join(replies))
        if self._ended:
            self._finish(event)
        elif events:
            # Reading pauses, so that what waits doesn't grow; the others get their turn.
            self._transport.pause_reading()
            if self._writable:
                asyncio.get_running_loop().call_soon(self._resume)
        elif self._peer_done:
            self._finish(event)
        elif self._writable:
            self._transport.resume_reading()

    def _resume(self) -> None:
        if self._writable and not self._ended:
            self._work()

    def _reply(self, event: Event) -> bytes:
        every = self._all
        if isinstance(event, Request):
            response = every.answers.answer(event)
            connection = event.connection
            if connection is CLOSE or (every.draining and not self._events):
                connection = CLOSE
                self._ended = True
            head_only = event.method == b"HEAD"
            return render(response, connection=connection, head_only=head_only, date=every.date)
        if isinstance(event, WireError):
            self._ended = True
            response = every.answers.refuse(event)
            return render(response, connection=CLOSE, head_only=False, date=every.date)
        return event

    def _finish(self, last: Event) -> None:
        """Close; after a refusal, only once the client had time to read it."""
        self._ended = True
        self._since_s = self._all.clock()
        self._events.clear()
        if isinstance(last, WireError) and not self._peer_done:
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self._transport.close()
