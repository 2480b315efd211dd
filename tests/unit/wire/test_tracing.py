"""Whether to trace is what OpenTelemetry's own variables say."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from twofold.errors import ConfigError
from twofold.wire import tracing

HTTP, GRPC, CONSOLE = "otlp_proto_http", "otlp_proto_grpc", "console"
EXPORTER = "OTEL_TRACES_EXPORTER"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
TRACES_PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
DISABLED = "OTEL_SDK_DISABLED"
URL = "http://collector:4318"


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "shop"}, []),
        ({EXPORTER: "none"}, []),
        ({EXPORTER: "none", ENDPOINT: URL}, []),
        ({EXPORTER: " ", ENDPOINT: ""}, []),
        ({EXPORTER: "otlp"}, [HTTP]),
        ({EXPORTER: "", ENDPOINT: URL}, [HTTP]),
        ({ENDPOINT: URL}, [HTTP]),
        ({TRACES_ENDPOINT: URL}, [HTTP]),
        ({EXPORTER: "console"}, [CONSOLE]),
        ({EXPORTER: "console", ENDPOINT: URL}, [CONSOLE]),
        ({EXPORTER: "console, otlp,console"}, [CONSOLE, HTTP]),
        ({EXPORTER: "zipkin"}, ["zipkin"]),
        ({EXPORTER: "otlp", DISABLED: "false"}, [HTTP]),
        ({EXPORTER: "otlp", DISABLED: " True "}, []),
        ({EXPORTER: "otlp", PROTOCOL: "grpc"}, [GRPC]),
        ({EXPORTER: "otlp", PROTOCOL: "http/protobuf"}, [HTTP]),
        ({EXPORTER: "otlp", PROTOCOL: "grpc", TRACES_PROTOCOL: "http/protobuf"}, [HTTP]),
    ],
)
def test_exporters_are_those_that_the_environment_asks_for(
    environment: dict[str, str], names: list[str]
) -> None:
    assert tracing.exporters(environment) == names


@pytest.mark.parametrize("variable", [PROTOCOL, TRACES_PROTOCOL])
def test_unknown_protocol_is_named_with_the_way_out(variable: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tracing.exporters({EXPORTER: "otlp", variable: "http/json"})
    assert str(caught.value) == (
        f"{variable}: expected http/protobuf or grpc, got 'http/json'. "
        "Set http/protobuf, which the extra otel brings."
    )


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The exporters that are installed, to be changed."""
    names: set[str] = set()

    def entry_points(*, group: str, name: str | None = None) -> list[Any]:
        assert group == "opentelemetry_traces_exporter"
        return [SimpleNamespace(name=item) for item in names if name in (None, item)]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    return names


def test_what_nobody_asks_for_need_not_be_installed(installed: set[str]) -> None:
    assert tracing.check({}) == []


@pytest.mark.parametrize("name", ["otlp", "console"])
def test_missing_package_is_named_with_its_extra(installed: set[str], name: str) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'twofold\[otel\]'"):
        tracing.check({EXPORTER: name})


def test_unknown_exporter_is_named_with_those_that_there_are(installed: set[str]) -> None:
    installed |= {HTTP, CONSOLE}
    assert tracing.check({EXPORTER: "otlp,console"}) == [HTTP, CONSOLE]
    with pytest.raises(ConfigError) as caught:
        tracing.check({EXPORTER: "otlp,zipkin"})
    assert str(caught.value) == (
        "OTEL_TRACES_EXPORTER: expected one of console, otlp, otlp_proto_http, none, got "
        "'zipkin'. Name one of them, or install the package that brings it."
    )


def test_nothing_of_opentelemetry_is_imported_to_decide() -> None:
    code = (
        "import os, sys; from twofold.wire.tracing import check; check(os.environ); "
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
