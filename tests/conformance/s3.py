"""An S3 server in a process and an environment of its own, and a bucket of it for a test."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
from foreign import environment
from obstore.store import S3Store

START_S = 60
REQUEST_S = 30
KEY, SECRET = "AKIDFORTESTS", "hush-this-is-secret"


@dataclass(frozen=True)
class S3Server:
    """A running server: its address, and where it writes a line about each request."""

    url: str
    log: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs that is to ask it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
        }

    def ask(self, method: str, path: str, data: bytes | None = None) -> None:
        """Make a request without a signature, which the server doesn't look at."""
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)  # noqa: S310
        urllib.request.urlopen(request, timeout=REQUEST_S).close()  # noqa: S310

    @contextlib.contextmanager
    def checking_keys(self) -> Iterator[None]:
        """Let it refuse keys that nobody has, for a while."""
        self.ask("POST", "moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            self.ask("POST", "moto-api/reset-auth", b"inf")


@dataclass(frozen=True)
class Bucket:
    """A bucket that a test has for itself."""

    server: S3Server
    name: str

    @property
    def url(self) -> str:
        """What stands before the keys of its objects."""
        return f"s3://{self.name}"

    @property
    def _store(self) -> S3Store:
        return S3Store(
            self.name,
            endpoint=self.server.url,
            access_key_id=KEY,
            secret_access_key=SECRET,
            region="us-east-1",
            client_options={"allow_http": True},
        )

    def put(self, key: str, data: bytes | Path) -> str:
        """Write an object; give its URL."""
        obstore.put(self._store, key, data if isinstance(data, Path) else bytes(data))
        return f"{self.url}/{key}"

    def delete(self, key: str) -> None:
        """Delete an object."""
        obstore.delete(self._store, key)

    def put_folder(self, folder: Path, key: str) -> str:
        """Write the files below a folder; give the URL of where they are."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{key}/{path.relative_to(folder).as_posix()}", path)
        return f"{self.url}/{key}"

    def contents(self) -> dict[str, bytes]:
        """All objects, by their keys."""
        store: Any = self._store
        found = [meta["path"] for page in obstore.list(store) for meta in page]
        return {key: obstore.get(store, key).bytes().to_bytes() for key in sorted(found)}

    def asked(self) -> list[tuple[str, str, int]]:
        """The requests so far: method, key and status."""
        plain = re.sub(r"\x1b\[\d*m", "", self.server.log.read_text(encoding="utf-8"))
        line = re.compile(rf'"([A-Z]+) /{re.escape(self.name)}/?(\S*) HTTP/1\.1" (\d+)')
        return [(method, key, int(status)) for method, key, status in line.findall(plain)]


@contextlib.contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """Start a server on a free port, and stop it."""
    log = folder / "log"
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            [environment("s3") / "moto_server", "-H", "127.0.0.1", "-p", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=sink,
        ) as process,
    ):
        try:
            ends_s = time.monotonic() + START_S
            while not (found := re.search(r"Running on (http://\S+)", log.read_text("utf-8"))):
                assert process.poll() is None, log.read_text("utf-8")
                assert time.monotonic() < ends_s, "the server doesn't say where it listens"
                time.sleep(0.05)
            yield S3Server(found[1], log)
        finally:
            process.kill()
