"""Every bad input gets its status and a message that says the fix, and harms nobody."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import address_of, read_response

from twofold.app.serve import running_server
from twofold.wire.statuses import STATUSES

sys.path.insert(0, str(Path(__file__).parent))
from bad_inputs import (
    BAD_INPUTS,
    GOOD,
    SETTINGS,
    BadInput,
    pack_model,
    page,
    post,
)

CASES = [case for chapter in BAD_INPUTS.values() for case in chapter]
TIMEOUT_S = 20


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder: Path = tmp_path_factory.mktemp("bad")
    with running_server(["demo"], registry=pack_model(folder), settings=SETTINGS) as url:
        yield address_of(url)


@pytest.fixture(scope="module")
def neighbour(address: tuple[str, int]) -> Iterator[socket.socket]:
    """A well-behaved client that stays connected all the time."""
    with socket.create_connection(address, timeout=TIMEOUT_S) as client:
        yield client


def exchange(client: socket.socket, sent: bytes) -> tuple[int, dict[str, Any]]:
    client.sendall(sent)
    head, _, body = read_response(client).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_bad_input_gets_its_status_and_the_next_request_is_answered(
    address: tuple[str, int], neighbour: socket.socket, case: BadInput
) -> None:
    with socket.create_connection(address, timeout=TIMEOUT_S) as client:
        status, answer = exchange(client, case.sent)
    assert status == case.status, answer
    assert case.words in answer["error"]
    assert STATUSES[answer["code"]] == status
    assert "Traceback" not in answer["error"]
    assert "secret" not in answer["error"]
    status, answer = exchange(neighbour, post(json.dumps({"row": GOOD})))
    assert (status, answer["prediction"]) == (200, 5.0)


def test_table_has_a_hundred_inputs_told_apart_by_what_is_wrong() -> None:
    assert len(CASES) >= 100
    assert len({case.what for case in CASES}) == len(CASES)


def test_no_worker_died_of_any_of_them(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=TIMEOUT_S) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: client.recv(65_536), b""))
    assert b"\ntwofold_worker_restarts_total 0\n" in text


def test_documentation_has_the_whole_table() -> None:
    path = Path(__file__).parents[2] / "docs" / "reference" / "bad-inputs.md"
    assert path.read_text(encoding="utf-8") == page(), "run `make docs`"
