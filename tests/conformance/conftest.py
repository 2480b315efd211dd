"""One server for all foreign clients, and each of them in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from twofold.app.serve import running_server
from twofold.serving.settings import ServeSettings

sys.path.insert(0, str(Path(__file__).parent))
from foreign import HERE, Client, environment
from models import SERVED
from s3 import Bucket, S3Server, running_s3

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


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests that need an object store."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Make a new bucket, and let the environment of this process lead to it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"b-{uuid.uuid4().hex}"
    s3_server.ask("PUT", name)
    return Bucket(s3_server, name)
