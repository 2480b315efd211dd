"""Foreign clients: where they are installed, and how a test talks to one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BROWSER_END_S = 60.0


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


@contextlib.contextmanager
def running_browser(folder: Path) -> Iterator[Client]:
    """A real browser without a screen, which keeps what it has to in a folder."""
    chrome, driver = os.environ.get("CHROME", "chromium"), "chromedriver"
    for command in (chrome, driver):
        if shutil.which(command) is None:
            skip(f"needs {command}, as in Debian's packages chromium and chromium-driver")
    words = [
        environment("browser") / "python",
        HERE / "clients" / "browser_client.py",
        str(shutil.which(chrome)),
        str(shutil.which(driver)),
        folder,
    ]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Client(process)
        # It closes the browser, too, when there is nothing more to do.
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(BROWSER_END_S) == 0
