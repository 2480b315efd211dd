"""A real server's stderr: one object a line, of all its processes, with nothing of what was sent.

One request fails inside its model, one process of a model ends, and spans go to a collector.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from http_thread import Quiet, serving_http
from server_process import url_of

sys.path.insert(0, str(Path(__file__).parent))
from bad_inputs import GOOD, PREDICT, changed, pack_model

LIMIT_S = 60.0
PRIVATE = "what-the-caller-says"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    pack_model(folder)
    return folder


def environment(**more: str) -> dict[str, str]:
    names = [name for name in os.environ if not name.startswith(("OTEL_", "TWOFOLD_"))]
    return {name: os.environ[name] for name in names} | more


@contextlib.contextmanager
def started(folder: Path, env: Mapping[str, str], *flags: str) -> Iterator[tuple[Any, list[str]]]:
    """A server; gives a way to ask it, and the lines of its stderr once it has ended."""
    command = [sys.executable, "-m", "twofold", "serve", "demo", "--port=0", "--workers=1"]
    lines: list[str] = []
    with subprocess.Popen(
        [*command, "--json", *flags],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            address = urlsplit(url_of(process)).netloc

            def ask(body: Any, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
                connection = http.client.HTTPConnection(address, timeout=LIMIT_S)
                with contextlib.closing(connection):
                    target = f"{PREDICT}?{PRIVATE}"
                    connection.request("POST", target, json.dumps(body), dict(headers))
                    response = connection.getresponse()
                    return response.status, response.headers, response.read()

            yield ask, lines
            process.terminate()
            lines += process.communicate(timeout=LIMIT_S)[1].splitlines()
            assert process.returncode == 0
        finally:
            process.kill()


def test_every_line_is_an_object_and_nothing_private_is_in_it(folder: Path) -> None:
    flags = ("--log-format=json", "--log-requests")
    headers = {"Authorization": f"Bearer {PRIVATE}", "X-Request-Id": "mine"}
    with started(folder, environment(), *flags) as (ask, lines):
        assert ask({"row": changed(plan=PRIVATE)}, headers)[0] == 422
        status, sent, body = ask({"row": changed(amount=666.0)}, headers)
        assert (status, sent["X-Request-Id"]) == (500, "mine")
        assert json.loads(body)["request_id"] == "mine"
        assert ask({"row": GOOD}, {})[0] == 200
    told = [json.loads(line) for line in lines]
    assert PRIVATE not in "".join(lines)
    assert {item["process"] for item in told} == {"supervisor", "worker 0"}
    served = [item["message"] for item in told if item["process"] == "supervisor"]
    assert served[0].startswith("serving demo at http://")
    requests = [item for item in told if item["logger"] == "twofold.requests"]
    assert [item["status"] for item in requests] == [422, 500, 200]
    assert [item.get("request_id") for item in requests] == ["mine", "mine", None]
    [failure] = [item for item in told if item["logger"] == "twofold.wire"]
    assert (failure["request_id"], failure["path"]) == ("mine", PREDICT)
    assert "secret of the model" in failure["exception"]["traceback"]


def test_lines_for_people_name_their_process(folder: Path) -> None:
    with started(folder, environment(), "--log-requests") as (ask, lines):
        assert ask({"row": GOOD}, {"X-Request-Id": "mine"})[0] == 200
    [line] = [line for line in lines if "twofold.requests" in line]
    assert " worker 0 INFO twofold.requests: answered method=POST path=" in line
    assert " request_id=mine " in line


class Collector(Quiet, http.server.BaseHTTPRequestHandler):
    """Keeps what is sent to it."""

    kept: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        self.kept.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.mark.skipif(
    os.environ.get("CI") != "true" and importlib.util.find_spec("opentelemetry") is None,
    reason="the extra otel isn't installed",
)
def test_spans_reach_a_collector_before_the_server_ends(folder: Path) -> None:
    kept: list[tuple[str, bytes]] = []
    handler = type("Kept", (Collector,), {"kept": kept})
    with serving_http(handler) as url:
        env = environment(
            OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_SERVICE_NAME="shop", NO_PROXY="127.0.0.1"
        )
        with started(folder, env) as (ask, lines):
            assert ask({"row": GOOD}, {"Authorization": f"Bearer {PRIVATE}"})[0] == 200
    [(path, body)] = kept
    assert path == "/v1/traces"
    for words in (b"shop", b"POST /v1/models/{model}/predict", b"predict", b"twofold.outcome"):
        assert words in body
    assert PRIVATE.encode() not in body
    assert lines == []


def test_tracing_that_cannot_be_ends_the_start(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "twofold", "serve", "demo", "--port=0", "--json"],
        cwd=folder,
        env=environment(OTEL_TRACES_EXPORTER="carrier-pigeon"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "OTEL_TRACES_EXPORTER: expected one of " in json.loads(done.stdout)["error"]
