"""From files to answers by key: a run is published, served, and another one takes its place."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from doubler import pack_doubler
from server_process import LIMIT_S, ServerProcess, exchange, until, url_of

import twofold

KEYS = ["plain", "a/b", "x/answers/y", "Zoë 中", '50% "off"', "17"]
ANSWERS = "/v1/models/doubler/answers"


def twofold_command(folder: Path, *arguments: str, code: int = 0) -> Any:
    """Run the command in a folder; what it prints is JSON."""
    command = [sys.executable, "-m", "twofold", *arguments, "--json"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def run_and_publish(folder: Path, run_id: str, first: float, *, code: int = 0) -> Any:
    """Predict the amount of every key, which counts up from the first, and publish it."""
    amounts = [first + at for at in range(len(KEYS))]
    pq.write_table(pa.table({"id": KEYS, "amount": amounts}), folder / f"{run_id}.parquet")
    where = ("--output", "out", "--run-id", run_id, "--key", "id")
    what = ("batch", "run", "doubler", f"{run_id}.parquet", *where, "--publish", "--with-features")
    return twofold_command(folder, *what, code=code)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    pack_doubler(folder, "e2e_answers")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    flags = ("--deadline-s=30", "--workers=2", "--port=0", "--json")
    with subprocess.Popen(
        [sys.executable, "-m", "twofold", "serve", "doubler", *flags],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield ServerProcess(process, url_of(process))
        finally:
            process.kill()


def get(server: ServerProcess, key: str) -> tuple[int, Any]:
    status, body = server.ask("GET", f"{ANSWERS}/{quote(key, safe='')}")
    return status, json.loads(body)


def post(server: ServerProcess, body: Any) -> tuple[int, Any]:
    status, answer = server.ask("POST", ANSWERS, body)
    return status, json.loads(answer)


def is_answered(server: ServerProcess, run_id: str, first: float) -> None:
    """Ask for every key, whichever worker has it, on connections old and new."""
    with contextlib.closing(server.client()) as kept:
        for ask in (server.ask, functools.partial(exchange, kept), server.ask):
            for at, key in enumerate(KEYS):
                status, body = ask("GET", f"{ANSWERS}/{quote(key, safe='')}", None)
                answer = json.loads(body)
                assert (status, answer["key"], answer["run_id"]) == (200, key, run_id)
                assert (answer["prediction"], answer["source"]) == (2 * (first + at), "batch")


def test_run_that_is_published_while_another_is_served_is_answered_at_once(
    folder: Path, server: ServerProcess
) -> None:
    assert get(server, "missing")[1]["code"] == "unknown_key"
    for run_id, first in (("first", 1.0), ("second", 1.25)):
        done = run_and_publish(folder, run_id, first)
        assert (done["state"], done["published"]["state"]) == ("committed", "published")
        is_answered(server, run_id, first)
    back = twofold_command(folder, "snapshot", "rollback", "--model", "doubler")
    assert [item["run_id"] for item in back["snapshots"]] == ["first", "second"]
    is_answered(server, "first", 1.0)


@pytest.fixture(scope="module")
def published(folder: Path, server: ServerProcess) -> ServerProcess:
    """The server, with a run whose first amount is 2."""
    assert run_and_publish(folder, "night", 2.0)["published"]["state"] == "published"
    return server


def test_many_keys_are_answered_at_once(published: ServerProcess) -> None:
    _, several = post(published, {"keys": [*KEYS, "none", 17]})
    *known, unknown, number = several["answers"]
    assert [item["key"] for item in known] == KEYS
    assert (unknown["code"], number["prediction"]) == ("unknown_key", known[-1]["prediction"])


def test_key_needs_no_escapes_but_for_what_ends_a_path(published: ServerProcess) -> None:
    for path in ("a/b", "a%2Fb", "a%2fb"):
        status, body = published.ask("GET", f"{ANSWERS}/{path}")
        assert (status, json.loads(body)["key"]) == (200, "a/b")


def test_row_of_now_is_predicted_and_kept_for_everybody(
    folder: Path, published: ServerProcess
) -> None:
    new = post(published, {"key": "new", "row": {"amount": 1.5}})[1]
    assert (new["prediction"], new["source"], new["why"]) == (3.0, "live", "unknown key")
    changed = post(published, {"key": "a/b", "changes": {"amount": 8.0}})[1]
    assert changed["prediction"] == 16.0
    live = post(published, {"key": "a/b", "row": {"amount": 4.0}, "keep": True})[1]
    assert (live["prediction"], live["why"]) == (8.0, "newer features")
    # What one worker kept, every one answers, and so do the command and Python.
    assert {get(published, "a/b")[1]["source"] for _ in range(8)} == {"live"}
    told = twofold_command(folder, "snapshot", "get", "a/b", "--model", "doubler")
    assert (told["prediction"], told["source"]) == (8.0, "live")
    registry, store = folder / "registry", folder / "store"
    with twofold.answers("doubler", registry=registry, store=store) as answers:
        assert answers.get("a/b").prediction == 8.0
        assert [item and item.key for item in answers.get_many(["plain", "x"])] == ["plain", None]


def test_run_behind_a_shut_gate_is_committed_and_what_was_there_is_served_on(
    folder: Path, published: ServerProcess
) -> None:
    before = get(published, "plain")[1]["run_id"]
    pq.write_table(pa.table({"id": ["plain"], "amount": [1.0]}), folder / "small.parquet")
    what = ("small.parquet", "--output", "out", "--run-id", "small", "--key", "id", "--publish")
    error = twofold_command(folder, "batch", "run", "doubler", *what, code=3)
    assert error["error"].startswith("the run is committed to out/small, but couldn't be published")
    assert (folder / "out/small").is_dir()
    assert get(published, "plain")[1]["run_id"] == before


def test_answers_are_counted_and_described(published: ServerProcess) -> None:
    labels = 'model="doubler",version="1"'
    stored = f'twofold_answers_total{{{labels},answer="stored"}}'
    before = published.metric(stored)
    for key in KEYS:
        get(published, key)
    # A kept one is live.
    assert len(KEYS) - 1 <= published.metric(stored) - before <= len(KEYS)
    keys = f"twofold_snapshot_keys{{{labels}}}"
    until(lambda: published.metric(keys) == len(KEYS), "the workers to look at the snapshot")
    described = json.loads(published.ask("GET", "/openapi.json")[1])["paths"]
    assert {f"{ANSWERS}/{{key}}", ANSWERS} <= described.keys()


def test_server_that_answered_by_key_leaves_in_peace(published: ServerProcess) -> None:
    assert published.stop() == 0
