"""One connection: what its parser completes is answered in order, and its time is limited."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from email.utils import formatdate
from typing import Any, Protocol

from twofold.serving.settings import ServeSettings
from twofold.serving.waiting import Task
from twofold.wire.desk import Common, Keyed, make_desk
from twofold.wire.http import (
    CLOSE,
    CONTINUE,
    NOTHING_READ,
    Event,
    Limits,
    Phase,
    Request,
    RequestParser,
    Response,
    render,
)
from twofold.wire.scan import scanner
from twofold.wire.statuses import WireError

IDLE = Phase.IDLE
CHECKS_PER_TURN = 256
"""Connections whose time is looked at before requests get their turn."""
EVENTS_PER_TURN = 32
"""Pipelined requests of one connection answered before others get their turn."""
LARGE_READ_BYTES = 65_536
"""Whoever sends so much at once has more to send: the loop would read on, up to some megabytes,
before it looks at others."""
HELD_BYTES = 65_536
"""Of more bodies than that behind a request that waits, no more is read: several times the
largest body would else be kept for one connection."""
REFUSED = 400
"""From this status on a response is no answer."""
LINGER_S = 2.0
"""How long what a refused client still sends is read and dropped: closing at once would reset
the connection, and the client would never see why (RFC 9112, 9.6)."""


class Caller(Protocol):
    """Who waits for an answer."""

    def waits_for(self, task: Task) -> None:
        """Be the one for whom a task is done; mark it when the caller hangs up."""
        ...

    def reply(self, response: Response) -> None:
        """Answer the request that was not answered at once."""
        ...


class Answers(Protocol):
    """Answers requests; `twofold.wire.routes.Routes`."""

    def answer(self, request: Request, caller: Caller) -> Response | None:
        """Answer a request; None if the caller gets its answer later."""
        ...

    def refuse(self, error: Exception, request: Request) -> Response:
        """Answer what never became a whole request; as much of it is given as was read."""
        ...

    def count(self, status: int) -> None:
        """Count a response."""
        ...

    def gate(
        self, method: bytes, target: bytes, headers: dict[bytes, bytes], received_s: float
    ) -> Exception | None:
        """Why a request needn't send its body; None if it may."""
        ...


Refused = Callable[[int, Mapping[bytes, bytes], asyncio.BaseTransport], None]


class Connections:
    """All connections of one worker, and what they share.

    Attributes:
        leaving: Whether a connection ends with the last response it waits for.
        draining: Whether idle ones are closed, too.
        date: The Date header line, renewed with every `check`.
        least_s: Within so long no connection that was in time can be out of it.
    """

    def __init__(  # noqa: PLR0913 - who is told of what, named
        self,
        answers: Answers,
        settings: ServeSettings,
        *,
        clock: Callable[[], float],
        touch: Callable[[float, float], None] = lambda *_: None,
        changed: Callable[[int], None] = lambda _: None,
        common: Iterable[Common] = (),
        keyed: Iterable[Keyed] = (),
        tally: Any = None,
        refused: Refused | None = None,
    ) -> None:
        """Begin without connections.

        Args:
            answers: Who answers.
            settings: Limits and timeouts.
            clock: Monotonic seconds.
            touch: Told the instant whenever bytes have come, and when their connection was read
                the last time.
            changed: Told +1 for every connection opened and -1 for every one closed.
            common: What may be answered natively; see `twofold.wire.desk`.
            keyed: The same of what is answered by key.
            tally: Where such answers are counted.
            refused: Told of each response that is no answer: its status, the headers of its
                request, and the transport.
        """
        self.answers = answers
        self.settings = settings
        self.clock = clock
        self.limits = Limits(
            settings.max_body_bytes, settings.max_header_bytes, settings.max_url_bytes
        )
        self._scan = scanner(self.limits)
        self._desk = make_desk(self._scan, tally, clock, common, keyed)
        self.take: Callable[[bytes, float], bytes | Request | None] = (
            self._scan if self._desk is None else self._desk.take
        )
        self.least_s = min(
            settings.header_timeout_s, settings.body_timeout_s, settings.idle_timeout_s, LINGER_S
        )
        self.touch = touch
        self.refused = refused
        self.leaving = False
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

    def check(self) -> Iterator[None]:
        """Close what is out of time. To be gone through several times a second, in turns."""
        self._renew_date()
        # Those that come meanwhile are not out of time yet.
        every = tuple(self._open)
        for first in range(0, len(every), CHECKS_PER_TURN):
            now_s = self.clock()
            for connection in every[first : first + CHECKS_PER_TURN]:
                if now_s >= connection.look_s or self.draining:
                    connection.check(now_s)
            yield

    def abort(self) -> None:
        """Close all, whatever they do."""
        for connection in tuple(self._open):
            connection.abort()

    def leave(self) -> None:
        """End every connection with the last response it waits for."""
        self.leaving = True
        self.take = self._scan  # the desk doesn't say that a connection ends

    def _renew_date(self) -> None:
        self.date = f"Date: {formatdate(usegmt=True)}\r\n".encode()
        if self._desk is not None:
            self._desk.set_date(self.date)


class Connection(asyncio.Protocol):
    """One connection. Its requests are answered one after the other, in the order they came.

    Attributes:
        look_s: Before that it can't be out of time.
    """

    __slots__ = (
        "_all", "_early", "_ended", "_events", "_is_asking", "_parser", "_peer_done", "_read_s",
        "_since_s", "_task", "_transport", "_waiting", "_writable", "look_s",
    )  # fmt: skip

    _transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        """Belong to a worker's connections."""
        self._all = connections
        self._since_s = connections.clock()
        self._read_s = -math.inf
        self.look_s = self._since_s + connections.least_s
        self._parser: RequestParser | None = None
        self._events: deque[Event] = deque()
        self._waiting: Request | None = None
        self._task: Task | None = None
        self._is_asking = False
        self._early: Response | None = None
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
        self._waiting = None
        task, self._task = self._task, None
        if task is not None:
            task.leave()
        self._all.closed(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; answer what they complete."""
        if self._ended:
            return
        every, parser = self._all, self._parser
        now_s = every.clock()
        every.touch(now_s, self._read_s)
        self._read_s = now_s
        is_between = parser is None or parser.phase is IDLE
        if is_between and self._writable and not self._events and not self._waiting:
            request = every.take(data, now_s)
            if request is not None:
                self._since_s = now_s
                if isinstance(request, bytes):
                    self._transport.write(request)
                    return
                self._waiting = request
                response = every.answers.answer(request, self)
                if response is not None:
                    self._waiting = None
                    self._transport.write(self._rendered(request, response))
                    if self._ended:
                        self._finish(request)
                return
        if parser is None:
            # Most connections have plain requests only, and there may be thousands.
            parser = self._parser = RequestParser(every.limits, now_s, every.answers.gate)
        events = parser.feed(data, now_s)
        if events:
            self._take(events)
        elif len(data) >= LARGE_READ_BYTES:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._read_on)

    def eof_received(self) -> bool:
        """Answer what is here, then close: the client sends no more."""
        if self._ended:
            return False
        self._peer_done = True
        if self._task is not None:
            # Most likely its patience is over. A client that only says that it sends no more,
            # and still waits, can't be told apart; Go's net/http takes it for gone, too.
            self._ended = True
            return False
        cut = None if self._parser is None else self._parser.ended()
        if cut is not None:
            self._take([cut])
        # A TLS connection can't be half closed: asyncio would close it anyway, with a warning.
        return bool(self._events or self._waiting) and self._transport.can_write_eof()

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

    def waits_for(self, task: Task) -> None:
        """Be the one for whom a task is done."""
        self._task = task

    def reply(self, response: Response) -> None:
        """Answer the request that was not answered at once, and go on with the next."""
        request, self._waiting, self._task = self._waiting, None, None
        if self._is_asking:
            # It comes in the middle of asking: those before it may not be written yet.
            self._early = response
            return
        if request is None or self._ended:
            return
        self._since_s = self._all.clock()
        self._transport.write(self._rendered(request, response))
        if self._ended:
            self._finish(request)
        elif not self._writable:
            pass  # The rest is answered when the client has taken this.
        elif self._events or self._peer_done:
            self._work()
        else:
            self._transport.resume_reading()

    def check(self, now_s: float) -> None:
        """Close or refuse what is out of time."""
        due_s = self._due_s()
        if now_s > due_s:
            self._time_out(now_s)
        self.look_s = min(due_s, now_s + self._all.least_s)

    def _due_s(self) -> float:
        """When its time is over, if nothing happens."""
        settings, parser = self._all.settings, self._parser
        if self._ended:
            is_taken = self._transport.get_write_buffer_size() == 0
            return self._since_s + (LINGER_S if is_taken else settings.body_timeout_s)
        if not self._writable:
            return self._since_s + settings.body_timeout_s
        if self._events or self._waiting:
            return math.inf
        if parser is None:
            return 0.0 if self._all.draining else self._since_s + settings.idle_timeout_s
        # From then on nothing is expected but that the client sends.
        since_s = max(self._since_s, parser.since_s)
        if parser.phase is IDLE:
            return 0.0 if self._all.draining else since_s + settings.idle_timeout_s
        is_head = parser.phase is Phase.HEAD
        return since_s + (settings.header_timeout_s if is_head else settings.body_timeout_s)

    def _time_out(self, now_s: float) -> None:
        if self._ended or not self._writable:
            self.abort()
        elif self._parser is None or self._parser.phase is IDLE:
            self._ended = True
            self._since_s = now_s
            self._transport.close()
        else:
            self._take([self._parser.timed_out()])

    def abort(self) -> None:
        """Close at once; what isn't sent yet is lost."""
        self._transport.abort()

    def _take(self, events: list[Event]) -> None:
        self._events.extend(events)
        if self._writable and not self._waiting:
            self._work()
        elif self._waiting:
            held = sum(len(event.body) for event in self._events if isinstance(event, Request))
            if len(self._events) > EVENTS_PER_TURN or held > HELD_BYTES:
                self._transport.pause_reading()

    def _work(self) -> None:
        """Answer what waits, in order, as much as one turn allows, in one write."""
        events = self._events
        replies: list[bytes] = []
        event: Event = CONTINUE
        while events and not self._ended and not self._waiting and len(replies) < EVENTS_PER_TURN:
            event = events.popleft()
            reply = self._reply(event)
            if reply is not None:
                replies.append(reply)
        if replies:
            self._transport.write(b"".join(replies))
        if self._ended or (self._peer_done and not events and not self._waiting):
            self._finish(event)
        elif events:
            # Reading pauses, so that what waits doesn't grow; the others get their turn.
            self._transport.pause_reading()
            if self._writable and not self._waiting:
                asyncio.get_running_loop().call_soon(self._resume)
        elif self._writable:
            self._transport.resume_reading()

    def _read_on(self) -> None:
        if self._writable and not self._ended and not self._waiting and not self._events:
            self._transport.resume_reading()

    def _resume(self) -> None:
        if self._writable and not self._ended and not self._waiting:
            self._work()

    def _reply(self, event: Event) -> bytes | None:
        """What an event is answered with; None if the answer comes later."""
        if isinstance(event, Request):
            self._is_asking = True
            response = self._all.answers.answer(event, self)
            self._is_asking = False
            if response is None:
                response, self._early = self._early, None
                if response is None:
                    self._waiting = event
                    return None
            return self._rendered(event, response)
        if isinstance(event, Exception):
            self._ended = True
            unread = self._unread()
            response = self._all.answers.refuse(event, unread)
            self._all.answers.count(response.status)
            if self._all.refused is not None:
                self._all.refused(response.status, unread.headers, self._transport)
            return render(response, connection=CLOSE, head_only=False, date=self._all.date)
        return event

    def _unread(self) -> Request:
        return NOTHING_READ if self._parser is None else self._parser.unread()

    def _rendered(self, request: Request, response: Response) -> bytes:
        every = self._all
        connection = request.connection
        if connection is CLOSE or (every.leaving and not self._events):
            connection = CLOSE
            self._ended = True
        every.answers.count(response.status)
        if response.status >= REFUSED and every.refused is not None:
            every.refused(response.status, request.headers, self._transport)
        head_only = request.method == b"HEAD"
        return render(response, connection=connection, head_only=head_only, date=every.date)

    def _finish(self, last: Event) -> None:
        """Close; after a refusal, only once the client had time to read it."""
        self._ended = True
        self._since_s = self._all.clock()
        self._events.clear()
        if isinstance(last, Exception) and not self._peer_done:
            self._transport.resume_reading()
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self._transport.close()
