"""The load generator against servers that behave well, badly and not at all."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from odd_server import OddServer, odd_server
from server_process import ServerProcess, url_of

from twofold.lab.arrivals import Arrivals, level, steps
from twofold.lab.generator import Stopped, Target, run_closed, run_open
from twofold.lab.loaded import Loaded

sys.path.insert(0, str(Path(__file__).parent))
from bad_inputs import GOOD, SAMPLE, pack_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the engine needs epoll")
LIMITS: dict[str, Any] = {"deadline_s": 1.0, "timeout_s": 5.0, "warm_up_s": 0.0}
REQUESTS = 50


@pytest.fixture(scope="module")
def server() -> Iterator[OddServer]:
    with odd_server() as server:
        yield server


def request(path: str, body: bytes = b"the body") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def target(server: OddServer, *paths: str, expect: bytes = b"good") -> Target:
    return Target(("127.0.0.1", server.port), [request(path) for path in paths], expect)


def offered(server: OddServer, path: str, **changes: Any) -> Loaded:
    profile = level(200, REQUESTS / 200, arrivals=Arrivals.CONSTANT)
    return run_open(target(server, path), profile, **{**LIMITS, **changes})


@pytest.mark.parametrize(
    "path",
    ["/ok", "/close", "/chunked", "/until-end", "/continue", "/pieces", "/pieces-chunked", "/idle"],
)
def test_all_forms_of_good_answers_are_understood(server: OddServer, path: str) -> None:
    found = offered(server, path)
    assert found.outcomes == {"in_time": REQUESTS}
    assert found.statuses == {"200": REQUESTS}


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/other", "unexpected"),
        ("/302", "unexpected"),
        ("/cut", "broken"),
        ("/garbage", "broken"),
        ("/bad-length", "broken"),
        ("/bad-chunk", "broken"),
        ("/huge-head", "broken"),
        ("/reset", "reset"),
        ("/404", "client_error"),
        ("/500", "server_error"),
        ("/503", "shed"),
    ],
)
def test_every_failure_is_called_by_its_name(server: OddServer, path: str, outcome: str) -> None:
    found = offered(server, path)
    assert found.outcomes == {outcome: REQUESTS}
    assert found.latency.count == 0


def test_an_answer_without_a_body_is_good_if_nothing_is_expected_in_it(server: OddServer) -> None:
    profile = level(200, 0.1, arrivals=Arrivals.CONSTANT)
    assert run_open(target(server, "/empty", expect=b""), profile, **LIMITS).statuses == {"204": 20}


def test_connections_are_kept_and_used_again(server: OddServer) -> None:
    before = server.connections
    offered(server, "/ok")
    assert server.connections - before < REQUESTS / 2
    before = server.connections
    offered(server, "/close")
    assert server.connections - before == REQUESTS


def test_what_nobody_asked_for_closes_the_connection(server: OddServer) -> None:
    found = offered(server, "/unasked")
    assert found.outcomes == {"in_time": REQUESTS}


@pytest.mark.parametrize("path", ["/never", "/endless"])
def test_what_is_not_answered_is_given_up(server: OddServer, path: str) -> None:
    profile = level(50, 0.1, arrivals=Arrivals.CONSTANT)
    found = run_open(target(server, path), profile, **{**LIMITS, "timeout_s": 0.3})
    assert found.outcomes == {"gave_up": 5}


def test_a_request_that_met_a_closing_connection_is_sent_again(server: OddServer) -> None:
    before = server.asked["/race"]
    found = offered(server, "/race")
    assert found.outcomes == {"in_time": REQUESTS}
    assert found.resent == server.asked["/race"] - before - REQUESTS > 0


def test_nobody_there_is_refused() -> None:
    profile = level(200, 0.25, arrivals=Arrivals.CONSTANT)
    gone = Target(("127.0.0.1", 1), [request("/")])
    assert run_open(gone, profile, **LIMITS).outcomes == {"refused": 50}
    found = run_closed(gone, connections=2, seconds=0.2, **LIMITS)
    assert list(found.outcomes) == ["refused"]
    # It doesn't hammer at the closed door.
    assert 2 <= found.count < 100


def test_what_gets_no_connection_in_time_was_never_sent() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        there = Target(deaf.getsockname(), [request("/")])
        profile = level(100, 0.3, arrivals=Arrivals.CONSTANT)
        found = run_open(there, profile, **{**LIMITS, "timeout_s": 0.2})
    assert found.outcomes["unsent"] + found.outcomes.get("gave_up", 0) == 30
    assert found.outcomes["unsent"] > 0


def test_a_server_that_stalls_shows_in_the_latency_of_all_that_was_due_meanwhile(
    server: OddServer,
) -> None:
    stall_s, rate, seconds = 2.0, 200.0, 3.0
    timer = threading.Timer(0.5, server.stall, [stall_s])
    timer.start()
    profile = level(rate, seconds, arrivals=Arrivals.CONSTANT)
    # Fewer connections than requests that wait: a generator that only counts what it could send
    # would see eight slow answers.
    found = run_open(target(server, "/ok"), profile, **LIMITS, connections=8)
    timer.join()
    assert found.outcomes["in_time"] + found.outcomes["late"] == rate * seconds
    latency = found.latency
    assert latency.max_s == pytest.approx(stall_s, rel=0.2)
    # Two thirds were due while it stalled; they waited from the whole of it down to nothing.
    # Waits above 1 s are half of these.
    assert found.outcomes["late"] / found.count == pytest.approx(1 / 3, abs=0.08)
    assert latency.percentiles_s["90"] == pytest.approx(
        stall_s * (1 - 0.1 * seconds / stall_s), rel=0.2
    )


def test_a_closed_loop_hides_that_stall_and_is_said_to_be_for_another_question(
    server: OddServer,
) -> None:
    timer = threading.Timer(0.5, server.stall, [1.0])
    timer.start()
    found = run_closed(target(server, "/ok"), connections=2, seconds=2.0, **LIMITS)
    timer.join()
    assert found.outcomes.get("late", 0) <= 2
    assert found.latency.percentiles_s["99"] < 0.5


def test_a_closed_loop_asks_again_when_it_is_answered(server: OddServer) -> None:
    before = server.connections
    found = run_closed(target(server, "/ok"), connections=4, seconds=0.5, **LIMITS)
    assert found.count > 100
    assert list(found.outcomes) == ["in_time"]
    assert server.connections - before == 4


def test_a_warm_up_is_sent_but_not_counted(server: OddServer) -> None:
    before = server.asked["/ok"]
    profile = level(100, 0.3, arrivals=Arrivals.CONSTANT)
    found = run_open(target(server, "/ok"), profile, **{**LIMITS, "warm_up_s": 0.2})
    assert found.count == 30
    assert server.asked["/ok"] - before == 50


def test_processes_share_a_load_and_its_requests(server: OddServer) -> None:
    before = dict(server.asked)
    paths = [f"/p{at}" for at in range(5)]
    profile = steps([100, 200], 0.3)
    found = run_open(target(server, *paths), profile, **LIMITS, processes=3)
    assert found.count == len(profile.dues())
    asked = [server.asked[path] - before.get(path, 0) for path in paths]
    assert sum(asked) == found.count
    assert max(asked) - min(asked) <= 1
    assert [round(item.offered_per_s * 0.3) for item in found.stretches] == [
        (profile.dues() < 0.3).sum(), (profile.dues() >= 0.3).sum()]  # fmt: skip


def test_instants_may_be_given_one_by_one(server: OddServer) -> None:
    found = run_open(target(server, "/ok"), [0.0, 0.1, 0.2], **LIMITS)
    assert found.count == 3
    assert found.level.offered_per_s == pytest.approx(10)


def test_large_requests_are_sent_whole(server: OddServer) -> None:
    large = Target(("127.0.0.1", server.port), [request("/ok", b"x" * 3_000_000)])
    profile = level(20, 0.3, arrivals=Arrivals.CONSTANT)
    assert run_open(large, profile, **LIMITS).outcomes == {"in_time": 6}


def test_an_interrupted_load_gives_what_was_measured_until_then(server: OddServer) -> None:
    threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGINT]).start()
    began_s = time.monotonic()
    with pytest.raises(Stopped) as stopped:
        run_open(target(server, "/ok"), level(100, 30), **LIMITS)
    assert time.monotonic() - began_s < 15
    loaded = stopped.value.loaded
    assert loaded.was_stopped
    assert 0 < loaded.count < 1000
    assert loaded.level.offered_per_s == pytest.approx(100, rel=0.5)


# The command


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("served")
    pack_model(folder)
    words = ["serve", "demo", "--port=0", "--workers=1", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "twofold", *words], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    server = ServerProcess(process, url_of(process))
    try:
        yield server
    finally:
        server.stop()


def lab_load(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twofold", "lab", "load", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("protocol", ["auto", "v2", "mlflow"])
def test_a_served_model_is_loaded_in_each_protocol(
    served: ServerProcess, tmp_path: Path, protocol: str
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({**row, "id": 1}) + "\n" for row in SAMPLE))
    words = [served.url, "--rate=100", "--seconds=0.5", "--warm-up-s=0.2", "--rows", str(rows)]
    done = lab_load(*words, f"--protocol={protocol}", "--deadline-ms=3000", "--json")
    found = json.loads(done.stdout)
    assert found["requests"] == len(SAMPLE)
    assert found["protocol"] == {"auto": "twofold"}.get(protocol, protocol)
    loaded = found["loaded"]
    assert loaded["outcomes"] == {"in_time": loaded["count"]}
    assert loaded["latency"]["count"] == loaded["count"] > 25
    assert (done.returncode == 0) is loaded["is_valid"], done.stderr


def test_without_rows_the_example_of_the_server_is_asked(served: ServerProcess) -> None:
    done = lab_load(served.url, "--closed=2", "--seconds=0.3", "--warm-up-s=0", "--slo-ms=3000")
    assert "in time" in done.stdout, done.stderr
    assert "100.00%" in done.stdout
    assert "generator" in done.stdout


def test_any_url_is_loaded_with_a_body(served: ServerProcess, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"row": GOOD}))
    words = [f"{served.url}/v1/models/demo/predict", "--protocol=json", "--body", str(body)]
    done = lab_load(*words, "--rate=50", "--seconds=0.3", "--expect=prediction", "--json")
    assert set(json.loads(done.stdout)["loaded"]["outcomes"]) <= {"in_time", "late"}


def test_steps_make_a_page(served: ServerProcess, tmp_path: Path) -> None:
    page = tmp_path / "goodput.html"
    words = ["--steps=50,100", "--seconds=0.4", "--warm-up-s=0", "--slo-ms=3000"]
    done = lab_load(served.url, *words, "--html", str(page))
    assert f"page: {page}" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    assert "<script" not in text


def test_a_server_that_refuses_what_is_asked_is_not_loaded(
    served: ServerProcess, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"amount": "much"}\n')
    done = lab_load(served.url, "--rate=10", "--rows", str(rows), "--json")
    assert done.returncode == 1
    assert "expected an answer with a 2xx, got 422" in json.loads(done.stdout)["error"]


def test_ctrl_c_ends_with_what_was_measured(served: ServerProcess) -> None:
    words = ["lab", "load", served.url, "--rate=50", "--seconds=60", "--warm-up-s=0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "twofold", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    before = served.metric('twofold_requests_total{model="demo",version="1",outcome="ok"}')
    deadline_s = time.monotonic() + 30
    while (
        served.metric('twofold_requests_total{model="demo",version="1",outcome="ok"}') < before + 20
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    loaded = json.loads(out)["loaded"]
    assert loaded["was_stopped"]
    assert loaded["count"] >= 15
    assert "interrupted" in err
