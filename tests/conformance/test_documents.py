"""What a server says about itself is true to those who read it: Schemathesis and Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign import HERE, environment, skip
from models import SERVED

from twofold.app.serve import running_server
from twofold.serving.settings import ServeSettings

# Bounds the time as well, which no clock does: every run makes the same requests.
EXAMPLES = 25
TIMEOUT_S = 600
CLIENTS = HERE / "clients"


def schemathesis(url: str, folder: Path, *arguments: str) -> int:
    """Let Schemathesis send what the document promises, and what it doesn't; count its requests."""
    command = [
        environment("documents") / "python", "-m", "schemathesis.cli",
        "--config-file", CLIENTS / "schemathesis.toml",
        "run", f"{url}/openapi.json",
        "--checks=all",
        f"--max-examples={EXAMPLES}",
        "--seed=1",
        "--generation-database=none",
        "--continue-on-failure",
        # A made-up key beside the real one would only make it a matter of which counts.
        "--generation-with-security-parameters=false",
        "--no-color",
        *arguments,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=folder,  # It leaves its notes there.
        env={**os.environ, "PYTHONPATH": str(CLIENTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    found = re.search(r"generated, (\d+) passed", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


def test_whatever_the_document_promises_holds_for_thousands_of_generated_requests(
    registry: Path, tmp_path: Path
) -> None:
    environment("documents")
    settings = ServeSettings(port=0, workers=1, deadline_s=30.0, max_rows=40)
    with running_server(SERVED, registry=registry, settings=settings) as url:
        passed = schemathesis(
            url,
            tmp_path,
            # The server keeps nothing between requests that the phase `stateful` could be about.
            "--phases=examples,coverage,fuzzing",
            # Of a version's two paths, with its number and without, one is enough for most models.
            "--exclude-path-regex=/(forest|species|visits)/versions/",
        )
    assert passed > 4_000


@pytest.fixture(scope="module")
def guarded(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server that wants a key, and one."""
    environment("documents")
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    made = subprocess.run(
        [sys.executable, "-m", "twofold", "keys", "new", "reader", f"--file={file}", "--json"],
        capture_output=True,
        check=True,
    )
    settings = ServeSettings(port=0, workers=1, deadline_s=30.0, api_keys=str(file))
    with running_server(SERVED[:1], registry=registry, settings=settings) as url:
        yield url, json.loads(made.stdout)["key"]


@pytest.mark.parametrize("header", ["Authorization: Bearer {}", "X-Api-Key: {}"])
def test_key_is_asked_for_wherever_the_document_says_so_and_is_enough_in_either_header(
    guarded: tuple[str, str], tmp_path: Path, header: str
) -> None:
    url, key = guarded
    passed = schemathesis(
        url, tmp_path, "--phases=examples,coverage", f"--header={header.format(key)}"
    )
    assert passed > 1_000


def metrics_of(url: str) -> bytes:
    # The address is this machine's, made by the fixture.
    with urllib.request.urlopen(f"{url}/metrics") as response:  # noqa: S310
        return response.read()


def test_metrics_are_parsed_by_the_client_library_as_what_they_say_they_are(
    client: Callable[[str], Any], url: str
) -> None:
    families = {family["name"]: family for family in client("documents")("metrics")}
    assert {family["type"] for family in families.values()} == {"counter", "gauge", "histogram"}
    assert all(family["help"] for family in families.values())
    versions = {labels["model"] for _, labels, _ in families["twofold_requests"]["samples"]}
    assert versions == set(SERVED)


def test_promtool_finds_no_fault_with_the_metrics(request: pytest.FixtureRequest) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        skip("needs promtool, of Debian's package prometheus")
    done = subprocess.run(
        [str(promtool), "check", "metrics"],
        input=metrics_of(request.getfixturevalue("url")),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
