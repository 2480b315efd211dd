"""Whether to trace, as OpenTelemetry's own environment variables say; no settings of ours.

This file decides and imports nothing of OpenTelemetry; `twofold.wire.opentelemetry` does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from twofold.errors import ConfigError, missing_extra, problem

GROUP = "opentelemetry_traces_exporter"
"""Under this name packages say which exporters they bring."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP, GRPC = "http/protobuf", "grpc"
EXPORTERS = {HTTP: "otlp_proto_http", GRPC: "otlp_proto_grpc"}
"""The exporter of each protocol of OTLP."""
OURS = ("otlp_proto_http", "console")
"""The exporters that the extra brings."""


def exporters(environment: Mapping[str, str]) -> list[str]:
    """The exporters that the environment asks for, by the names under which packages bring them.

    It asks by OTEL_TRACES_EXPORTER, or by an endpoint; OTEL_SDK_DISABLED takes it back.

    Args:
        environment: The environment variables.

    Raises:
        ConfigError: OTLP is to be spoken in a way that nobody knows.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    asked = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    if not asked and any(environment.get(name, "").strip() for name in ENDPOINTS):
        asked = "otlp"
    names = [name.strip() for name in asked.split(",")]
    return [
        _of_protocol(environment) if name == "otlp" else name
        for name in dict.fromkeys(names)
        if name not in ("", "none")
    ]


def check(environment: Mapping[str, str]) -> list[str]:
    """Give the exporters that are asked for, once it is sure that they are installed.

    Raises:
        ConfigError: One isn't.
    """
    names = exporters(environment)
    if not names:
        return names
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to import, and few trace

    for name in names:
        if entry_points(group=GROUP, name=name):
            continue
        if name in OURS:
            raise missing_extra("opentelemetry-sdk", "otel", "tracing")
        known = ", ".join(sorted({item.name for item in entry_points(group=GROUP)} | {"otlp"}))
        raise ConfigError(
            problem(
                "OTEL_TRACES_EXPORTER",
                f"one of {known}, none",
                repr(name),
                "Name one of them, or install the package that brings it.",
            )
        )
    return names


def _of_protocol(environment: Mapping[str, str]) -> str:
    for variable in PROTOCOLS:
        protocol = environment.get(variable, "").strip()
        if protocol in EXPORTERS:
            return EXPORTERS[protocol]
        if protocol:
            fix = f"Set {HTTP}, which the extra otel brings."
            raise ConfigError(problem(variable, f"{HTTP} or {GRPC}", repr(protocol), fix))
    return EXPORTERS[HTTP]
