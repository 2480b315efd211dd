"""`twofold serve` up to the moment it would serve: flags, settings, errors."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from twofold.serving.settings import ServeSettings
from twofold.settings import declared_in


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def port() -> Iterator[int]:
    with taken_port() as port:
        yield port


def tried(cli: Any, *flags: str, **environment: str) -> str:
    """The address that a server on a taken port says it tried."""
    error = cli.json("serve", "price", *flags, code=1, **environment)
    assert error["code"] == "ConfigError"
    return error["error"].partition("expected a free port, got ")[2].partition(": ")[0]


def test_a_taken_port_is_an_error_with_the_way_out(cli: Any, port: int) -> None:
    result = cli("serve", "price", "--port", str(port), "--json", code=1)
    message = (
        f"serve.port: expected a free port, got 127.0.0.1:{port}: Address already in use. "
        "Choose another with --port, or --port 0 for any free one."
    )
    assert json.loads(result.stdout) == {"error": message, "code": "ConfigError", "exit_code": 1}
    assert result.stderr == f"error: {message}\n"


def test_the_port_is_the_flag_s_else_the_variable_s_else_the_file_s(cli: Any) -> None:
    with taken_port() as file, taken_port() as variable, taken_port() as flag:
        Path("twofold.toml").write_text(f"[serve]\nport = {file}\n", encoding="utf-8")
        environment = {"TWOFOLD_SERVE_PORT": str(variable)}
        assert tried(cli) == f"127.0.0.1:{file}"
        assert tried(cli, **environment) == f"127.0.0.1:{variable}"
        assert tried(cli, "--port", str(flag), **environment) == f"127.0.0.1:{flag}"


def test_the_host_is_a_setting_too(cli: Any, port: int) -> None:
    error = cli.json("serve", "price", code=1, TWOFOLD_SERVE_HOST="256.0.0.1")
    assert error["error"].startswith("serve.host: expected an address, got 256.0.0.1: ")
    assert tried(cli, f"--port={port}", "--host=0.0.0.0", "--allow-public") == f"0.0.0.0:{port}"


def test_a_public_host_without_keys_or_tls_is_an_error_with_the_ways_out(
    cli: Any, port: int
) -> None:
    error = cli.json("serve", "price", f"--port={port}", "--host=0.0.0.0", code=1)
    assert error["code"] == "ConfigError"
    assert error["error"].startswith("serve.host: expected API keys or TLS on a public address")


@pytest.mark.parametrize("given", [["--allow-public"], ["--allow-public=true"]])
def test_a_flag_that_is_true_or_false_may_stand_alone(
    cli: Any, port: int, given: list[str]
) -> None:
    host = [f"--port={port}", "--host=0.0.0.0"]
    # Alone, it takes nothing from what follows.
    assert tried(cli, *given, *host) == f"0.0.0.0:{port}"
    assert tried(cli, *host, *given) == f"0.0.0.0:{port}"
    error = cli.json("serve", "price", *host, "--allow-public=false", code=1)
    assert error["error"].startswith("serve.host: ")


def test_what_is_wrong_with_the_files_named_is_an_error(cli: Any, port: int) -> None:
    for flag, words in [
        ("--tls-cert=no.pem", "serve.tls_cert: expected a certificate and its key, got "),
        ("--tls-key=no.pem", "serve.tls_cert: expected a file with tls_key, got none."),
        ("--api-keys=no.toml", "no.toml: expected a file of keys, got No such file"),
        ("--uds=no/where", "serve.uds: expected a free path, got no/where: No such file"),
    ]:
        error = cli.json("serve", "price", f"--port={port}", flag, code=1)
        assert error["error"].startswith(words)


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["nope"], "UnknownModel", "registry registry: expected a model among: price, got 'nope'"),
        (["price", "price@2"], "UnknownModel", "price: expected a version among: 1, got '2'"),
        (["price:day"], "UnknownModel", "price: expected an alias among: none, got 'day'"),
        (["../price"], "InvalidInput", "model name: expected 1 to 64 letters"),
        (["price", "--registry", "no"], "UnknownModel", "registry no: expected a model among: no"),
    ],
)
def test_a_model_that_is_not_there_is_an_error(
    cli: Any, port: int, arguments: list[str], kind: str, words: str
) -> None:
    error = cli.json("serve", *arguments, "--port", str(port), code=1)
    assert (error["code"], error["exit_code"]) == (kind, 1)
    assert words in error["error"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "99999"], ["--port: expected 0 to 65535, got 99999."]),
        (["--port", "-1"], ["--port: expected 0 to 65535, got -1."]),
        (["--port", "http"], ["--port: expected a whole number, got 'http'."]),
        (["--port", ""], ["--port: expected a whole number, got ''."]),
        (["--workers", "257"], ["--workers: expected 0 to 256, got 257."]),
        (["--deadline-s", "0"], ["--deadline-s: expected 0.001 to 3600.0, got 0.0."]),
        (["--drain-s", "inf"], ["--drain-s: expected a number, got 'inf'."]),
        (
            ["--max-rows=0", "--max-body-bytes=0", "--port=x"],
            ["--max-rows: expected 1", "--max-body-bytes: expected 1", "--port: expected a whole"],
        ),
        (["--prt", "1"], ["No such option '--prt'."]),
        (["--port"], ["Option '--port' requires an argument."]),
        (["--uds"], ["Option '--uds' requires an argument."]),
        (["--allow-public=maybe"], ["--allow-public: expected true or false, got 'maybe'."]),
    ],
)
def test_wrong_flags_are_wrong_usage_all_at_once(
    cli: Any, flags: list[str], words: list[str]
) -> None:
    # Of a model that isn't there: flags that were taken by mistake would start a server.
    said = cli.said("serve", "nope", *flags, code=2)
    assert [part for part in words if part not in said] == []


def test_problems_of_file_variables_and_flags_are_reported_together(cli: Any) -> None:
    Path("twofold.toml").write_text("[serve]\nprt = 1\n", encoding="utf-8")
    result = cli("serve", "price", "--workers=x", code=2, TWOFOLD_SERVE_PORT="y")
    assert result.stdout == ""
    for words in (
        "twofold.toml: serve.prt: expected one of ",
        "TWOFOLD_SERVE_PORT: expected a whole number, got 'y'.",
        "--workers: expected a whole number, got 'x'.",
    ):
        assert words in result.stderr


def test_a_model_must_be_named(cli: Any) -> None:
    assert "Error: Missing argument 'MODEL...'." in cli.said("serve", code=2)


def test_the_help_has_a_flag_for_every_setting_with_its_meaning_and_default(cli: Any) -> None:
    shown = " ".join(cli("serve", "--help").stdout.split())
    items = declared_in(ServeSettings, "serve")
    assert len(items) > 10
    for item in items:
        said = f"{item.flag} VALUE {item.doc}"
        # What is empty or false unless it is given needs no words.
        if not (item.default == "" or item.default is False):
            said += f" [default: {item.default}]"
        # A long word may be broken at a hyphen.
        assert said.replace(" ", "") in shown.replace(" ", "")
