"""Asking a server once, with the very bytes that a load is made of."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from twofold.errors import ConfigError, problem

Address = tuple[str, int] | str
"""Where a server listens: a numeric IP address and a port, or the path of a Unix socket."""

TIMEOUT_S = 30.0
"""A model's first prediction may take long."""
MAX_BODY_BYTES = 16 * 2**20
SHOWN_CHARS = 300
FIX_URL = "Give a URL as http://127.0.0.1:8080, http://HOST/PATH or http+unix:///PATH/OF/SOCKET."


@dataclass(frozen=True)
class Place:
    """What a URL says.

    Attributes:
        address: Where the server listens.
        host: For the header of that name.
        target: Path and query; "" if there is none.
    """

    address: Address
    host: str
    target: str


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: Of HTTP.
        body: As bytes.
    """

    status: int
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it is a 2xx."""
        return http.client.OK <= self.status < http.client.MULTIPLE_CHOICES

    def document(self) -> Any:
        """The body as JSON; None if it isn't any, or the answer isn't good."""
        try:
            return msgspec.json.decode(self.body) if self.is_good else None
        except msgspec.DecodeError:
            return None

    def shown(self) -> str:
        """For a message."""
        text = " ".join(self.body.decode("utf-8", "replace").split())
        text = f"{text[:SHOWN_CHARS]}…" if len(text) > SHOWN_CHARS else text
        return f"{self.status} {text}".strip()


def check_url(url: str) -> SplitResult:
    """Understand a URL; nothing is asked yet.

    Raises:
        ConfigError: It is none, or leads where no load can go.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only now
    except ValueError as error:
        raise ConfigError(problem("URL", "a URL", f"{url!r} ({error})", FIX_URL)) from error
    if parts.scheme == "http+unix" and parts.path and not parts.netloc:
        return parts
    if parts.scheme == "https":
        fix = "Load the server behind what ends TLS, over http:// or a Unix socket."
        raise ConfigError(problem("URL", "http:// or http+unix://", "https://", fix))
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(problem("URL", "http:// or http+unix://", repr(url), FIX_URL))
    return parts


def place_of(url: str) -> Place:
    """Find out where a URL leads; names of hosts are resolved, once.

    Raises:
        ConfigError: See `check_url`; or nobody knows its host.
    """
    parts = check_url(url)
    if parts.scheme == "http+unix":
        # A path of HTTP may follow that of the socket, after a colon.
        path, _, target = parts.path.partition(":")
        return Place(path, "localhost", target)
    host, port = parts.hostname or "", parts.port or 80
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    address = (_resolved(host, port), port)
    return Place(address, parts.netloc.rpartition("@")[2], "" if target == "/" else target)


def ask(address: Address, request: bytes, *, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send a request over a connection of its own.

    Raises:
        ConfigError: There is no answer.
    """
    try:
        with _connected(address, timeout_s) as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return Answer(response.status, response.read(MAX_BODY_BYTES))
    except (OSError, http.client.HTTPException) as error:
        where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        got = getattr(error, "strerror", None) or str(error) or type(error).__name__
        fix = "Start the server, or mend the URL."
        raise ConfigError(problem(where, "an answer", got, fix)) from error


def _connected(address: Address, timeout_s: float) -> socket.socket:
    if not isinstance(address, str):
        return socket.create_connection(address, timeout=timeout_s)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(address)
    except BaseException:
        connection.close()
        raise
    return connection


def _resolved(host: str, port: int) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        fix = "Mend the name, or give an IP address."
        got = error.strerror or str(error)
        raise ConfigError(problem("URL", f"a host that is known as {host!r}", got, fix)) from error
    # The first that takes connections: `localhost` may have two, of which a server has one.
    numeric = [str(address[0]) for _, _, _, _, address in found]
    for address in numeric:
        try:
            with socket.create_connection((address, port), timeout=TIMEOUT_S):
                return address
        except OSError:
            continue
    return numeric[0]
