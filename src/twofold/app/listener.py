"""Where a server listens: an address or a Unix socket, in the open or with TLS, to whom."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

from twofold.app.unix_socket import UnixSocket
from twofold.errors import ConfigError, problem
from twofold.serving.settings import ServeSettings

log = logging.getLogger("twofold.serving")


def bound(settings: ServeSettings) -> socket.socket:
    """Bind the one socket that all workers listen on; nobody listens before a worker is ready.

    Raises:
        ConfigError: It can't be bound, or mustn't be: it is public, and anybody could ask.
    """
    return _bound_path(settings.uds) if settings.uds else _bound_address(settings)


class Tls:
    """What TLS needs: certificates, and the authorities of clients, if they must show theirs.

    Attributes:
        context: For every connection to come, whatever becomes of the files.
    """

    def __init__(self, settings: ServeSettings) -> None:
        """Read the files; see `tls_of`."""
        self._settings = settings
        self._files = [settings.tls_cert, settings.tls_key, settings.tls_client_ca]
        # Before they are read: what changes meanwhile is seen the next time.
        self._seen = self._state()
        self.context = _Latest(ssl.PROTOCOL_TLS_SERVER)
        self.context.latest = _context(settings)

    def renew(self) -> None:
        """Take over files that changed; to be called about once a second.

        Either all of them are taken over or, if they don't fit together, none. Connections that
        are open stay open.
        """
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            self.context.latest = _context(self._settings)
        except ConfigError as error:
            log.error("certificates and authorities stay as they were: %s", error)  # noqa: TRY400

    def _state(self) -> list[tuple[int, int, int]]:
        found: list[tuple[int, int, int]] = []
        for file in filter(None, self._files):
            try:
                state = Path(file).stat()
                found.append((state.st_mtime_ns, state.st_ino, state.st_size))
            except OSError:
                found.append((0, 0, 0))
        return found


class _Latest(ssl.SSLContext):
    """Makes each connection by the context that it was given last.

    Who listens is given one context for good, and a context can't unlearn an authority, nor the
    clients whose sessions it lets resume.
    """

    latest: ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self.latest.wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return self.latest.wrap_socket(*args, **kwargs)


def unbound(listener: socket.socket, settings: ServeSettings) -> None:
    """Let go of what `bound` gave; a Unix socket leaves no file."""
    if settings.uds and isinstance(listener, UnixSocket):
        listener.remove()
    listener.close()


def tls_of(settings: ServeSettings) -> Tls | None:
    """What TLS needs, if there is to be any.

    Raises:
        ConfigError: A file is missing or not what it should be.
    """
    if not settings.tls_cert:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(settings, name):
                fix = "Set it, or leave the other out."
                raise ConfigError(problem("serve.tls_cert", f"a file with {name}", "none", fix))
        return None
    return Tls(settings)


def _context(settings: ServeSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    except (OSError, ssl.SSLError) as error:
        fix = "Give a PEM chain with --tls-cert and its key with --tls-key."
        raise ConfigError(
            problem("serve.tls_cert", "a certificate and its key", str(error), fix)
        ) from error
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (OSError, ssl.SSLError) as error:
            fix = "Give a PEM file of certificates."
            raise ConfigError(
                problem("serve.tls_client_ca", "authorities", str(error), fix)
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def url_of(listener: socket.socket, *, is_secure: bool) -> str:
    """The URL under which this machine reaches a listener."""
    scheme = "https" if is_secure else "http"
    if listener.family == socket.AF_UNIX:
        return f"{scheme}+unix://{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004
    shown = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004
    return f"{scheme}://{shown}:{port}"


def _bound_path(path: str) -> socket.socket:
    try:
        return UnixSocket.bound_to(path)
    except OSError as error:
        fix = "Choose a path in a folder you may write to, where nothing is."
        raise ConfigError(
            problem("serve.uds", "a free path", f"{path}: {error.strerror or error}", fix)
        ) from error


def _bound_address(settings: ServeSettings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        fix = "Give an address of this machine with --host."
        raise ConfigError(problem("serve.host", "an address", f"{host}: {error}", fix)) from error
    try:
        _check_public(str(address[0]), settings)
        # Else the port stays taken for a minute after a server on it has ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except ConfigError:
        listener.close()
        raise
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            fix = "Give an address of this machine with --host."
            raise ConfigError(
                problem("serve.host", "an address of this machine", host, fix)
            ) from error
        where = f"{host}:{port}"
        fix = "Choose another with --port, or --port 0 for any free one."
        raise ConfigError(
            problem("serve.port", "a free port", f"{where}: {error.strerror}", fix)
        ) from error
    return listener


def _check_public(address: str, settings: ServeSettings) -> None:
    """Refuse to let strangers in by accident."""
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return
    if settings.api_keys or settings.tls_cert or settings.allow_public:
        if not settings.api_keys and not settings.tls_client_ca:
            log.warning(
                "whoever reaches %s may ask for predictions: there are no API keys", address
            )
        if not settings.tls_cert:
            log.warning("what is sent to %s can be read on its way: there is no TLS", address)
        return
    raise ConfigError(
        problem(
            "serve.host",
            "API keys or TLS on a public address",
            f"neither for {address}",
            "Set --api-keys FILE (see `twofold keys new`) or --tls-cert FILE, or say "
            "--allow-public if something else guards the server.",
        )
    )
