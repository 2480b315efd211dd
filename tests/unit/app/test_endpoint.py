"""A server's metrics are got from wherever its URL says, and what isn't one is told so."""

from __future__ import annotations

import http.server
import socketserver
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_thread import Quiet, serving, serving_http

from twofold.app.endpoint import Endpoint
from twofold.errors import ConfigError
from twofold.serving.metrics import (
    REQUESTS,
)

BARE = f'{REQUESTS}{{model="churn",version="1",outcome="ok"}}'


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:8080", "/metrics"),
        ("http://127.0.0.1:8080/", "/metrics"),
        ("HTTP://localhost", "/metrics"),
        ("https://[::1]:8443/docs?x=1", "/metrics"),
        ("https://gate.example/churn/metrics", "/churn/metrics"),
        ("http+unix:///run/twofold.sock", "/metrics"),
        ("http+unix://s.sock", "/metrics"),
        ("https+unix:///run/twofold.sock", "/metrics"),
    ],
)
def test_url_of_a_server_is_understood(url: str, path: str) -> None:
    assert Endpoint(url).path == path


@pytest.mark.parametrize(
    "url",
    [
        *("", "churn", "localhost:8080", "/run/s.sock", "http://", "http://:8080", "ftp://host"),
        *("http://host:port", "http://host:70000", "http://[::1", "http+unix://", "unix:///s"),
        *("http+tcp://host", "http://user:word@host"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(url)
    assert str(caught.value) == (
        f"URL: expected that of a server, got {url!r}. "
        "Give the URL that `twofold serve` prints, as http://127.0.0.1:8080."
    )


def test_certificates_are_verified_unless_told_otherwise() -> None:
    strict, loose = Endpoint("https://host"), Endpoint("https://host", insecure=True)
    assert strict._tls is not None
    assert loose._tls is not None
    assert (strict._tls.verify_mode, strict._tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (loose._tls.verify_mode, loose._tls.check_hostname) == (ssl.CERT_NONE, False)


# Asking.


class Pages(Quiet, http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        texts = {"/metrics": f"{BARE} 5\n", "/page/metrics": "<html>", "/other/metrics": "up 1\n"}
        text = texts.get(self.path)
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "no").encode())

    def address_string(self) -> str:
        return "someone"


@pytest.fixture
def url() -> Iterator[str]:
    with serving_http(Pages) as url:
        yield url


def clock() -> float:
    return 1.0


def refused(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Endpoint(url).scrape(clock)
    return str(caught.value)


def test_metrics_are_got_over_http(url: str) -> None:
    scrape = Endpoint(url).scrape(clock)
    assert scrape.at_s == 1.0
    assert scrape.value(REQUESTS, model="churn", version="1", outcome="ok") == 5.0


def test_metrics_are_got_over_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name in the current folder: the path of a socket may not be long.
    monkeypatch.chdir(tmp_path)
    with serving(socketserver.UnixStreamServer("s.sock", Pages)):
        scrape = Endpoint("http+unix://s.sock").scrape(clock)
        assert scrape.value(REQUESTS, model="churn", version="1", outcome="ok") == 5.0
        said = refused("https+unix://s.sock")
        assert said.startswith("https+unix://s.sock: expected a server that answers, got ")
    assert refused("http+unix://s.sock") == (
        "http+unix://s.sock: expected a server that answers, got Connection refused. "
        "Start it with `twofold serve`, or mend the URL."
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nothing/metrics", "expected 200 for /nothing/metrics, got 404 Not Found."),
        ("/page/metrics", "expected Prometheus text, got line 1: '<html>'."),
        (
            "/other/metrics",
            "expected the metrics of `twofold serve`, got no twofold_requests_total.",
        ),
        ("/a b/metrics", "expected a server that answers, got URL can't contain control"),
    ],
)
def test_what_answers_but_is_no_server_of_ours_is_told(url: str, path: str, words: str) -> None:
    said = refused(url + path)
    assert said.startswith(f"{url}{path}: {words}")


def test_answer_without_end_is_cut(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.app.endpoint.MAX_BYTES", 20)
    assert refused(url).startswith(f"{url}: expected 20 bytes at most, got more.")


def test_where_nobody_listens_the_error_says_how_to_start_a_server() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Pages) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    assert refused(url) == (
        f"{url}: expected a server that answers, got Connection refused. "
        "Start it with `twofold serve`, or mend the URL."
    )


def test_other_paths_are_asked_behind_the_same_proxy_and_answered_as_they_are(url: str) -> None:
    reply = Endpoint(f"{url}/other/metrics").ask("/metrics")
    assert (reply.status, reply.body) == (200, "up 1\n")
    assert reply.date is not None
    assert reply.date.endswith("GMT")
    nothing = Endpoint(f"{url}/other/metrics").ask("/v2/health/ready")
    assert (nothing.status, nothing.body) == (404, "no")
