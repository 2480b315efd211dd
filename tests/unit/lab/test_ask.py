from __future__ import annotations

import http.server
import re
import socketserver
import sys
from pathlib import Path

import pytest
from http_thread import Quiet, serving, serving_http

from twofold.errors import ConfigError
from twofold.lab.ask import Answer, Place, ask, place_of
from twofold.lab.requests import request_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:8080", Place(("127.0.0.1", 8080), "127.0.0.1:8080", "")),
        ("http://127.0.0.1:8080/", Place(("127.0.0.1", 8080), "127.0.0.1:8080", "")),
        ("http://127.0.0.1/a?b=1", Place(("127.0.0.1", 80), "127.0.0.1", "/a?b=1")),
        ("http://[::1]:9/a", Place(("::1", 9), "[::1]:9", "/a")),
        ("http+unix:///run/x.sock", Place("/run/x.sock", "localhost", "")),
        ("http+unix:///run/x.sock:/a", Place("/run/x.sock", "localhost", "/a")),
    ],
)
def test_a_url_says_where_and_what(url: str, place: Place) -> None:
    assert place_of(url) == place


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://h", "http://", "http://h:99999"])
def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("http://127.0.0.1:8080")):
        place_of(url)


def test_https_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="what ends TLS"):
        place_of("https://127.0.0.1")


def test_only_a_good_answer_has_a_document() -> None:
    assert Answer(200, b'{"a":1}').document() == {"a": 1}
    assert Answer(404, b'{"a":1}').document() is None
    assert Answer(200, b"no").document() is None


def test_a_long_answer_is_shown_in_part() -> None:
    assert Answer(500, b"a\n b").shown() == "500 a b"
    assert len(Answer(500, b"x" * 9999).shown()) < 400


class Echo(Quiet, http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_the_bytes_of_a_request_are_answered() -> None:
    with serving_http(Echo) as url:
        place = place_of(f"{url}/x")
        answer = ask(place.address, request_of("/x", host=place.host, body=b"hello"))
    assert answer == Answer(201, b"hello")


@pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")
def test_a_unix_socket_is_asked_likewise(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with serving(socketserver.UnixStreamServer(path, UnixEcho)):
        answer = ask(path, request_of("/x", host="localhost", body=b"hello"))
    assert answer == Answer(201, b"hello")


class UnixEcho(Echo):
    def address_string(self) -> str:
        return "unix"


def test_nobody_there_is_said_with_the_address() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1: expected an answer"):
        ask(("127.0.0.1", 1), b"GET / HTTP/1.1\r\n\r\n")
