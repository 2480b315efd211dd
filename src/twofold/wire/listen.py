"""Runs the event loop of one worker: accepts, answers, and drains when it is told to stop."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable

from twofold.wire.connection import Connections

BACKLOG_CONNECTIONS = 2_048
"""Connections the system keeps for us until they are accepted."""
CHECK_S = 0.25
"""How often timeouts are looked at; they are that much late at most."""
DRAIN_CHECK_S = 0.01
READ_TURNS = 8
"""Turns of the loop in which all that had come when the server was told to stop is accepted and
read: no request that was sent before is taken for one that came after, or cut off."""
SPARE_FILES = 256
"""Open files besides connections: what the models and the loop keep open."""


def listen(
    listener: socket.socket,
    connections: Connections,
    *,
    parent: int,
    ready: Callable[[], None],
    drain: Callable[[], None],
) -> None:
    """Answer connections until SIGTERM, or until the parent process is gone; then drain.

    Args:
        listener: A bound socket, which other processes may listen on as well.
        connections: What answers them.
        parent: A file descriptor that becomes readable when the parent is gone.
        ready: Called when connections are accepted.
        drain: Called when no more requests are to be taken.
    """
    _allow_files(2 * connections.settings.max_connections + SPARE_FILES)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_listen(listener, connections, parent, ready, drain))


def _allow_files(count: int) -> None:
    """Raise this process's limit of open files, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - it doesn't exist for every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _listen(
    listener: socket.socket,
    connections: Connections,
    parent: int,
    ready: Callable[[], None],
    drain: Callable[[], None],
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(parent, stop.set)
    server = await loop.create_server(connections.make, sock=listener, backlog=BACKLOG_CONNECTIONS)
    checks = asyncio.create_task(_check(connections))
    ready()
    await stop.wait()
    loop.remove_reader(parent)
    # Whoever is answered from now on is told that the connection ends. Idle ones are closed by
    # the checks, which must not see those whose request is yet to be read.
    checks.cancel()
    connections.draining = True
    for _ in range(READ_TURNS):
        await asyncio.sleep(0)
    drain()
    server.close()
    checks = asyncio.create_task(_check(connections))
    until_s = connections.clock() + connections.settings.drain_s
    while len(connections) > 0 and connections.clock() < until_s:  # noqa: ASYNC110
        # The connections know nothing of the loop: they are asked, for as long as draining takes.
        await asyncio.sleep(DRAIN_CHECK_S)
    checks.cancel()
    connections.abort()
    # One more turn, in which the aborted connections learn that they are gone.
    await asyncio.sleep(0)


async def _check(connections: Connections) -> None:
    while True:
        connections.check()
        await asyncio.sleep(CHECK_S)
