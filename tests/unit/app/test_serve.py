"""What a server does before it serves: references, the address, and what its child says."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from twofold.app import serve as serving
from twofold.errors import ConfigError, InvalidInput, UnknownModel
from twofold.model.registry import Registry
from twofold.predictor.load import load
from twofold.serving.settings import ServeSettings
from twofold.serving.shared import SharedArray
from twofold.serving.supervisor import Report

REGISTRY = Path("registry")
LOCAL = "127.0.0.1"


@dataclass
class Line:
    """A worker's line to a supervisor that only listens."""

    said: list[Report] = field(default_factory=list)

    def send(self, report: Report) -> None:
        self.said.append(report)


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


def test_references_are_resolved_once_in_the_order_given(folder: Path) -> None:
    Registry(REGISTRY).set_alias("offer", "night", "1")
    found = serving._resolve(["drifting", "offer", "offer:night"], REGISTRY)
    assert found == (("drifting", "1"), ("offer", "2"), ("offer", "1"))


def test_a_version_asked_for_twice_is_served_once_where_it_stood_first(folder: Path) -> None:
    found = serving._resolve(["offer@1", "offer", "drifting", "offer@2", "offer@1"], REGISTRY)
    assert found == (("offer", "1"), ("offer", "2"), ("drifting", "1"))


@pytest.mark.parametrize(
    ("references", "kind", "words"),
    [
        (["offer", "nope"], UnknownModel, "expected a model among: drifting, offer, got 'nope'"),
        (["offer@7"], UnknownModel, "offer: expected a version among: 1, 2, got '7'"),
        (["offer:day"], UnknownModel, "offer: expected an alias among: none, got 'day'"),
        (["../offer"], InvalidInput, "model name: expected 1 to 64 letters"),
    ],
)
def test_a_model_that_is_not_there_ends_the_start_before_the_port_is_taken(
    folder: Path, references: list[str], kind: type[Exception], words: str
) -> None:
    with taken_port() as port, pytest.raises(kind) as caught:
        serving.serve(references, registry=REGISTRY, settings=ServeSettings(port=port))
    assert words in str(caught.value)


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with taken_port() as port, pytest.raises(ConfigError) as caught:
        serving._bound(ServeSettings(port=port))
    assert str(caught.value) == (
        f"serve.port: expected a free port, got 127.0.0.1:{port}: Address already in use. "
        "Choose another with --port, or --port 0 for any free one."
    )


@pytest.mark.parametrize("host", ["256.0.0.1", "localhost:80"])
def test_a_host_that_is_no_address_is_named_with_the_way_out(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        serving._bound(ServeSettings(host=host, port=0))
    assert str(caught.value).startswith(f"serve.host: expected an address, got {host}: ")
    assert str(caught.value).endswith("Give an address of this machine with --host.")


def test_nobody_connects_before_a_worker_listens() -> None:
    with serving._bound(ServeSettings(port=0)) as listener:
        address = listener.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        listener.listen()
        socket.create_connection(address).close()


def test_a_port_is_free_again_as_soon_as_its_server_has_ended() -> None:
    with serving._bound(ServeSettings(port=0)) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        client = socket.create_connection((LOCAL, port))
        listener.accept()[0].close()
    # The closed connection lingers in the system.
    with client, serving._bound(ServeSettings(port=port)) as again:
        assert again.getsockname() == (LOCAL, port)


@pytest.mark.parametrize("host", [LOCAL, "0.0.0.0", "localhost"])  # noqa: S104 - what is tested
def test_the_url_is_one_that_this_machine_can_open(host: str) -> None:
    with serving._bound(ServeSettings(host=host, port=0)) as listener:
        port = listener.getsockname()[1]
        expected = {f"http://127.0.0.1:{port}"}
        if host == "localhost":
            expected.add(f"http://[::1]:{port}")
        assert serving._url(listener) in expected


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["::1", "::"])
def test_the_url_of_an_ipv6_address_has_it_in_brackets(host: str) -> None:
    with serving._bound(ServeSettings(host=host, port=0)) as listener:
        assert serving._url(listener) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_the_cores_are_those_this_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert serving._cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert serving._cores() == len(before)


def announced(code: str) -> str:
    """What a server in the background that runs this code is taken to say."""
    command = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        return serving._announced(process)


def test_a_server_in_the_background_is_ready_when_it_says_its_url() -> None:
    code = """print('{"url":"http://127.0.0.1:1","models":["m"]}'); print("more")"""
    assert announced(code) == "http://127.0.0.1:1"


def test_an_error_of_a_server_in_the_background_is_raised_in_its_own_words() -> None:
    code = """print('{"error":"serve.port: expected a free port","code":"ConfigError"}')"""
    with pytest.raises(ConfigError, match=r"^serve\.port: expected a free port$"):
        announced(code)


def test_a_server_in_the_background_that_ends_without_a_word_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^server: it ended before it was ready\. See stderr\.$"):
        announced("raise SystemExit(1)")


@contextlib.contextmanager
def job(*models: tuple[str, str]) -> Iterator[Any]:
    with socket.socket() as listener:
        layout = serving.layout_for(models, sorted(serving.REASONS))
        shared = SharedArray.of_size(layout.size_bytes(1))
        yield serving._Job(models, str(REGISTRY), ServeSettings(), listener, shared)


def test_a_worker_that_may_not_load_its_model_reports_why(folder: Path) -> None:
    path = REGISTRY / "offer" / "2" / "app_rules.py"
    path.write_text(path.read_text(encoding="utf-8") + "#", encoding="utf-8")
    line = Line()
    with job(("drifting", "1"), ("offer", "2")) as work:
        serving._work(work, 0, line)  # type: ignore[arg-type]
    (report,) = line.said
    assert (report.failure or "").startswith(f"{path}: expected the bytes it was packed with")


def test_the_example_of_the_documentation_is_the_first_row_of_the_sample(folder: Path) -> None:
    model = load("offer", registry=REGISTRY)
    example = serving._example(Registry(REGISTRY), model)
    assert example == {"spend": 0.0, "plan": "basic"}
    assert model.predict_one(example) == -1.0
