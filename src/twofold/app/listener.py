"""Where a server listens: an address or a Unix socket, in the open or with TLS, to whom."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
import stat
from pathlib import Path

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
        context: For every connection to come.
    """

    def __init__(self, settings: ServeSettings) -> None:
        """Read the files; see `tls_of`."""
        self._files = (settings.tls_cert, settings.tls_key or None)
        self.context = _context(settings)
        self._seen = self._state()

    def renew(self) -> None:
        """Take over a certificate that was renewed; to be called about once a second."""
        state = self._state()
        if state == self._seen:
            return
        self._seen = state
        try:
            # First on trial: what doesn't belong together would leave a context without a key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._files)
            self.context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            log.error("the certificate stays as it was: %s", error)  # noqa: TRY400 - says it all

    def _state(self) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for file in self._files:
            if file is not None:
                with contextlib.suppress(OSError):
                    state = Path(file).stat()
                    found.append((state.st_mtime_ns, state.st_ino))
        return found


def unbound(listener: socket.socket, settings: ServeSettings) -> None:
    """Let go of what `bound` gave; a Unix socket leaves no file."""
    listener.close()
    if settings.uds:
        Path(settings.uds).unlink(missing_ok=True)


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
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            # The socket file of a server that was killed is still there: nobody answers on it.
            if stat.S_ISSOCK(Path(path).stat().st_mode) and not _answers(path):
                Path(path).unlink()
        except FileNotFoundError:
            pass
        listener.bind(path)
    except OSError as error:
        listener.close()
        fix = "Choose a path in a folder you may write to, where nothing is."
        raise ConfigError(
            problem("serve.uds", "a free path", f"{path}: {error.strerror or error}", fix)
        ) from error
    return listener


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.0)
        # Whatever else comes of it, it is somebody's: of a server whose queue is full, or of a
        # program that speaks another way.
        return probe.connect_ex(path) != errno.ECONNREFUSED


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
