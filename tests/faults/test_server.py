"""Processes of a server killed, hung, replaced and reloaded while clients ask."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import LIMIT_S, is_alive, until

sys.path.insert(0, str(Path(__file__).parent))
from server_under_test import (
    Crowd,
    Server,
    alias,
    flip_a_byte,
    pack,
    started,
)

SWITCHED = 'twofold_reloads_total{result="switched"}'
REFUSED = 'twofold_reloads_total{result="refused"}'
DEATHS = "twofold_model_process_restarts_total"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry: `quick` versions 1 and 2, and `slow`, which predicts in a process of its own."""
    found = tmp_path_factory.mktemp("server")
    pack(found, "quick", factor=10)
    pack(found, "quick", factor=20)
    pack(found, "slow", factor=3, pause_s=0.001)
    return found


@pytest.fixture
def slow(folder: Path) -> Iterator[Server]:
    with started(folder, "slow", "--workers=1", "--max-predict-s=2") as server:
        yield server


def test_killed_workers_cost_only_the_requests_they_held(folder: Path) -> None:
    with started(folder, "quick", "--workers=2") as server:
        crowd = Crowd(server, "quick", pause_s=0.001)
        clients, kills = 6, 5
        with crowd.asking(clients):
            for _ in range(kills):
                crowd.so_many(100)
                until(lambda: len(server.workers()) == 2, "both workers")
                os.kill(server.workers()[0], signal.SIGKILL)
            crowd.so_many(100)
        until(lambda: server.metric("twofold_worker_restarts_total") == kills, "the last worker")
    assert set(crowd.statuses) <= {200, "lost"}
    assert crowd.statuses["lost"] <= clients * kills
    assert crowd.statuses[200] >= 0.9 * crowd.statuses.total()


def test_versions_take_over_and_are_rolled_back_without_a_failed_request(folder: Path) -> None:
    alias(folder, "quick", 1)
    with started(folder, "quick", "--workers=2", "--watch-registry-s=0.05") as server:
        crowd = Crowd(server, "quick", pause_s=0.001)
        with crowd.asking(6):
            for change in range(6):
                crowd.so_many(50)
                alias(folder, "quick", 2 - change % 2)
                until(lambda done=change + 1: server.metric(SWITCHED) == done, "the switch")
            crowd.so_many(50)
        counted = [
            server.metric(f'twofold_requests_total{{model="quick",version="{v}",outcome="ok"}}')
            for v in (1, 2)
        ]
    assert set(crowd.statuses) == {200}
    assert set(crowd.answers) == {20.0, 40.0}
    assert counted == [crowd.answers[20.0], crowd.answers[40.0]]


def test_version_that_cannot_be_loaded_is_refused_and_the_old_one_serves_on(
    folder: Path, tmp_path: Path
) -> None:
    pack(tmp_path, "model", factor=1)
    with started(tmp_path, "model", "--workers=1", "--watch-registry-s=0.05") as server:
        crowd = Crowd(server, "model", pause_s=0.002)
        with crowd.asking(2):
            alias(tmp_path, "model", 1)
            pack(tmp_path, "model", factor=2)
            broken = tmp_path / "registry" / "model" / "2"
            flip_a_byte(next(path for path in broken.iterdir() if path.suffix == ".arrow"))
            alias(tmp_path, "model", 2)
            until(lambda: server.metric(REFUSED) == 1, "the refusal")
            crowd.so_many(20)
            pack(tmp_path, "model", factor=3)
            alias(tmp_path, "model", 3)
            until(lambda: server.metric(SWITCHED) == 1, "the mended version")
            crowd.so_many(20)
    assert set(crowd.statuses) == {200}
    assert set(crowd.answers) == {2.0, 6.0}


def test_killed_model_process_is_replaced_and_who_waited_is_answered(slow: Server) -> None:
    crowd = Crowd(slow, "slow")
    with crowd.asking(8):
        for kills in range(1, 4):
            crowd.so_many(30)
            os.kill(slow.model_processes()[0], signal.SIGKILL)
            until(lambda done=kills: slow.metric(DEATHS) == done, "the death to be noticed")
            crowd.so_many(30)
    assert set(crowd.statuses) == {200}
    assert set(crowd.answers) == {6.0}


def test_row_that_ends_its_process_fails_alone(slow: Server) -> None:
    crowd = Crowd(slow, "slow")
    with crowd.asking(6):
        crowd.so_many(20)
        status, answer = slow.predict("slow", -2.0)
        assert (status, answer["code"]) == (500, "prediction_failed")
        crowd.so_many(20)
    assert set(crowd.statuses) == {200}


def test_row_that_the_model_fails_on_fails_alone(slow: Server) -> None:
    crowd = Crowd(slow, "slow")
    with crowd.asking(6):
        crowd.so_many(20)
        for _ in range(10):
            status, answer = slow.predict("slow", -1.0)
            assert (status, answer["code"]) == (500, "prediction_failed")
        crowd.so_many(20)
    assert set(crowd.statuses) == {200}
    assert slow.metric(DEATHS) == 0


def test_hung_model_answers_504_in_time_and_is_replaced(slow: Server) -> None:
    began_s = time.monotonic()
    status, answer = slow.predict("slow", -3.0, {"X-Twofold-Deadline-Ms": "300"})
    assert (status, answer["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - began_s < LIMIT_S
    until(lambda: slow.metric(DEATHS) >= 1, "the hung process to be ended")
    until(lambda: slow.predict("slow", 1.0)[0] == 200, "the next process")
    assert slow.predict("slow", 1.0)[1]["prediction"] == 3.0


def test_nothing_is_left_of_a_server_whose_supervisor_was_killed(slow: Server) -> None:
    pids = [*slow.workers(), *slow.model_processes()]
    assert len(pids) == 2
    slow.process.kill()
    until(lambda: not any(map(is_alive, pids)), "workers and models' processes to end")


def test_stopping_ends_the_model_processes(slow: Server) -> None:
    pids = [*slow.workers(), *slow.model_processes()]
    assert slow.stop() == 0
    assert not any(map(is_alive, pids))


def test_overload_is_refused_at_once_and_what_is_admitted_is_answered(slow: Server) -> None:
    crowd = Crowd(slow, "slow", headers={"X-Twofold-Deadline-Ms": "25"})
    with crowd.asking(40):
        crowd.so_many(600)
    assert set(crowd.statuses) <= {200, 503, 504}
    assert crowd.statuses[200] > 0
    assert crowd.statuses[503] > 0
    assert slow.predict("slow", 1.0)[0] == 200


def test_large_body_is_refused_before_it_is_read(folder: Path) -> None:
    with started(folder, "quick", "--workers=1") as server:
        for expect in ("", "Expect: 100-continue\r\n"):
            with socket.create_connection(server.address, timeout=LIMIT_S) as client:
                head = f"Host: a\r\nContent-Length: 50000000\r\n{expect}\r\n"
                client.sendall(f"POST /v1/models/quick/predict HTTP/1.1\r\n{head}".encode())
                assert client.recv(100).startswith(b"HTTP/1.1 413 ")
        assert server.predict("quick", 1.0)[0] == 200


def test_clients_that_drip_their_headers_keep_nobody_waiting(folder: Path) -> None:
    with started(folder, "quick", "--workers=1", "--header-timeout-s=2") as server:
        drips = [socket.create_connection(server.address, timeout=LIMIT_S) for _ in range(200)]
        try:
            for drip in drips:
                drip.sendall(b"POST /v1/models/quick/predict HTTP/1.1\r\nHost:")
            crowd = Crowd(server, "quick")
            with crowd.asking(2):
                crowd.so_many(200)
            assert set(crowd.statuses) == {200}
            answers = {drip.recv(13) for drip in drips}
            assert answers == {b"HTTP/1.1 408 "}
        finally:
            for drip in drips:
                drip.close()
