"""What is served, as plain JSON values: the facts behind the model pages and the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twofold.model.signature import Field
from twofold.serving.service import Served, Service

EXAMPLES: dict[str, Any] = {
    "bool": True,
    "int64": 1,
    "float32": 0.5,
    "float64": 0.5,
    "string": "text",
    "timestamp": "2026-01-31T12:00:00",
}


def describe_models(service: Service) -> dict[str, Any]:
    """`GET /v1/models`: every served version; the default of a model answers unpinned requests."""
    return {
        "models": [
            {"name": name, "version": version, "default": item is service.default(name)}
            for name, versions in service.versions.items()
            for version, item in versions.items()
        ]
    }


def describe_model(served: Served) -> dict[str, Any]:
    """`GET /v1/models/{model}`: signature, output and runtimes of one version."""
    record, signature, output = served.record, served.signature, served.output
    return {
        "name": served.name,
        "version": served.version,
        "digest": record.digest,
        "framework": record.framework,
        "created_at": record.created_at,
        "runtimes": {"batch": record.runtimes.batch, "real_time": record.runtimes.real_time},
        "inputs": [_field(field) for field in signature.fields],
        "ignored": list(signature.ignored),
        "extra_fields": signature.extra_fields,
        "output": {
            "kind": output.kind,
            "type": output.type,
            "names": list(output.names),
            "classes": None if output.classes is None else list(output.classes),
        },
    }


def _field(field: Field) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": field.name, "type": field.type, "nullable": field.nullable}
    if field.categories is not None:
        facts["categories"] = list(field.categories)
        facts["unknown_categories"] = field.unknown_categories
    if field.type == "tensor":
        facts["length"] = field.length
    if field.type == "timestamp":
        facts["zoned"] = field.zoned
    return facts


def example_row(served: Served) -> Mapping[str, Any]:
    """A row the model takes: one of its sample, else one made from its signature."""
    if served.example is not None:
        return served.example
    return {field.name: _example(field) for field in served.signature.fields}


def _example(field: Field) -> Any:
    if field.categories:
        return field.categories[0]
    if field.type == "tensor":
        return [0.5] * (field.length or 0)
    value = EXAMPLES[field.type]
    return value + "Z" if field.zoned else value
