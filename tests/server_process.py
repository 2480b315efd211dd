"""A real server under test: ask it, look at its processes, wait for what becomes of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

LIMIT_S = 60.0


@dataclass
class ServerProcess:
    """A server process under test.

    Attributes:
        process: Its supervisor.
        url: Where it is asked.
        hangs_s: When no answer has come in this time, none will.
    """

    process: subprocess.Popen[str]
    url: str
    hangs_s: float = LIMIT_S

    @property
    def address(self) -> tuple[str, int]:
        return address_of(self.url)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=LIMIT_S)

    def client(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=self.hangs_s)

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        with contextlib.closing(self.client()) as client:
            return exchange(client, method, path, body, headers)

    def metric(self, series: str) -> float:
        lines = self.ask("GET", "/metrics")[1].decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(series + " "))

    def workers(self) -> list[int]:
        return children(self.process.pid)

    def stop(self, kind: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(kind)
        return self.process.wait(LIMIT_S)


def url_of(process: subprocess.Popen[str]) -> str:
    """Wait for what `twofold serve --json` says first: where it is to be asked."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return json.loads(line)["url"]


def address_of(url: str) -> tuple[str, int]:
    """The host and the port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def exchange(
    client: http.client.HTTPConnection,
    method: str,
    path: str,
    body: Any,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Ask once, the body as JSON; give the status and the body of the answer."""
    client.request(method, path, None if body is None else json.dumps(body), headers or {})
    response = client.getresponse()
    return response.status, response.read()


def read_response(client: socket.socket) -> bytes:
    """One response with a length, or what came until the end."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = client.recv(65_536)
        if not more:
            return received
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        more = client.recv(65_536)
        assert more, "the response was cut off"
        body += more
    return head + b"\r\n\r\n" + body


def children(pid: int) -> list[int]:
    """The child processes that run Python's `spawn_main`: workers, and models' processes."""
    shown = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True
    ).stdout
    split = [line.split(None, 2) for line in shown.splitlines()]
    return [int(s[0]) for s in split if s[1] == str(pid) and "spawn_main" in s[2]]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it; a busy machine may take its time, not for ever."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.01)
