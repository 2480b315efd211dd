"""Where a server listens: strangers aren't let in by accident, and nothing of others is removed."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold.app.listener import Tls, bound, tls_of, unbound, url_of
from twofold.errors import ConfigError
from twofold.serving.settings import ServeSettings

LOCAL = "127.0.0.1"
PUBLIC = "0.0.0.0"  # noqa: S104 - what is tested


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server((LOCAL, 0)) as taken:
        yield taken.getsockname()[1]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


def refused(settings: ServeSettings) -> str:
    """The error of an address that isn't bound."""
    with pytest.raises(ConfigError) as caught:
        bound(settings)
    return str(caught.value)


# An address.


def test_taken_port_is_named_with_the_way_out() -> None:
    with taken_port() as port:
        assert refused(ServeSettings(port=port)) == (
            f"serve.port: expected a free port, got 127.0.0.1:{port}: Address already in use. "
            "Choose another with --port, or --port 0 for any free one."
        )


@pytest.mark.parametrize("host", ["256.0.0.1", "localhost:80"])
def test_host_that_is_no_address_is_named_with_the_way_out(host: str) -> None:
    message = refused(ServeSettings(host=host, port=0))
    assert message.startswith(f"serve.host: expected an address, got {host}: ")
    assert message.endswith("Give an address of this machine with --host.")


def test_address_of_another_machine_is_named_with_the_way_out() -> None:
    # For documentation only (RFC 5737): nobody has it.
    assert refused(ServeSettings(host="192.0.2.1", port=0, allow_public=True)) == (
        "serve.host: expected an address of this machine, got 192.0.2.1. "
        "Give an address of this machine with --host."
    )


def test_nobody_connects_before_a_worker_listens() -> None:
    with bound(ServeSettings(port=0)) as listener:
        address = listener.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        listener.listen()
        socket.create_connection(address).close()


def test_port_is_free_again_as_soon_as_its_server_has_ended() -> None:
    with bound(ServeSettings(port=0)) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection((LOCAL, port))
        listener.accept()[0].close()
    # The closed connection lingers in the system.
    with client, bound(ServeSettings(port=port)) as again:
        assert again.getsockname() == (LOCAL, port)


@pytest.mark.parametrize("host", [LOCAL, PUBLIC, "localhost"])
def test_url_is_one_that_this_machine_can_open(host: str) -> None:
    with bound(ServeSettings(host=host, port=0, allow_public=True)) as listener:
        port = listener.getsockname()[1]
        expected = {f"http://127.0.0.1:{port}"}
        if host == "localhost":
            expected.add(f"http://[::1]:{port}")
        assert url_of(listener, is_secure=False) in expected


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "::"])
def test_url_of_an_ipv6_address_has_it_in_brackets(host: str) -> None:
    with bound(ServeSettings(host=host, port=0, allow_public=True)) as listener:
        assert url_of(listener, is_secure=False) == f"http://[::1]:{listener.getsockname()[1]}"


def test_url_says_whether_there_is_tls() -> None:
    with bound(ServeSettings(port=0)) as listener:
        assert url_of(listener, is_secure=True).startswith("https://127.0.0.1:")


# A public address.


@pytest.mark.parametrize("host", [PUBLIC, pytest.param("::", marks=needs_ipv6)])
def test_public_address_without_keys_or_tls_is_refused_with_all_ways_out(host: str) -> None:
    message = refused(ServeSettings(host=host, port=0))
    assert message.startswith(
        f"serve.host: expected API keys or TLS on a public address, got neither for {host}. "
    )
    for way in ("--api-keys FILE", "twofold keys new", "--tls-cert FILE", "--allow-public"):
        assert way in message


def test_public_address_is_refused_before_it_is_bound() -> None:
    with taken_port() as port:
        assert refused(ServeSettings(host=PUBLIC, port=port)).startswith("serve.host: ")


@pytest.mark.parametrize(
    ("guards", "warnings"),
    [
        ({"allow_public": True}, ["there are no API keys", "there is no TLS"]),
        ({"api_keys": "keys.toml"}, ["there is no TLS"]),
        ({"tls_cert": "cert.pem"}, ["there are no API keys"]),
        ({"api_keys": "keys.toml", "tls_cert": "cert.pem"}, []),
        ({"tls_client_ca": "ca.pem", "tls_cert": "cert.pem"}, []),
    ],
)
def test_public_address_is_bound_where_it_is_guarded_and_what_is_missing_is_logged(
    guards: dict[str, str], warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with bound(ServeSettings(host=PUBLIC, port=0, **guards)):  # type: ignore[arg-type] - texts
        said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(warnings)
    for line, warning in zip(said, warnings, strict=True):
        assert warning in line
        assert PUBLIC in line


@pytest.mark.parametrize("host", [LOCAL, "127.8.8.8", pytest.param("::1", marks=needs_ipv6)])
def test_address_that_only_this_machine_reaches_needs_no_guard(
    host: str, caplog: pytest.LogCaptureFixture
) -> None:
    bound(ServeSettings(host=host, port=0)).close()
    assert caplog.records == []


# A Unix socket.


@pytest.fixture
def path() -> Iterator[Path]:
    # Not in the folder of the test: the path of a Unix socket may have about a hundred bytes.
    folder = Path("/tmp") / f"twofold-test-{os.getpid()}"  # noqa: S108 - made anew, and removed
    folder.mkdir()
    try:
        yield folder / "server.sock"
    finally:
        shutil.rmtree(folder)


def at(path: Path) -> ServeSettings:
    # A host that would be refused: it doesn't matter.
    return ServeSettings(uds=str(path), host=PUBLIC)


def test_unix_socket_is_bound_at_its_path(path: Path) -> None:
    with bound(at(path)) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen()
        client.connect(str(path))
        assert url_of(listener, is_secure=False) == f"http+unix://{path}"
        assert url_of(listener, is_secure=True) == f"https+unix://{path}"


def test_socket_file_of_a_server_that_was_killed_is_replaced(path: Path) -> None:
    with bound(at(path)) as dead:
        dead.listen()
    assert path.is_socket()
    with bound(at(path)) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen()
        client.connect(str(path))


def test_socket_of_a_server_that_lives_is_refused_and_left_to_it(path: Path) -> None:
    with bound(at(path)) as living, socket.socket(socket.AF_UNIX) as client:
        living.listen()
        assert refused(at(path)) == (
            f"serve.uds: expected a free path, got {path}: Address already in use. "
            "Choose a path in a folder you may write to, where nothing is."
        )
        client.connect(str(path))


def test_socket_of_a_server_that_is_too_busy_to_answer_is_left_to_it(path: Path) -> None:
    with contextlib.ExitStack() as opened:
        living = opened.enter_context(bound(at(path)))
        living.listen(0)
        # Its queue is full: further ones would have to wait.
        for _ in range(2):
            client = opened.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(0)
            client.connect_ex(str(path))
        assert "Address already in use" in refused(at(path))
        assert path.is_socket()


def test_socket_of_a_server_that_is_still_loading_is_refused_and_left_to_it(path: Path) -> None:
    with bound(at(path)) as living, socket.socket(socket.AF_UNIX) as client:
        assert "Address already in use" in refused(at(path))
        living.listen()
        client.connect(str(path))


def test_server_that_stops_leaves_no_file_and_none_of_its_successor_is_removed(path: Path) -> None:
    listener = bound(at(path))
    unbound(listener, at(path))
    assert list(path.parent.iterdir()) == []
    with bound(at(path)):
        listener.close()
        assert path.is_socket()


def test_socket_of_another_kind_is_never_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        assert "Address already in use" in refused(at(path))
        assert path.is_socket()


def test_plain_file_is_never_removed(path: Path) -> None:
    path.write_text("precious", encoding="utf-8")
    assert "Address already in use" in refused(at(path))
    assert path.read_text(encoding="utf-8") == "precious"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere/server.sock", "No such file or directory"),
        ("x" * 200, "path too long"),
    ],
)
def test_path_that_can_t_be_is_named_with_the_way_out(path: Path, name: str, words: str) -> None:
    message = refused(at(path.parent / name))
    assert message.startswith("serve.uds: expected a free path, got ")
    assert words in message


def test_refused_address_leaves_no_open_socket(path: Path) -> None:
    path.write_text("precious", encoding="utf-8")

    def files() -> int:
        gc.collect()  # what other tests have left
        return len(list(Path("/dev/fd").iterdir()))

    before = files()
    with taken_port() as port:
        refused(ServeSettings(port=port))
        refused(ServeSettings(host=PUBLIC, port=port))
        refused(at(path))
    assert files() == before


# TLS.


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two self-signed certificates with their keys: `a.pem`, `a.key`, `b.pem`, `b.key`."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in "ab":
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        words += ["-nodes", "-days", "2", "-subj", f"/CN={name}"]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
    return folder


def secure(folder: Path, **files: str) -> ServeSettings:
    return ServeSettings(**{name: str(folder / file) for name, file in files.items()})  # type: ignore[arg-type]


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_of(ServeSettings()) is None


@pytest.mark.parametrize("name", ["tls_key", "tls_client_ca"])
def test_file_of_tls_without_a_certificate_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tls_of(ServeSettings(**{name: "some.pem"}))  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"serve.tls_cert: expected a file with {name}, got none. Set it, or leave the other out."
    )


@needs_openssl
@pytest.mark.parametrize(
    ("files", "setting"),
    [
        ({"tls_cert": "none.pem"}, "tls_cert"),
        ({"tls_cert": "a.pem"}, "tls_cert"),  # the key isn't in the same file
        ({"tls_cert": "a.pem", "tls_key": "none.key"}, "tls_cert"),
        ({"tls_cert": "a.pem", "tls_key": "b.key"}, "tls_cert"),
        ({"tls_cert": "a.key", "tls_key": "a.key"}, "tls_cert"),
        ({"tls_cert": "a.pem", "tls_key": "a.key", "tls_client_ca": "none.pem"}, "tls_client_ca"),
        ({"tls_cert": "a.pem", "tls_key": "a.key", "tls_client_ca": "a.key"}, "tls_client_ca"),
    ],
)
def test_wrong_files_of_tls_are_named_with_the_way_out(
    certificates: Path, files: dict[str, str], setting: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        tls_of(secure(certificates, **files))
    assert str(caught.value).startswith(f"serve.{setting}: expected ")
    assert "PEM" in str(caught.value)


@contextlib.contextmanager
def connected(
    tls: Tls, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    """A client's connection, once it was welcomed over it."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with contextlib.suppress(OSError), theirs:
            served = tls.context.wrap_socket(theirs, server_side=True)
            with served:
                served.sendall(b"welcome")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, session=session) as opened:
            assert opened.recv(9) == b"welcome"
            yield opened
    finally:
        ours.close()
        thread.join()


def spoken(tls: Tls, client: ssl.SSLContext) -> str | None:
    """The certificate that a client is shown."""
    with connected(tls, client) as opened:
        shown = opened.getpeercert(binary_form=True)
    return None if shown is None else shown.hex()


def anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def hex_of(file: Path) -> str:
    return ssl.PEM_cert_to_DER_cert(file.read_text(encoding="utf-8")).hex()


@needs_openssl
def test_client_is_shown_the_certificate(certificates: Path) -> None:
    tls = tls_of(secure(certificates, tls_cert="a.pem", tls_key="a.key"))
    assert tls is not None
    assert spoken(tls, anybody()) == hex_of(certificates / "a.pem")


@needs_openssl
def test_old_tls_is_refused(certificates: Path) -> None:
    tls = tls_of(secure(certificates, tls_cert="a.pem", tls_key="a.key"))
    assert tls is not None
    assert tls.context.minimum_version == ssl.TLSVersion.TLSv1_2


@needs_openssl
def test_client_must_show_a_certificate_where_authorities_are_named(certificates: Path) -> None:
    tls = tls_of(secure(certificates, tls_cert="a.pem", tls_key="a.key", tls_client_ca="b.pem"))
    assert tls is not None
    known = anybody()
    known.load_cert_chain(certificates / "b.pem", certificates / "b.key")
    assert spoken(tls, known) == hex_of(certificates / "a.pem")
    stranger = anybody()
    stranger.load_cert_chain(certificates / "a.pem", certificates / "a.key")
    for client in (stranger, anybody()):
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
            spoken(tls, client)


@needs_openssl
def test_renewed_certificate_is_shown_without_a_restart(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("pem", "key"):
        shutil.copy(certificates / f"a.{kind}", tmp_path / f"server.{kind}")
    tls = tls_of(secure(tmp_path, tls_cert="server.pem", tls_key="server.key"))
    assert tls is not None
    tls.renew()
    assert spoken(tls, anybody()) == hex_of(certificates / "a.pem")
    # One file after the other: what doesn't belong together is not taken over.
    shutil.copy(certificates / "b.pem", tmp_path / "new.pem")
    (tmp_path / "new.pem").rename(tmp_path / "server.pem")
    tls.renew()
    assert "certificates and authorities stay as they were" in caplog.text
    assert spoken(tls, anybody()) == hex_of(certificates / "a.pem")
    shutil.copy(certificates / "b.key", tmp_path / "new.key")
    (tmp_path / "new.key").rename(tmp_path / "server.key")
    tls.renew()
    assert spoken(tls, anybody()) == hex_of(certificates / "b.pem")


@needs_openssl
def test_certificate_that_is_gone_stays_in_force(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("pem", "key"):
        shutil.copy(certificates / f"a.{kind}", tmp_path / f"server.{kind}")
    tls = tls_of(secure(tmp_path, tls_cert="server.pem", tls_key="server.key"))
    assert tls is not None
    (tmp_path / "server.pem").unlink()
    for _ in range(3):
        tls.renew()
    assert len(caplog.records) == 1, "it is said once"
    assert spoken(tls, anybody()) == hex_of(certificates / "a.pem")


def authorities(folder: Path, *names: str) -> None:
    """Trust these, all at once."""
    new = folder / "new.pem"
    new.write_text("".join((folder / f"{name}.pem").read_text("utf-8") for name in names), "utf-8")
    new.replace(folder / "authorities.pem")


def showing(folder: Path, name: str) -> ssl.SSLContext:
    context = anybody()
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


@needs_openssl
def test_authorities_of_clients_are_added_and_taken_away_without_a_restart(
    certificates: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(certificates, tmp_path / "tls")
    authorities(folder, "b")
    files = {"tls_cert": "a.pem", "tls_key": "a.key", "tls_client_ca": "authorities.pem"}
    tls = tls_of(secure(folder, **files))
    assert tls is not None
    context = tls.context
    ours = hex_of(folder / "a.pem")
    for trusted in (("b",), ("a", "b"), ("a",), ("b",)):
        authorities(folder, *trusted)
        tls.renew()
        for name in "ab":
            if name in trusted:
                assert spoken(tls, showing(folder, name)) == ours
            else:
                with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                    spoken(tls, showing(folder, name))
    assert tls.context is context, "whoever listens was given this one"


@needs_openssl
@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\n", None])
def test_authorities_that_can_t_be_read_stay_in_force(
    certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    folder = shutil.copytree(certificates, tmp_path / "tls")
    authorities(folder, "b")
    files = {"tls_cert": "a.pem", "tls_key": "a.key", "tls_client_ca": "authorities.pem"}
    tls = tls_of(secure(folder, **files))
    assert tls is not None
    if content is None:
        (folder / "authorities.pem").unlink()
    else:
        (folder / "authorities.pem").write_text(content, "utf-8")
    for _ in range(3):
        tls.renew()
    [said] = caplog.messages
    assert said.startswith(
        "certificates and authorities stay as they were: serve.tls_client_ca: expected authorities,"
    )
    assert spoken(tls, showing(folder, "b")) == hex_of(folder / "a.pem")
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        spoken(tls, showing(folder, "a"))


@needs_openssl
def test_client_whose_authority_was_taken_away_can_t_resume_its_session(
    certificates: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(certificates, tmp_path / "tls")
    authorities(folder, "b")
    files = {"tls_cert": "a.pem", "tls_key": "a.key", "tls_client_ca": "authorities.pem"}
    tls = tls_of(secure(folder, **files))
    assert tls is not None
    client = showing(folder, "b")
    # Its sessions are there as soon as a connection is.
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(tls, client) as opened:
        session = opened.session
    with connected(tls, client, session) as opened:
        assert opened.session_reused
    authorities(folder, "a")
    tls.renew()
    with pytest.raises((ssl.SSLError, ConnectionError)), connected(tls, client, session):
        pass
