"""The load generator measures other servers as it does twofold's."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign import environment

PEERS = Path(__file__).parent / "peers"
START_S, LIMIT_S = 90.0, 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextlib.contextmanager
def peer(name: str, folder: Path) -> Iterator[str]:
    port = free_port()
    python, script = environment(name) / "python", PEERS / f"{name}_peer.py"
    command = [str(python), str(script), str(port), str(folder / "model")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        until_s = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until_s, "the peer never listened"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def load(url: str, folder: Path, *words: str) -> dict[str, Any]:
    (folder / "rows.csv").write_text("x\n1.5\n2.5\n")
    command = [sys.executable, "-m", "twofold", "lab", "load", url, "--rows", "rows.csv", "--json"]
    # It is the answers that are looked at, not the times: this machine may be busy.
    command += ["--rate", "20", "--seconds", "1", "--warm-up-s", "0.2", "--deadline-ms", "5000"]
    done = subprocess.run(
        [*command, *words], cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("where", ["", "/v2/models/doubler/infer"])
def test_a_server_of_the_open_inference_protocol_is_loaded(tmp_path: Path, where: str) -> None:
    with peer("kserve", tmp_path) as url:
        found = load(url + where, tmp_path, "--model", "doubler")
    assert found["protocol"] == "v2"
    loaded = found["loaded"]
    assert loaded["statuses"] == {"200": loaded["count"]}
    assert loaded["count"] > 0


@pytest.mark.parametrize("where", ["", "/invocations"])
def test_a_scoring_server_of_mlflow_is_loaded(tmp_path: Path, where: str) -> None:
    with peer("mlflow", tmp_path) as url:
        found = load(url + where, tmp_path, "--expect", "predictions")
    assert found["protocol"] == "mlflow"
    loaded = found["loaded"]
    assert loaded["statuses"] == {"200": loaded["count"]}
    assert loaded["count"] > 0
