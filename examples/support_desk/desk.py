"""The page of the support desk and its way to twofold, from one origin.

twofold sends no CORS headers and serves no files, so a page of another origin could not ask it.
This gateway serves three files, and passes /v1/... on as it came.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/desk.css": ("desk.css", "text/css; charset=utf-8"),
    "/desk.js": ("desk.js", "text/javascript; charset=utf-8"),
}
PASSED_ON = "/v1/"
SAFE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
TWOFOLD_URL, PORT = "http://127.0.0.1:8081", 8082
TIMEOUT_S = 5.0
IDLE_S = 75.0
MAX_BODY_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class Refusal(Exception):
    """What is answered instead, in twofold's form."""

    def __init__(self, status: int, code: str, error: str) -> None:
        """Keep it."""
        super().__init__(error)
        self.status, self.code = status, code


class Desk(ThreadingHTTPServer):
    """Serves the page on loopback; port 0 takes a free one."""

    daemon_threads = True  # A connection that is kept open doesn't hold up the end.

    def __init__(self, port: int, twofold_url: str) -> None:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        parts = urlsplit(twofold_url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"--twofold: expected http://HOST:PORT, got {twofold_url!r}.")
        self.twofold_url = twofold_url
        self.twofold_address = (parts.hostname, parts.port or 80)
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless the browser only hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "support-desk", ""
    server: Desk
    timeout = IDLE_S

    def do_GET(self) -> None:
        """Serve a file, or pass on."""
        self._answer()

    def do_POST(self) -> None:
        """Pass on."""
        self._answer()

    def _answer(self) -> None:
        try:
            body = self._body()
            self._check_host()
            if self.path.startswith(PASSED_ON):
                status, kind, content = self._pass_on(body)
            else:
                status, kind, content = self._file()
        except Refusal as refusal:
            self._refuse(refusal)
        else:
            self._send(status, kind, content)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self.close_connection = True  # Where the next request would begin, nobody knows.
            said = "body: expected a Content-Length, got none. Send the body's length."
            raise Refusal(411, "bad_request", said)
        if len(length) > 9 or int(length) > MAX_BODY_BYTES:  # noqa: PLR2004 - digits of a gigabyte
            self.close_connection = True
            said = f"body: expected at most {MAX_BODY_BYTES} bytes, got {length[:20]}. Send less."
            raise Refusal(413, "body_too_large", said)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            said = "body: expected all of it, got a part. Send it again."
            raise Refusal(400, "bad_request", said)
        return body

    def _check_host(self) -> None:
        """Refuse pages of others whose name was made to lead here (DNS rebinding)."""
        port = self.server.server_port
        host = self.headers.get("Host", "")
        if host not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            said = f"Host: expected this desk, got {host[:80]!r}. Open {self.server.url}."
            raise Refusal(421, "bad_request", said)

    def _file(self) -> tuple[int, str, bytes]:
        path = self.path.partition("?")[0]
        if path not in FILES:
            said = f"path: expected / or {PASSED_ON}..., got another. Open {self.server.url}."
            raise Refusal(404, "unknown_path", said)
        if self.command != "GET":
            said = f"method: expected GET, got {self.command}. Send GET."
            raise Refusal(405, "method_not_allowed", said)
        name, kind = FILES[path]
        return 200, kind, (HERE / name).read_bytes()

    def _pass_on(self, body: bytes) -> tuple[int, str, bytes]:
        """Ask twofold the same: method, path and body are as they came."""
        if not self.path.isascii():
            said = "path: expected ASCII, got something else. Escape it with %."
            raise Refusal(400, "bad_request", said)
        passed = ("Content-Type", "X-Request-Id", "X-Twofold-Deadline-Ms")
        headers = {name: self.headers[name] for name in passed if name in self.headers}
        asked = http.client.HTTPConnection(*self.server.twofold_address, timeout=TIMEOUT_S)
        with contextlib.closing(asked):
            try:
                asked.request(self.command, self.path, body or None, headers)
                answer = asked.getresponse()
                content = answer.read(MAX_ANSWER_BYTES + 1)
            except TimeoutError as error:
                said = f"twofold: expected an answer within {TIMEOUT_S:g} s, got none. Ask again."
                raise Refusal(504, "deadline_exceeded", said) from error
            except (OSError, http.client.HTTPException) as error:
                said = (
                    f"twofold: expected a server at {self.server.twofold_url}, got none. "
                    "Start it with `twofold serve churn`."
                )
                raise Refusal(502, "server_away", said) from error
        if len(content) > MAX_ANSWER_BYTES:
            said = f"answer: expected at most {MAX_ANSWER_BYTES} bytes, got more. Ask for less."
            raise Refusal(502, "internal", said)
        return answer.status, answer.headers.get("Content-Type", "application/json"), content

    def _refuse(self, refusal: Refusal) -> None:
        content = json.dumps({"error": str(refusal), "code": refusal.code}).encode()
        self._send(refusal.status, "application/json", content)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in SAFE.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse in twofold's form, too, what the library refuses by itself."""
        self.close_connection = True
        error = f"request: expected GET or POST of HTTP, got {explain or message or 'another'}."
        self._refuse(Refusal(code, "bad_request", error))

    def log_message(self, *_: object) -> None:
        """Be silent: what goes wrong is on the page."""


def stop_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def serve(desk: Desk) -> None:
    """Say where the page is, and serve it until Ctrl-C or SIGTERM."""
    print(f"desk       {desk.url}  (Ctrl-C stops)", flush=True)
    with desk, contextlib.suppress(KeyboardInterrupt):
        desk.serve_forever()


def main() -> None:
    """Serve the page for a twofold server that runs already."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--twofold", default=TWOFOLD_URL, help="URL of the twofold server")
    reader.add_argument("--port", type=int, default=PORT, help="port of the page; 0 takes any")
    given = reader.parse_args()
    stop_on_sigterm()
    try:
        desk = Desk(given.port, given.twofold)
    except (OSError, OverflowError, ValueError) as error:
        sys.exit(f"desk: {error}")
    serve(desk)


if __name__ == "__main__":
    main()
