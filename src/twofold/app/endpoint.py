"""Asking a server about itself: where its metrics are, in the open, with TLS, or by a socket."""

from __future__ import annotations

import dataclasses
import http.client
import socket
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from twofold.errors import ConfigError, problem
from twofold.lab.scrape import Scrape, parsed
from twofold.serving.metrics import REQUESTS

TIMEOUT_S = 5.0
"""How long connecting may take, and each wait for more of the answer."""
MAX_BYTES = 64 * 2**20
"""Several times what a server of as many versions as it can count exposes."""
METRICS_PATH = "/metrics"
FIX_URL = "Give the URL that `twofold serve` prints, as http://127.0.0.1:8080."
FIX_AWAY = "Start it with `twofold serve`, or mend the URL."


class _OverSocketFile(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: str, tls: ssl.SSLContext | None) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path
        self._tls = tls

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a server answered.

    Attributes:
        status: Of HTTP.
        body: As text.
        date: Its Date header, if it has one.
    """

    status: int
    body: str
    date: str | None


class Endpoint:
    """Where a server's metrics are.

    Attributes:
        url: As it was given.
        path: Of the metrics.
    """

    def __init__(self, url: str, *, insecure: bool = False) -> None:
        """Understand a URL; nothing is asked yet.

        Args:
            url: `http://host:port`, `https://host:port`, or `http+unix:///path/of/socket`. A path
                behind the port is kept if it ends in `/metrics`, as behind a proxy; else it
                doesn't matter.
            insecure: Whether any certificate will do.

        Raises:
            ConfigError: It is none of these.
        """
        self.url, self.path = url, METRICS_PATH
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        self._tls = _tls(insecure=insecure) if scheme.startswith("https") else None
        self._socket_file = rest if scheme in {"http+unix", "https+unix"} else None
        if self._socket_file:
            return
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigError(problem("URL", "that of a server", repr(url), FIX_URL)) from error
        if scheme not in {"http", "https"} or not self._host or parts.username is not None:
            raise ConfigError(problem("URL", "that of a server", repr(url), FIX_URL))
        if parts.path.endswith(METRICS_PATH):
            self.path = parts.path

    def ask(self, path: str) -> Reply:
        """Ask for a path, over a connection of its own.

        Args:
            path: One behind the same proxy as the metrics, as `/v2/health/ready`.

        Raises:
            ConfigError: There is no answer.
        """
        connection = self._connection()
        before = self.path.removesuffix(METRICS_PATH)
        try:
            connection.request("GET", before + path)
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            fix = "Have its authority known here (SSL_CERT_FILE), or don't verify it: --insecure."
            raise self._problem("a certificate that is trusted here", str(error), fix) from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            got = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._problem("a server that answers", got, FIX_AWAY) from error
        finally:
            connection.close()
        if len(body) > MAX_BYTES:
            raise self._problem(f"{MAX_BYTES} bytes at most", "more", FIX_URL)
        return Reply(answer.status, body.decode("utf-8", "replace"), answer.getheader("Date"))

    def read(self) -> Reply:
        """Ask for the metrics.

        Raises:
            ConfigError: There is no answer, or not the one of a server's metrics.
        """
        reply = self.ask(METRICS_PATH)
        if reply.status != http.client.OK:
            got = f"{reply.status} {http.client.responses.get(reply.status, '')}".rstrip()
            raise self._problem(f"200 for {self.path}", got, FIX_URL)
        return reply

    def scrape(self, clock: Callable[[], float]) -> Scrape:
        """Look at the metrics.

        Args:
            clock: Monotonic seconds.

        Raises:
            ConfigError: See `read`; or the answer isn't what a server of twofold exposes.
        """
        return self.understood(self.read(), at_s=clock())

    def understood(self, reply: Reply, *, at_s: float) -> Scrape:
        """Understand the answer to `read`.

        Args:
            reply: The answer.
            at_s: When it came, monotonic seconds.

        Raises:
            ConfigError: It isn't what a server of twofold exposes.
        """
        try:
            scrape = parsed(reply.body, at_s=at_s)
        except ValueError as error:
            raise self._problem("Prometheus text", str(error), FIX_URL) from error
        if REQUESTS not in scrape.values:
            raise self._problem("the metrics of `twofold serve`", f"no {REQUESTS}", FIX_URL)
        return scrape

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket_file is not None:
            return _OverSocketFile(self._socket_file, self._tls)
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, context=self._tls
        )

    def _problem(self, expected: str, got: str, fix: str) -> ConfigError:
        return ConfigError(problem(self.url, expected, got, fix))


def _tls(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
