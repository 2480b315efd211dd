"""One server for all foreign clients, and each of them in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from twofold.app.serve import running_server
from twofold.serving.settings import ServeSettings

sys.path.insert(0, str(Path(__file__).parent))
from foreign import HERE, Client, environment
from models import SERVED

SETTINGS = ServeSettings(port=0, workers=1, deadline_s=30.0)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance") / "registry"
    subprocess.run([sys.executable, HERE / "models.py", folder], check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def url(registry: Path) -> Iterator[str]:
    with running_server(SERVED, registry=registry, settings=SETTINGS) as url:
        yield url


@pytest.fixture(scope="session")
def client(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Client]]:
    """Start a client by the name of its environment."""
    with ExitStack() as stack:

        def start(name: str) -> Client:
            command = [environment(name) / "python", HERE / "clients" / f"{name}_client.py"]
            # Asked for only now: without the environment nothing has to be packed and served.
            command.append(request.getfixturevalue("url"))
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            return Client(process)

        yield start
