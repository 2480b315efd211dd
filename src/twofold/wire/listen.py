"""Runs the event loop of one worker: accepts, answers, and drains when it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from twofold.serving.supervisor import LEAVE, Link
from twofold.wire.connection import Connections

BACKLOG_CONNECTIONS = 2_048
"""Connections the system keeps for us until they are accepted."""
CHECK_S = 0.25
"""How often timeouts are looked at; they are that much late at most."""
MAX_LAG_S = 0.25
"""A loop that is this late takes no more connections in."""
DRAIN_CHECK_S = 0.01
LAST_S = 1.0
READ_TURNS = 8
"""Turns of the loop in which all that had come when the server was told to stop is accepted and
read: no request that was sent before is taken for one that came after, or cut off."""
SPARE_FILES = 256
"""Open files besides connections: what the models and the loop keep open."""


@dataclass(frozen=True)
class Hooks:
    """What happens when.

    Attributes:
        ready: Called when connections are accepted.
        drain: Called when no more requests are to be taken.
        lag_s: How late the event loop is now, seconds.
        tick: Called several times a second.
    """

    ready: Callable[[], None]
    drain: Callable[[], None]
    lag_s: Callable[[], float] = lambda: 0.0
    tick: Callable[[], None] = lambda: None


def listen(
    loop: asyncio.AbstractEventLoop,
    listener: socket.socket,
    connections: Connections,
    *,
    tls: ssl.SSLContext | None = None,
    parent: Link,
    how: Hooks,
) -> None:
    """Answer connections until SIGTERM, or until the parent says so or is gone; then drain.

    Args:
        loop: A new one, which is closed at the end.
        listener: A bound socket, which other processes may listen on as well.
        connections: What answers them.
        tls: What TLS needs, if there is any.
        parent: The link to the parent; see `twofold.serving.supervisor.Work`.
        how: What happens when.
    """
    _allow_files(2 * connections.settings.max_connections + SPARE_FILES)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_listen(listener, connections, tls, parent, how))


def _allow_files(count: int) -> None:
    """Raise this process's limit of open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def new_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop, the quickest there is."""
    try:
        import uvloop  # noqa: PLC0415 - it doesn't exist for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _listen(
    listener: socket.socket,
    connections: Connections,
    tls: ssl.SSLContext | None,
    parent: Link,
    how: Hooks,
) -> None:
    loop = asyncio.get_running_loop()
    stop, leave = asyncio.Event(), asyncio.Event()

    def told(event: asyncio.Event) -> None:
        # Whoever is answered from now on is told that the connection ends.
        connections.leave()
        event.set()

    def hear() -> None:
        try:
            said = parent.recv_bytes()
        except (EOFError, OSError):
            loop.remove_reader(parent.fileno())
            told(stop)
        else:
            if said == LEAVE:
                told(leave)

    loop.add_signal_handler(signal.SIGTERM, told, stop)
    loop.add_reader(parent.fileno(), hear)
    door = _Door(listener, connections, tls)
    await door.open()
    checks = asyncio.create_task(_check(connections, how, door))
    how.ready()
    await _first(stop, leave)
    until_s = connections.clock() + connections.settings.drain_s
    if leave.is_set():
        # Others answer new connections already. Those that are idle may be sent a request at any
        # instant: they are not closed before they have had it, or for as long as draining takes.
        checks.cancel()
        door.close()
        checks = asyncio.create_task(_check(connections, how))
        await _emptied(connections, until_s, stop)
    # Idle connections are closed by the checks, which must not see those whose request is yet to
    # be read.
    checks.cancel()
    connections.draining = True
    for _ in range(READ_TURNS):
        await asyncio.sleep(0)
    how.drain()
    door.close()
    # While it is open here, the system takes connections that nobody would answer.
    listener.close()
    checks = asyncio.create_task(_check(connections, how))
    if leave.is_set():
        # A request that came last of all has its time, too; see `supervisor.STOP_MARGIN_S`.
        until_s = max(until_s, connections.clock() + LAST_S)
    await _emptied(connections, until_s)
    checks.cancel()
    connections.abort()
    # One more turn, in which the aborted connections learn that they are gone.
    await asyncio.sleep(0)


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of several events has come."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for item in waits:
        item.cancel()


async def _emptied(
    connections: Connections, until_s: float, stop: asyncio.Event | None = None
) -> None:
    """Wait until no connection is open, for as long as draining may take."""
    while len(connections) > 0 and connections.clock() < until_s:
        # The connections know nothing of the loop: they are asked, for as long as draining takes.
        if stop is not None and stop.is_set():
            return
        await asyncio.sleep(DRAIN_CHECK_S)


class _Door:
    """Takes connections in, while it is open."""

    def __init__(
        self, listener: socket.socket, connections: Connections, tls: ssl.SSLContext | None
    ) -> None:
        self._listener = listener
        self._connections = connections
        self._tls = tls
        self._opening: asyncio.Task[asyncio.Server] | None = None

    async def open(self) -> None:
        if self._opening is None:
            # A copy: closing it leaves the socket open for the others, and for the next time.
            opening = asyncio.get_running_loop().create_server(
                self._connections.make,
                sock=self._listener.dup(),
                ssl=self._tls,
                backlog=BACKLOG_CONNECTIONS,
            )
            self._opening = asyncio.ensure_future(opening)
            try:
                # Whoever waits may be cancelled; the server there is then is still closed below.
                await asyncio.shield(self._opening)
            except OSError:
                self._opening = None
                raise

    def close(self) -> None:
        opening, self._opening = self._opening, None
        if opening is None:
            pass
        elif opening.done():
            _close(opening)
        else:
            opening.add_done_callback(_close)


def _close(opening: asyncio.Task[asyncio.Server]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _check(connections: Connections, how: Hooks, door: _Door | None = None) -> None:
    while True:
        for _ in connections.check():
            await asyncio.sleep(0)
        if door is not None:
            # When even refusing takes too long, who isn't connected yet waits in the system's own
            # queue, or for another worker.
            if how.lag_s() > MAX_LAG_S:
                door.close()
            else:
                # Too many open files, say: the next check tries again, and must come.
                with contextlib.suppress(OSError):
                    await door.open()
        how.tick()
        await asyncio.sleep(CHECK_S)
