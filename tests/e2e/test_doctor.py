"""`twofold doctor` names what was done to a server, first of all; and nothing, if nothing was."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubler import pack_doubler
from http_thread import Quiet, serving_http
from server_process import LIMIT_S, ServerProcess, children, until, url_of

from twofold.model.registry import Registry, render

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from proxy import Proxy
from servers import RedisNode

SECONDS = 1.2
"""How long the doctor looks."""
ROW_S = 0.02
"""What a row of the model `steady` costs, whenever it is asked."""
LOAD_S = 5.0
"""How long `steady` takes to load when it is told to."""
KEYS = [f"customer-{number}" for number in range(50)]
PREDICT = "/v1/models/{}/predict"
ANSWERS = "/v1/models/doubler/answers"

ODD = -12345.5
"""A row that no pack tries: of it the models fail, or take long."""

# Packing asks it a thousand times: it takes its time only when that is over.
STEADY = """
import os, time

if os.path.exists({loading!r}):
    time.sleep({load_s})

def predict(row):
    if os.path.exists({packed!r}):
        time.sleep({row_s})
    if row["amount"] == {odd}:
        raise ValueError("no amount")
    return row["amount"] * 2.0
"""
# Quick when it is packed and loaded; later as slow as the test wants.
MOODY = """
import os, time

def predict(row):
    if os.path.exists({slow!r}):
        time.sleep(0.05)
    if row["amount"] == {odd}:
        time.sleep(0.7)
    return row["amount"] * 2.0
"""
PACK = """
import twofold
sample = [{{"amount": float(value)}} for value in range(20)]
twofold.pack("{module}:predict", name="{module}", sample=sample, registry="registry")
"""


def twofold_command(folder: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
    """Run the command in a folder; what it prints is JSON."""
    command = [sys.executable, "-m", "twofold", *arguments, "--json"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode in codes, (done.stdout, done.stderr)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor")
    pack_doubler(folder, "e2e_doctor")
    codes = {
        "steady": STEADY.format(
            packed=str(folder / "packed"),
            row_s=ROW_S,
            odd=ODD,
            loading=str(folder / "loading"),
            load_s=LOAD_S,
        ),
        "moody": MOODY.format(slow=str(folder / "slow"), odd=ODD),
    }
    for module, code in codes.items():
        (folder / f"{module}.py").write_text(code, encoding="utf-8")
        script = PACK.format(module=module)
        subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=LIMIT_S)
    took_as_long_when_packed(folder / "registry")
    (folder / "packed").touch()
    return folder


def took_as_long_when_packed(registry: Path) -> None:
    """Put into the record of `steady` that its rows took as long when it was packed."""
    record = Registry(registry).read("steady", "1")
    candidates = tuple(
        msgspec.structs.replace(item, one_row_s=ROW_S) for item in record.parity.candidates
    )
    parity = msgspec.structs.replace(record.parity, candidates=candidates)
    written = render(msgspec.structs.replace(record, parity=parity))
    (registry / "steady" / "1" / "model.json").write_bytes(written)


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[ServerProcess]:
    command = [sys.executable, "-m", "twofold", "serve", *arguments, "--port=0", "--json"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield ServerProcess(process, url_of(process))
        finally:
            process.terminate()
            try:
                process.wait(LIMIT_S)
            finally:
                process.kill()


def doctor(url: str, folder: Path) -> Any:
    """What the doctor says, as JSON."""
    looks = ("--seconds", f"{SECONDS:g}", "--interval-s", "0.4")
    return twofold_command(folder, "doctor", url, *looks, codes=(0, 1))


def first_of(url: str, folder: Path) -> dict[str, Any]:
    said = doctor(url, folder)
    assert said["findings"], said
    return said["findings"][0]


class Load:
    """Asks at a rate, whether it is answered or not, until it is told to stop.

    Attributes:
        statuses: How often each came.
    """

    def __init__(
        self, server: ServerProcess, path: str, body: Any, *, per_s: float, headers: Any = None
    ) -> None:
        self._address = server.address
        payload = json.dumps(body).encode()
        lines = {
            "Host": "a",
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(payload)),
            **(headers or {}),
        }
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self._request = f"{head}\r\n".encode() + payload
        self._per_s = per_s
        self._stop = threading.Event()
        self.statuses: dict[int, int] = {}

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(LIMIT_S)

    async def _run(self) -> None:
        begun: set[asyncio.Task[None]] = set()
        started_s = time.monotonic()
        count = 0
        while not self._stop.is_set() and time.monotonic() < started_s + LIMIT_S:
            due_s = started_s + count / self._per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            task = asyncio.create_task(self._ask())
            begun.add(task)
            task.add_done_callback(begun.discard)
            count += 1
        await asyncio.gather(*begun)

    async def _ask(self) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection(*self._address)
            try:
                writer.write(self._request)
                answer = await asyncio.wait_for(reader.read(), 10.0)
                status = int(answer.split(b" ", 2)[1]) if answer else 0
                self.statuses[status] = self.statuses.get(status, 0) + 1
            finally:
                writer.close()

    def so_many(self, count: int) -> None:
        until(lambda: sum(self.statuses.values()) >= count, f"{count} answers")


def row_load(server: ServerProcess, model: str, *, per_s: float, **how: Any) -> Load:
    return Load(server, PREDICT.format(model), {"row": {"amount": 2.0}}, per_s=per_s, **how)


# Load and models.


def test_overload_is_named_with_what_is_offered_and_the_client_that_offers_it(
    folder: Path,
) -> None:
    keys = [
        twofold_command(folder, "keys", "new", name, "--file", "keys.toml")["key"]
        for name in ("desk", "loader")
    ]
    headers = [{"X-Api-Key": key} for key in keys]
    with started(folder, "steady", "--workers=1", "--api-keys=keys.toml") as server:
        began = datetime.now(UTC)
        desk = row_load(server, "steady", per_s=5, headers=headers[0])
        loader = row_load(server, "steady", per_s=150, headers=headers[1])
        with desk.asking(), loader.asking():
            loader.so_many(200)
            found = first_of(server.url, folder)
    assert found["fault"] == "overloaded"
    assert found["severity"] == "fault"
    assert found["who"] == "loader"
    assert began < datetime.fromisoformat(found["since"]) < datetime.now(UTC)
    said = dict(item.split(": ", 1) for item in found["evidence"])
    offered, answered, capacity = (
        float(said[name].split("/s")[0]) for name in ("offered", "answered", "capacity")
    )
    assert offered > 1.5 * capacity
    assert answered < 1.0 / ROW_S * 1.2
    assert capacity <= 1.0 / ROW_S
    assert "max_requests_per_s" in found["fix"]
    assert loader.statuses[503] > 0


def test_model_that_became_slow_is_named_with_its_stage_and_what_it_took_when_packed(
    folder: Path,
) -> None:
    with started(folder, "moody", "--workers=1") as server:
        try:
            (folder / "slow").touch()
            with row_load(server, "moody", per_s=10).asking():
                time.sleep(1.0)
                found = first_of(server.url, folder)
        finally:
            (folder / "slow").unlink()
    assert (found["fault"], found["severity"]) == ("slow_model", "fault")
    assert found["what"].startswith("moody@1 is slow in its stage predict: a row takes ")
    assert any(item.startswith("the same when it was packed: ") for item in found["evidence"])


def test_requests_that_take_longest_to_read_are_named_with_their_stage(
    folder: Path, tmp_path: Path
) -> None:
    """Thousands of rows at once for a model that is done with each in a microsecond."""
    names = [f"field_{number}" for number in range(30)]
    script = """
import numpy as np, pandas as pd, twofold
from sklearn.tree import DecisionTreeRegressor

rows = np.random.default_rng(1).normal(size=(100, {fields}))
sample = pd.DataFrame(rows, columns=[f"field_{{number}}" for number in range({fields})])
model = DecisionTreeRegressor(max_depth=2).fit(sample, rows.sum(axis=1))
twofold.pack(model, name="wide", sample=sample, registry="registry")
"""
    command = [sys.executable, "-c", script.format(fields=len(names))]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=LIMIT_S)
    with started(tmp_path, "wide", "--workers=1") as server:
        body = {"rows": [dict.fromkeys(names, 0.5)] * 5_000}
        headers = {"X-Twofold-Deadline-Ms": "10000"}
        with Load(server, PREDICT.format("wide"), body, per_s=4, headers=headers).asking():
            # The first one waits for the process that large ones are predicted in.
            series = 'twofold_request_duration_seconds_count{model="wide",version="1",outcome="ok"}'
            until(lambda: server.metric(series) >= 2, "two answers")
            found = first_of(server.url, tmp_path)
    assert (found["fault"], found["severity"]) == ("slow_model", "fault")
    assert "most of their time in the stage parse and encode" in found["what"]
    assert "rows of a request, mean: 5,000.0" in found["evidence"]


def test_model_that_fails_is_named(folder: Path) -> None:
    with started(folder, "steady", "--workers=1") as server:
        bad = Load(server, PREDICT.format("steady"), {"row": {"amount": ODD}}, per_s=10)
        with bad.asking(), row_load(server, "steady", per_s=10).asking():
            found = first_of(server.url, folder)
    assert (found["fault"], found["severity"]) == ("model_fails", "fault")
    assert found["who"] == "127.0.0.1"
    assert bad.statuses.keys() == {500}


def test_client_that_is_over_its_quota_and_one_that_sends_nonsense_are_named(folder: Path) -> None:
    new = ("keys", "new", "eager", "--file", "quota.toml", "--max-requests-per-s", "2")
    eager = twofold_command(folder, *new)["key"]
    odd = twofold_command(folder, "keys", "new", "odd", "--file", "quota.toml")["key"]
    with started(folder, "moody", "--workers=1", "--api-keys=quota.toml") as server:
        with row_load(server, "moody", per_s=20, headers={"X-Api-Key": eager}).asking():
            time.sleep(1.0)
            found = first_of(server.url, folder)
        assert (found["fault"], found["severity"], found["who"]) == (
            *("over_quota", "warning"), "eager"
        )  # fmt: skip
        wrong = Load(
            server,
            PREDICT.format("moody"),
            {"row": {"amount": "much"}},
            per_s=20,
            headers={"X-Api-Key": odd},
        )
        with wrong.asking():
            found = first_of(server.url, folder)
        assert (found["fault"], found["who"]) == ("invalid_requests", "odd")


def test_deadlines_that_are_too_short_are_named(folder: Path) -> None:
    with started(folder, "steady", "--workers=1") as server:
        headers = {"X-Twofold-Deadline-Ms": f"{ROW_S * 500:g}"}
        with row_load(server, "steady", per_s=10, headers=headers).asking():
            found = first_of(server.url, folder)
    assert (found["fault"], found["severity"]) == ("deadline_short", "warning")


# Processes.


def test_blocked_loop_is_named_with_the_model_that_blocked_it(folder: Path) -> None:
    with (
        started(folder, "moody", "--workers=1") as server,
        row_load(server, "moody", per_s=20).asking(),
    ):
        status, _ = server.ask("POST", PREDICT.format("moody"), {"row": {"amount": ODD}})
        assert status == 200
        found = first_of(server.url, folder)
    assert (found["fault"], found["severity"]) == ("loop_blocked", "fault")
    assert any("predictions of moody@1 in the event loop" in item for item in found["evidence"])
    assert "moody@1 was quick when it was loaded" in found["fix"]


def test_worker_that_was_stopped_for_a_while_is_a_blocked_loop_of_another_cause(
    folder: Path,
) -> None:
    with started(folder, "moody", "--workers=1") as server:
        [worker] = server.workers()
        os.kill(worker, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(worker, signal.SIGCONT)
        found = first_of(server.url, folder)
    assert found["fault"] == "loop_blocked"
    assert any("none took as long" in item for item in found["evidence"])


def test_worker_that_died_is_named(folder: Path) -> None:
    with started(folder, "moody", "--workers=2") as server:
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(server.workers()) - set(before)) == 1, "another worker")
        found = first_of(server.url, folder)
    assert (found["fault"], found["severity"]) == ("worker_restarts", "fault")
    assert found["since"] is not None


def test_process_of_a_model_that_died_is_named(folder: Path) -> None:
    with started(folder, "steady", "--workers=1") as server:
        [worker] = server.workers()
        [process] = children(worker)
        os.kill(process, signal.SIGKILL)
        series = "twofold_model_process_restarts_total"
        until(lambda: server.metric(series) == 1, "the death to be seen")
        found = first_of(server.url, folder)
    assert (found["fault"], found["severity"]) == ("model_restarts", "fault")


def test_server_that_is_not_ready_is_named_behind_the_death_that_made_it_so(folder: Path) -> None:
    with started(folder, "steady", "--workers=1") as server:
        [worker] = server.workers()
        [process] = children(worker)
        try:
            (folder / "loading").touch()
            os.kill(process, signal.SIGKILL)
            until(lambda: server.ask("GET", "/v2/health/ready")[0] == 503, "it not to be ready")
            said = doctor(server.url, folder)
        finally:
            (folder / "loading").unlink()
        assert [found["fault"] for found in said["findings"]] == ["model_restarts", "not_ready"]
        until(lambda: server.ask("GET", "/v2/health/ready")[0] == 200, "it to be ready again")
        again = doctor(server.url, folder)
    assert [found["fault"] for found in again["findings"]] == ["model_restarts"]


def test_connections_near_their_limit_and_a_version_that_cannot_be_loaded_are_named(
    folder: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    shutil.copytree(folder / "registry", work / "registry")
    with (
        started(work, "moody", "--workers=1", "--max-connections=20") as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(18):
            stack.enter_context(contextlib.closing(server.connect()))
        until(lambda: server.metric("twofold_connections") >= 18, "connections")
        found = first_of(server.url, work)
        assert (found["fault"], found["severity"]) == ("too_many_connections", "warning")
        stack.close()
        broken = work / "registry" / "moody" / "2"
        shutil.copytree(work / "registry" / "moody" / "1", broken)
        record = msgspec.structs.replace(
            Registry(work / "registry").read("moody", "1"), version="2"
        )
        (broken / "model.json").write_bytes(render(record))
        (broken / "moody.py").write_text("no python", encoding="utf-8")
        series = 'twofold_reloads_total{result="refused"}'
        until(lambda: server.metric(series) == 1, "the refusal")
        found = first_of(server.url, work)
    assert (found["fault"], found["severity"]) == ("reload_refused", "warning")


# What is stored, and clocks.


def publish(folder: Path, run_id: str, as_of: datetime, *store: str) -> None:
    amounts = [float(at) for at in range(len(KEYS))]
    pq.write_table(pa.table({"id": KEYS, "amount": amounts}), folder / "input.parquet")
    run = ("batch", "run", "doubler", "input.parquet", "--output", "out", "--run-id", run_id)
    what = ("--key", "id", "--as-of", as_of.isoformat(timespec="seconds"), "--publish", *store)
    twofold_command(folder, *run, *what)


def key_load(server: ServerProcess, *, per_s: float) -> Load:
    return Load(server, ANSWERS, {"key": KEYS[3]}, per_s=per_s)


def test_snapshot_is_stale_then_nothing_is_wrong_then_it_is_from_the_future(folder: Path) -> None:
    now = datetime.now(UTC)
    publish(folder, "old", now - timedelta(days=3))
    with (
        started(folder, "doubler", "steady", "--workers=2") as server,
        key_load(server, per_s=20).asking(),
        row_load(server, "doubler", per_s=100).asking(),
        row_load(server, "steady", per_s=20).asking(),
    ):
        series = "twofold_snapshot_as_of_timestamp_seconds"
        labels = '{model="doubler",version="1"}'
        until(lambda: server.metric(series + labels) > 0, "the snapshot to be seen")
        found = first_of(server.url, folder)
        assert (found["fault"], found["severity"]) == ("snapshot_stale", "fault")
        assert "3.0 days old" in found["what"]
        stale = [item for item in found["evidence"] if "stale prediction" in item]
        assert not stale[0].split(": ")[1].startswith("0 of")

        publish(folder, "new", now)
        until(lambda: server.metric(series + labels) > now.timestamp() - 2, "the switch")
        said = doctor(server.url, folder)
        assert said["findings"] == []
        assert said["requests"] > 30
        text = subprocess.run(
            [sys.executable, "-m", "twofold", "doctor", server.url, "--seconds=1"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        assert text[0] == "nothing wrong"
        assert text[1].startswith("looked at doubler@1, steady@1: 2 looks in 1.0 s, ")

        with Skewed.of(server, 30.0) as url:
            found = first_of(url, folder)
        assert (found["fault"], found["severity"]) == ("clock_skew", "fault")
        assert "ahead of this machine's" in found["what"]

        publish(folder, "next", datetime.now(UTC) + timedelta(hours=2))
        until(lambda: server.metric(series + labels) > now.timestamp() + 60, "the switch")
        found = first_of(server.url, folder)
        assert (found["fault"], found["severity"]) == ("clock_skew", "fault")
        assert "from the future" in found["what"]


class Skewed(Quiet, http.server.BaseHTTPRequestHandler):
    """Passes on what a server answers, as if its clock were ahead."""

    origin: ServerProcess
    ahead_s = 0.0

    def do_GET(self) -> None:
        body = self.origin.ask("GET", self.path)[1]
        self.send_response_only(200)
        ahead = datetime.now(UTC) + timedelta(seconds=self.ahead_s)
        self.send_header("Date", format_datetime(ahead, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @classmethod
    @contextlib.contextmanager
    def of(cls, origin: ServerProcess, ahead_s: float) -> Iterator[str]:
        handler = type("Handler", (cls,), {"origin": origin, "ahead_s": ahead_s})
        with serving_http(handler) as url:
            yield url


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisNode]:
    command = shutil.which("redis-server") or shutil.which("valkey-server")
    if command is None:
        assert os.environ.get("CI") != "true", "there is no redis-server"
        pytest.skip("there is no redis-server")
    node = RedisNode(command, tmp_path / "redis")
    node.start()
    try:
        yield node
    finally:
        node.stop()


def test_store_that_is_slow_and_one_that_is_away_are_named(folder: Path, redis: RedisNode) -> None:
    publish(folder, "far", datetime.now(UTC), "--store", f"redis://127.0.0.1:{redis.port}")
    with Proxy("127.0.0.1", redis.port) as proxy:
        store = f"--store=redis://127.0.0.1:{proxy.port}"
        with (
            started(folder, "doubler", "--workers=1", store) as server,
            key_load(server, per_s=10).asking(),
        ):
            until(lambda: server.metric('twofold_store_requests_total{outcome="answered"}') > 5, "")
            assert doctor(server.url, folder)["findings"] == []

            proxy.sees = slowly(0.07)
            found = first_of(server.url, folder)
            assert (found["fault"], found["severity"]) == ("store_slow", "fault")
            assert "is slow" in found["what"]

            proxy.sees = None
            proxy.hang()
            series = "twofold_store_away_since_timestamp_seconds"
            until(lambda: server.metric(series) > 0, "the store to be given up")
            found = first_of(server.url, folder)
            assert (found["fault"], found["severity"]) == ("store_slow", "fault")
            assert "doesn't answer in time" in found["what"]
            assert found["since"] is not None


def slowly(seconds: float) -> Callable[[bytes], bool]:
    def see(_: bytes) -> bool:
        time.sleep(seconds)
        return True

    return see


# Words.


def test_what_is_wrong_is_said_as_text_with_evidence_and_fix(folder: Path) -> None:
    with started(folder, "moody", "--workers=2") as server:
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(set(server.workers()) - set(before)) == 1, "another worker")
        done = subprocess.run(
            [sys.executable, "-m", "twofold", "doctor", server.url, "--seconds=0.5"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    said = done.stdout.splitlines()
    assert said[0].startswith("1. fault: worker restarts, since ")
    assert said[1] == "   1 of the workers died and were replaced."
    assert "   - since the server was started: 1" in said
    assert any(line.startswith("   Fix: Look at the server's stderr") for line in said)
    assert said[-1].startswith("looked at moody@1: ")


def test_where_no_server_is_the_error_says_how_to_start_one(folder: Path) -> None:
    command = [sys.executable, "-m", "twofold", "doctor", "http://127.0.0.1:9"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Start it with `twofold serve`" in done.stderr
