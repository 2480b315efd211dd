"""Foreign clients: where they are installed, and how a test talks to one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Raised(Exception):
    """The client raised: the name of the exception, and its words."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name, self.words = name, words


class Client:
    """A foreign client in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, call: str, **how: Any) -> Any:
        """Let it make a call; give what that gave."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"call": call, "how": how}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client ended"
        told = json.loads(line)
        if "raised" in told:
            raise Raised(told["raised"], told["words"])
        return told["gave"]


def skip(reason: str) -> None:
    """Skip a test that can't be run here; the CI has to be able to run them all."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def environment(name: str) -> Path:
    """The folder of an environment's commands."""
    folder = ROOT / f".venv-conformance-{name}"
    if not (folder / ".ready").exists():
        skip(f"needs {folder.name}, which `make conformance` sets up with the network")
    return folder / "bin"
