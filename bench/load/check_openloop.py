"""Checks openloop.c against a server that does what servers do, and what they shouldn't.

    python bench/load/check_openloop.py

It is compiled with the sanitizers of memory and undefined behaviour. Takes a few seconds.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("openloop.c")
SANITIZED = ("-g", "-O1", "-std=c11", "-Wall", "-Wextra", "-Werror")
SANITIZERS = "-fsanitize=address,undefined"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
SERVICE_S = 0.010
LOAD, REQUESTS = "200:0.25", 50
BACKOFF_MS, RETRY_AFTER_MS = 20, 1000
TOLERANCE = 0.15
ANSWERS = {
    "/ok": OK,
    "/close": b"HTTP/1.1 200 OK\r\nconnection: Close\r\nContent-Length: 4\r\n\r\ngood",
    "/chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4;x\r\ngood\r\n2\r\nod\r\n0\r\n\r\n",
    "/until-end": b"HTTP/1.0 200 OK\r\n\r\ngood",
    "/continue": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "/bad-body": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ngood",
    "/garbage": b"SSH-2.0-x\r\n\r\n\r\n",
    "/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/503": b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}
CLOSED_AFTER = {"/close", "/until-end", "/cut", "/garbage", "/idle"}


class Server:
    """Answers each path in its own way.

    Attributes:
        port: Where.
        asked: Requests by path.
    """

    def __init__(self) -> None:
        """Start in a thread; it ends with the program."""
        self.asked: Counter[str] = Counter()
        self.port = 0
        self._one_at_a_time = asyncio.Lock()
        threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True).start()
        while not self.port:
            time.sleep(0.01)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path, count = head.split()[1].decode(), count + 1
                length = head.lower().partition(b"content-length: ")[2].split(b"\r")[0]
                body = await reader.readexactly(int(length or 0))
                assert body == (b"the body" if length else b"")
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
        elif path == "/slow":
            async with self._one_at_a_time:
                await asyncio.sleep(SERVICE_S)
                writer.write(OK)
        elif path == "/at-last":
            writer.write(OK if self.asked[path] % 3 == 0 else ANSWERS["/503"])
        else:
            writer.write(ANSWERS.get(path, OK))
        await writer.drain()
        if path == "/idle":
            await asyncio.sleep(0.002)
        return path not in CLOSED_AFTER


def main() -> None:
    """Check all, or say what is wrong."""
    server = Server()
    with tempfile.TemporaryDirectory(prefix="twofold-bench-") as name:
        folder = Path(name)
        program, body = folder / "openloop", folder / "body"
        body.write_bytes(b"the body")
        command = ["cc", *SANITIZED, SANITIZERS, "-o", str(program), str(SOURCE), "-lm"]
        subprocess.run(command, check=True)

        def load(path: str, *more: str, segments: str = LOAD, at: int = 0) -> dict[str, Any]:
            words = [program, "--port", str(server.port), "--path", path, "--segments", segments]
            words += ["--body", body, "--summary", "--expect", "good", *more]
            done = subprocess.run(words, stdout=subprocess.PIPE, check=True, timeout=30)
            return json.loads(done.stdout.splitlines()[at])

        check_answers(load)
        check_failures(load, server)
        check_retries(load, server)
        check_waiting(load)
    print("openloop.c does what it says")


def check_answers(load: Any) -> None:
    """All forms of good answers are understood."""
    for path in ("/ok", "/close", "/chunked", "/until-end", "/continue", "/idle"):
        found = load(path)
        assert found["statuses"] == {"200": REQUESTS}, (path, found)
        assert found["errors"] == {}, (path, found)
        assert found["offered"] == found["attempts"] == found["within_slo"] == REQUESTS, (
            path,
            found,
        )
    assert load("/empty")["statuses"] == {"204": REQUESTS}
    found = load("/ok", segments="0:0.2,40:0.5", at=1)
    assert found["statuses"] == {"200": 20}, found


def check_failures(load: Any, server: Server) -> None:
    """Each failure is called by its name."""
    for path, name in (("/bad-body", "badbody"), ("/cut", "eof"), ("/garbage", "other"),
                       ("/reset", "reset")):  # fmt: skip
        found = load(path)
        assert found["errors"] == {name: REQUESTS}, (path, found)
        assert found["statuses"] == {}, (path, found)
    assert load("/never", "--timeout-s", "0.1")["errors"] == {"timeout": REQUESTS}
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        found = load("/", "--port", str(port), "--timeout-s", "0.1")
        assert found["errors"]["unsent"] > found["errors"]["timeout"] > 0, found
        assert sum(found["errors"].values()) == found["offered"], found
    found = load("/race")
    assert found["statuses"] == {"200": REQUESTS}, found
    assert found["resent"] == server.asked["/race"] - REQUESTS > 0, (found, server.asked)
    assert load("/ok", "--port", "1")["errors"] == {"refused": REQUESTS}


def check_retries(load: Any, server: Server) -> None:
    """Refusals are repeated as often as asked, and count from the first time."""
    found = load("/503", "--retries", "2")
    assert found["statuses"] == {"503": REQUESTS}, found
    assert found["attempts"] == found["refusals"] == server.asked["/503"] == 3 * REQUESTS, found
    found = load("/at-last", "--retries", "9", segments="10:0.5")
    assert found["statuses"] == {"200": 5}, found
    assert found["p50_ms"] >= 2 * BACKOFF_MS, found
    found = load("/at-last", "--retries", "9", "--honour-retry-after", segments="3:1")
    assert found["statuses"] == {"200": 3}, found
    assert found["max_ms"] >= RETRY_AFTER_MS, found
    found = load("/never", "--retries", "2", "--timeout-s", "0.1", segments="100:0.1")
    assert found["errors"] == {"timeout": 10}, found
    assert found["attempts"] == 3 * found["offered"], found


def check_waiting(load: Any) -> None:
    """Asked for twice what it can, a server makes its clients wait longer and longer."""
    rate, seconds = 2 / SERVICE_S, 1.0
    found = load("/slow", "--timeout-s", "5", "--slo-ms", "300", segments=f"{rate:g}:{seconds:g}")
    # The last of the requests waits for as long again as the load lasted, the middle one half.
    assert found["max_ms"] / 1e3 > 0.9 * seconds, found
    assert abs(found["p50_ms"] / found["max_ms"] - 0.5) < TOLERANCE, found
    assert abs(found["within_slo_ratio"] - 0.3 / seconds) < TOLERANCE, found


if __name__ == "__main__":
    sys.exit(main())
