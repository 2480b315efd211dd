"""Where a server may be asked, over what, and by whom."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from twofold.app.serve import running_server
from twofold.errors import ConfigError
from twofold.serving.settings import ServeSettings

sys.path.insert(0, str(Path(__file__).parent))
from bad_inputs import GOOD, PREDICT, pack_model

BODY = json.dumps({"row": GOOD})
LIMIT_S = 30.0


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_model(tmp_path_factory.mktemp("listeners"))


def openssl(folder: Path, *arguments: str) -> None:
    command = ["openssl", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)


def authority(folder: Path, name: str) -> None:
    """Make `name.pem` and `name.key`, which sign others."""
    subject = ["-subj", f"/CN={name}", "-nodes", "-newkey", "rsa:2048", "-days", "2"]
    openssl(folder, "req", "-x509", *subject, "-keyout", f"{name}.key", "-out", f"{name}.pem")


def certify(folder: Path, name: str, serial: int, by: str = "ca") -> None:
    """Make `name.pem` and `name.key`, signed by `ca.pem`, or by another authority."""
    subject = ["-subj", f"/CN={name}", "-nodes", "-newkey", "rsa:2048"]
    openssl(folder, "req", *subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
    (folder / "names.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signer = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-set_serial", str(serial), "-days", "2"]
    files = ["-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", "names.ext"]
    openssl(folder, "x509", "-req", *signer, *files)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        assert os.environ.get("CI") != "true", "needs openssl"
        pytest.skip("needs openssl to make certificates")
    folder = tmp_path_factory.mktemp("tls")
    authority(folder, "ca")
    certify(folder, "server", 1)
    certify(folder, "client", 2)
    authority(folder, "partner-ca")
    certify(folder, "partner", 3, by="partner-ca")
    return folder


@contextlib.contextmanager
def serving(registry: Path, **settings: Any) -> Iterator[str]:
    chosen = ServeSettings(port=0, workers=1, deadline_s=LIMIT_S, **settings)
    with running_server(["demo"], registry=registry, settings=chosen) as url:
        yield url


def tls(folder: Path, client: str | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if client is not None:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    return context


def ask(
    url: str, context: ssl.SSLContext | None = None, *, body: str = BODY, **headers: str
) -> tuple[int, Any]:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    connection = (
        http.client.HTTPConnection(host, port, timeout=LIMIT_S)
        if context is None
        else http.client.HTTPSConnection(host, port, timeout=LIMIT_S, context=context)
    )
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", PREDICT, body, named)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_tls_serves_what_plain_http_serves_and_nothing_in_the_open(
    registry: Path, certificates: Path
) -> None:
    files = {
        "tls_cert": str(certificates / "server.pem"),
        "tls_key": str(certificates / "server.key"),
    }
    with serving(registry, **files) as url:
        assert url.startswith("https://")
        assert ask(url, tls(certificates))[1]["prediction"] == 5.0
        # Read in many turns, and whole.
        assert ask(url, tls(certificates), body=BODY + " " * 9_000_000)[1]["prediction"] == 5.0
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=LIMIT_S) as client:
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"200" not in client.recv(1_000)
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(url, ssl.create_default_context())


def test_clients_without_a_certificate_are_turned_away_where_one_is_wanted(
    registry: Path, certificates: Path
) -> None:
    files = {
        "tls_cert": str(certificates / "server.pem"),
        "tls_key": str(certificates / "server.key"),
        "tls_client_ca": str(certificates / "ca.pem"),
    }
    with serving(registry, **files) as url:
        assert ask(url, tls(certificates, "client"))[0] == 200
        with pytest.raises((ssl.SSLError, OSError, http.client.HTTPException)):
            ask(url, tls(certificates))


def is_let_in(url: str, context: ssl.SSLContext) -> bool:
    try:
        return ask(url, context)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_authorities_of_clients_are_exchanged_without_a_restart(
    registry: Path, certificates: Path, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    shutil.copy(certificates / "ca.pem", trusted)
    files = {
        "tls_cert": str(certificates / "server.pem"),
        "tls_key": str(certificates / "server.key"),
        "tls_client_ca": str(trusted),
    }
    client, partner = tls(certificates, "client"), tls(certificates, "partner")
    with serving(registry, **files) as url:
        assert (is_let_in(url, client), is_let_in(url, partner)) == (True, False)
        shutil.copy(certificates / "partner-ca.pem", tmp_path / "new.pem")
        (tmp_path / "new.pem").replace(trusted)
        end_s = time.monotonic() + LIMIT_S
        while not is_let_in(url, partner):
            assert time.monotonic() < end_s
        assert not is_let_in(url, client)


def test_unix_socket_is_served_and_its_file_may_be_left_by_a_killed_server(
    registry: Path, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    for _ in range(2):
        with serving(registry, uds=str(path)), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT_S)
            client.connect(str(path))
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(BODY)}\r\n\r\n"
            client.sendall((head + BODY).encode())
            assert b'"prediction":5.0' in client.recv(10_000)


def test_of_two_servers_started_at_once_on_one_unix_socket_the_second_is_refused(
    registry: Path, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    command = [sys.executable, "-m", "twofold", "serve", "demo", f"--uds={path}", "--workers=1"]
    command += ["--registry", str(registry), "--json"]
    with contextlib.ExitStack() as running:
        both = [
            running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        for process in both:
            running.callback(process.kill)
        said = {
            process: json.loads(process.stdout.readline()) for process in both if process.stdout
        }
        [first] = [process for process in both if "url" in said[process]]
        [second] = [process for process in both if process is not first]
        assert "Address already in use" in said[second]["error"]
        assert second.wait(LIMIT_S) != 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        first.terminate()
        assert first.wait(LIMIT_S) == 0
    assert list(tmp_path.iterdir()) == []


def test_ipv6_is_served(registry: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(registry, host="::1") as url:
        assert url.startswith("http://[::1]:")
        assert ask(url)[1]["prediction"] == 5.0


def test_public_address_is_refused_unless_something_guards_it(registry: Path) -> None:
    with (
        pytest.raises(ConfigError, match="expected API keys or TLS on a public address"),
        serving(registry, host="0.0.0.0"),  # noqa: S104 - it is refused
    ):
        pass


def new_key(folder: Path, name: str, *more: str) -> str:
    command = [sys.executable, "-m", "twofold", "keys", "new", name, "--file=keys.toml", *more]
    shown = subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, timeout=LIMIT_S
    ).stdout
    return shown.split()[-1]


def test_keys_are_asked_for_rotated_and_held_to_their_quota_in_all_workers_without_a_restart(
    registry: Path, tmp_path: Path
) -> None:
    desk = new_key(tmp_path, "desk")
    slow = new_key(tmp_path, "slow", "--max-requests-per-s=0.01", "--burst-requests=10")
    chosen = ServeSettings(
        port=0, workers=2, deadline_s=LIMIT_S, api_keys=str(tmp_path / "keys.toml")
    )
    with running_server(["demo"], registry=registry, settings=chosen) as url:
        status, answer = ask(url)
        assert (status, answer["code"]) == (401, "unauthorized")
        assert ask(url, Authorization="Bearer tf_wrong")[0] == 401
        assert ask(url, Authorization=f"Bearer {desk}")[0] == 200
        # Every request has a connection of its own, so both workers answer some.
        statuses = [ask(url, X_Api_Key=slow)[0] for _ in range(20)]
        assert statuses.count(200) in (10, 11)
        assert set(statuses) == {200, 429}
        rotated = new_key(tmp_path, "desk", "--rotate")
        end_s = time.monotonic() + LIMIT_S
        while ask(url, X_Api_Key=rotated)[0] != 200:
            assert time.monotonic() < end_s
        assert ask(url, X_Api_Key=desk)[0] == 200
