"""Servers of stores that tests start themselves: on free ports of this machine, stopped at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from foreign import skip
from proxy import Proxy

STARTS_S = 20.0
CLUSTER_NODES = 3
SLOTS = 16_384


def free_port() -> int:
    """A port whose number leaves room for the cluster bus, which is 10,000 above."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def wait_until(question: object, what: str) -> None:
    """Ask until it is so."""
    assert callable(question)
    until_s = time.monotonic() + STARTS_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            if question():
                return
        time.sleep(0.02)
    raise TimeoutError(what)


class RedisNode:
    """A server of Redis or Valkey.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, command: str, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._command = command
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    def start(self) -> None:
        """Start it, with what it had when it was stopped."""
        where = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        saved = ["--save", "", "--appendonly", "no"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._command, *where, *saved, *self._options], stdout=log, stderr=log
            )
        wait_until(lambda: self.ask("PING").startswith((b"+PONG", b"-NOAUTH")), "a server")

    def ask(self, *words: str | int) -> bytes:
        """Send one command; give the answer as it comes, or its beginning."""
        packed = b"*%d\r\n" % len(words)
        for word in words:
            packed += b"$%d\r\n%b\r\n" % (len(str(word).encode()), str(word).encode())
        with socket.create_connection(("127.0.0.1", self.port), timeout=STARTS_S) as connection:
            connection.sendall(packed)
            return connection.recv(65_536)

    def stop(self) -> None:
        """Stop it; it remembers what it has."""
        assert self._process is not None
        with contextlib.suppress(OSError):
            self.ask("SHUTDOWN", "SAVE")
        self._process.wait(STARTS_S)

    def kill(self) -> None:
        """Let nothing be left of it."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STARTS_S)

    def hang(self) -> None:
        """Let it answer no more, though its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class RedisServers:
    """One server, or the nodes of a cluster.

    Attributes:
        nodes: They.
        url: Where they are.
    """

    def __init__(self, nodes: Sequence[RedisNode]) -> None:
        self.nodes = nodes
        scheme = "redis" if len(nodes) == 1 else "redis+cluster"
        self.url = f"{scheme}://127.0.0.1:{nodes[0].port}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        if len(self.nodes) > 1:
            wait_until(self._is_whole, "a whole cluster")

    def join(self) -> None:
        """Make a cluster of the nodes, that know nothing of each other yet."""
        share = SLOTS // len(self.nodes)
        for at, node in enumerate(self.nodes):
            last = SLOTS - 1 if node is self.nodes[-1] else (at + 1) * share - 1
            assert node.ask("CLUSTER", "ADDSLOTSRANGE", at * share, last) == b"+OK\r\n"
            assert node.ask("CLUSTER", "SET-CONFIG-EPOCH", at + 1) == b"+OK\r\n"
        for node in self.nodes[1:]:
            meet = ("CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port)
            assert node.ask(*meet) == b"+OK\r\n"
        wait_until(self._is_whole, "a whole cluster")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()

    def hang(self) -> None:
        for node in self.nodes:
            node.hang()

    def go_on(self) -> None:
        for node in self.nodes:
            node.go_on()
        if len(self.nodes) > 1:
            wait_until(self._is_whole, "a whole cluster")

    def take_away(self, model: str) -> None:
        """Let the right to publish a model end, as if its publisher had been stopped for long."""
        answers = [node.ask("DEL", f"twofold:{{{model}}}:lock") for node in self.nodes]
        assert b":1\r\n" in answers

    def _is_whole(self) -> bool:
        told = [node.ask("CLUSTER", "INFO") for node in self.nodes]
        known = b"cluster_known_nodes:%d\r" % len(self.nodes)
        return all(b"cluster_state:ok" in text and known in text for text in told)


@contextlib.contextmanager
def running_redis(
    folder: Path, *, nodes: int = 1, command: str = "redis-server", options: Sequence[str] = ()
) -> Iterator[RedisServers]:
    """Start one server, or a cluster of several."""
    found = shutil.which(command)
    if found is None:
        skip(f"needs {command}")
    more = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"] if nodes > 1 else []
    made = [RedisNode(str(found), folder / str(at), [*options, *more]) for at in range(nodes)]
    servers = RedisServers(made)
    try:
        for node in made:
            node.start()
        if nodes > 1:
            servers.join()
        yield servers
    finally:
        for node in made:
            node.kill()


class PostgresqlServer:
    """The server there is, and a proxy before it: that can be stopped where it can't.

    Attributes:
        url: Where it is, with a schema of these tests' own.
        stopped_url: The same through the proxy, for those who stop it.
    """

    def __init__(self, proxy: Proxy, url: str) -> None:
        self._proxy = proxy
        self.url = url
        place = urlsplit(url)
        through = f"{place.username}@127.0.0.1:{proxy.port}"
        self.stopped_url = urlunsplit(place._replace(netloc=through))

    def start(self) -> None:
        self._proxy.listen()

    def stop(self) -> None:
        self._proxy.shut()

    def hang(self) -> None:
        self._proxy.hang()

    def go_on(self) -> None:
        self._proxy.flow()


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgresqlServer]:
    """Find the server: at PGHOST and PGPORT, or 127.0.0.1:5432."""
    host, port = os.environ.get("PGHOST", "127.0.0.1"), int(os.environ.get("PGPORT", "5432"))
    user = os.environ.get("PGUSER", "postgres")
    database = os.environ.get("PGDATABASE", "test")
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        skip(f"needs PostgreSQL at {host}:{port} (PGHOST, PGPORT): {error}")
    schema = f"twofold_{uuid.uuid4().hex}"
    url = f"postgresql://{user}@{host}:{port}/{database}"
    with Proxy(host, port) as proxy:
        try:
            yield PostgresqlServer(proxy, f"{url}?schema={schema}")
        finally:
            statement: Any = f"DROP SCHEMA IF EXISTS {schema} CASCADE"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(statement)
