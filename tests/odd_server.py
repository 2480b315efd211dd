"""A server of HTTP that does what servers do, and what they shouldn't: each path in its own way."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
ANSWERS = {
    "/ok": OK,
    "/close": b"HTTP/1.1 200 OK\r\nconnection: Close\r\nContent-Length: 4\r\n\r\ngood",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;x=y\r\ngo\r\n2\r\nod\r\n0\r\nTrailer: x\r\n\r\n",
    "/until-end": b"HTTP/1.0 200 OK\r\n\r\ngood",
    "/continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "/other": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood",
    "/garbage": b"SSH-2.0-x\r\n\r\n\r\n",
    "/bad-length": b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\ngood",
    "/bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "/huge-head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    "/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/404": b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
    "/500": b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
    "/503": b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "/302": b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n",
    "/unasked": OK + b"HTTP/1.1 200 OK\r\n",
}
CLOSED_AFTER = {"/close", "/until-end", "/cut", "/garbage", "/bad-length", "/bad-chunk", "/idle"}
PIECES = ("/pieces", "/pieces-chunked")


class OddServer:
    """Answers each path in its own way.

    Attributes:
        asked: Requests by path.
        connections: How many there have been.
        port: Where.
    """

    def __init__(self) -> None:
        """Not yet started; see `odd_server`."""
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self.port = 0
        self.stall_s = 0.0
        self.stopped = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    def stall(self, seconds: float) -> None:
        """Let the server do nothing at all for so long, as a pause for garbage would."""
        import time

        assert self.loop is not None
        self.loop.call_soon_threadsafe(time.sleep, seconds)

    async def serve(self, ready: threading.Event) -> None:
        """Answer until it is stopped."""
        self.loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self.stopped.wait()
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        count = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path, count = head.split()[1].decode(), count + 1
                length = head.lower().partition(b"content-length: ")[2].split(b"\r")[0]
                await reader.readexactly(int(length or 0))
                self.asked[path] += 1
                if not await self._one(path, count, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def _one(self, path: str, count: int, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False: then close."""
        if path == "/reset":
            # Closing a socket that lingers for no time resets its connection.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            return False
        if path == "/never":
            await asyncio.sleep(3600)
        elif path == "/race" and count > 1:
            return False  # as if it had closed the connection just before the request came
        elif path == "/endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
        elif path in PIECES:
            kind = "/chunked" if path == "/pieces-chunked" else "/ok"
            for at in range(len(ANSWERS[kind])):
                writer.write(ANSWERS[kind][at : at + 1])
                await asyncio.sleep(0)
        else:
            writer.write(ANSWERS.get(path, OK))
        await writer.drain()
        if path == "/idle":
            await asyncio.sleep(0.002)
        return path not in CLOSED_AFTER


@contextlib.contextmanager
def odd_server() -> Iterator[OddServer]:
    """Serve in a thread."""
    server = OddServer()
    ready = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(ready)))
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        assert server.loop is not None
        server.loop.call_soon_threadsafe(server.stopped.set)
        thread.join()
