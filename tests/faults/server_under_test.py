"""A real server, its processes, and clients that never stop asking; for the tests beside it."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server_process import LIMIT_S, ServerProcess, children, exchange, until, url_of

HANGS_S = 20.0
"""A client that waits longer takes the server for hung."""
PATIENT = {"X-Twofold-Deadline-Ms": "30000"}
"""Headers of a client that waits as long as a busy machine needs."""

MODEL = """
import os, signal, time

def predict(row):
    if row["x"] == -1.0:
        raise ValueError("bad row")
    if row["x"] == -2.0:
        os.kill(os.getpid(), signal.SIGKILL)
    if row["x"] == -3.0:
        time.sleep(3600)
    time.sleep({pause_s})
    return row["x"] * {factor}
"""
PACK = """
import twofold
sample = [{{"x": float(value)}} for value in range(20)]
twofold.pack("{module}:predict", name="{name}", sample=sample, registry="registry")
"""


def pack(folder: Path, name: str, *, factor: float, pause_s: float = 0.0) -> None:
    """Pack a function of one number as a new version of a model, in `folder/registry`.

    It multiplies. It raises for -1, ends its process for -2, and hangs for -3.
    """
    module = f"{name}_{factor:g}".replace(".", "_").replace("-", "m")
    text = MODEL.format(pause_s=pause_s, factor=factor)
    (folder / f"{module}.py").write_text(text, encoding="utf-8")
    script = PACK.format(module=module, name=name)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, timeout=LIMIT_S)


def alias(folder: Path, name: str, version: int) -> None:
    """Make a version the champion."""
    command = [sys.executable, "-m", "twofold", "alias", name, "champion", str(version)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=LIMIT_S)


@dataclass
class Server(ServerProcess):
    """A server of models that multiply a number."""

    hangs_s: float = HANGS_S

    def predict(
        self, name: str, x: float, headers: Mapping[str, str] = PATIENT
    ) -> tuple[int, dict[str, Any]]:
        path, body = f"/v1/models/{name}/predict", {"row": {"x": x}}
        status, answer = self.ask("POST", path, body, headers)
        return status, json.loads(answer)

    def model_processes(self) -> list[int]:
        return [child for worker in self.workers() for child in children(worker)]


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Server]:
    """Serve what is in `folder/registry`."""
    command = [sys.executable, "-m", "twofold", "serve", *arguments, "--port=0", "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process, url_of(process))
        finally:
            process.terminate()
            try:
                process.wait(LIMIT_S)
            finally:
                process.kill()


@dataclass
class Crowd:
    """Clients that ask one after the other, each on its connection, until they are told to stop.

    Attributes:
        statuses: How often each status came; "lost" for a connection that ended without answer,
            "hung" for one that gave none in time, "wrong" for an answer that isn't the model's.
        answers: How often each prediction came.
    """

    server: Server
    name: str
    x: float = 2.0
    headers: dict[str, str] = field(default_factory=lambda: PATIENT)
    statuses: Counter[Any] = field(default_factory=Counter)
    answers: Counter[float] = field(default_factory=Counter)
    pause_s: float = 0.0

    @contextlib.contextmanager
    def asking(self, clients: int) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(stop,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, stop: threading.Event) -> None:
        path, body = f"/v1/models/{self.name}/predict", {"row": {"x": self.x}}
        connection = self.server.client()
        while not stop.is_set():
            status: Any
            try:
                status, answer = exchange(connection, "POST", path, body, self.headers)
            except TimeoutError:
                status = "hung"
                connection.close()
            except (OSError, http.client.HTTPException):
                status = "lost"
                connection.close()
            else:
                if status == 200:
                    self.answers[json.loads(answer)["prediction"]] += 1
            self.statuses[status] += 1
            time.sleep(self.pause_s)
        connection.close()

    def so_many(self, count: int) -> None:
        """Wait until so many more requests are over."""
        before = self.statuses.total()
        until(lambda: self.statuses.total() >= before + count, f"{count} answers")


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
