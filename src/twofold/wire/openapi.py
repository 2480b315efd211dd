"""The OpenAPI 3.1 document of a server: its routes, and the rows of the models it serves."""

from __future__ import annotations

from typing import Any

from twofold.model.rows import MAX_INT64
from twofold.model.signature import Field, Output, Signature
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.wire.describe import example_row
from twofold.wire.statuses import REASONS, STATUSES

PREDICT_STATUSES = (400, 404, 408, 413, 414, 415, 417, 422, 431, 500, 503, 504)
JSON_TYPES = {
    "bool": "boolean",
    "int64": "integer",
    "float32": "number",
    "float64": "number",
    "string": "string",
    "timestamp": "string",
    "tensor": "array",
}


def openapi(service: Service, settings: ServeSettings, *, version: str) -> dict[str, Any]:
    """Describe everything a server answers.

    Args:
        service: The models.
        settings: Their limits.
        version: Of twofold.
    """
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"Error": _error_schema()}
    for name, versions in service.versions.items():
        for item in versions.values():
            key = f"{name}-{item.version}"
            schemas[f"{key}-row"] = row_schema(item.model.signature)
            operation = _predict_operation(item, key, settings)
            paths[f"/v1/models/{name}/versions/{item.version}/predict"] = {"post": operation}
            if item is service.default(name):
                shown = {**operation, "operationId": f"predict-{name}-default"}
                paths[f"/v1/models/{name}/predict"] = {"post": shown}
    paths |= _other_paths(service)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "twofold",
            "version": version,
            "summary": f"Predictions of {', '.join(service.versions)}.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                str(status): {
                    "description": f"{REASONS[status]}: "
                    + ", ".join(code for code, of in STATUSES.items() if of == status),
                    "content": _json({"$ref": "#/components/schemas/Error"}),
                }
                for status in sorted(set(STATUSES.values()))
            },
        },
    }


def row_schema(signature: Signature) -> dict[str, Any]:
    """The JSON Schema of one row: an object by field name, or a list in the signature's order."""
    fields = {field.name: _field_schema(field) for field in signature.fields}
    ignored: dict[str, Any] = {
        name: {"description": "Not used by the model; may be sent."} for name in signature.ignored
    }
    return {
        "oneOf": [
            {
                "type": "object",
                "properties": fields | ignored,
                "required": list(fields),
                "additionalProperties": signature.extra_fields == "ignore",
            },
            {
                "type": "array",
                "prefixItems": list(fields.values()),
                "minItems": len(fields),
                "maxItems": len(fields),
            },
        ]
    }


def _field_schema(field: Field) -> dict[str, Any]:
    kind = JSON_TYPES[field.type]
    schema: dict[str, Any] = {"type": [kind, "null"] if field.nullable else kind}
    if field.type == "int64":
        schema |= {"format": "int64", "minimum": -MAX_INT64 - 1, "maximum": MAX_INT64}
    elif field.type == "tensor":
        length = field.length or 0
        schema |= {"items": {"type": "number"}, "minItems": length, "maxItems": length}
    elif field.type == "timestamp":
        schema["description"] = field.expects
        if field.zoned:
            schema["format"] = "date-time"
    elif field.categories is not None and field.unknown_categories == "refuse":
        schema["enum"] = [*field.categories, None] if field.nullable else list(field.categories)
    return schema


def _prediction_schema(output: Output) -> dict[str, Any]:
    one: dict[str, Any] = {"type": JSON_TYPES[output.type]}
    if output.kind == "probability":
        one |= {"minimum": 0, "maximum": 1}
    if len(output.names) == 1:
        return one
    return {
        "type": "object",
        "properties": dict.fromkeys(output.names, one),
        "required": list(output.names),
    }


def _predict_operation(item: Served, key: str, settings: ServeSettings) -> dict[str, Any]:
    row = {"$ref": f"#/components/schemas/{key}-row"}
    rows = {"type": "array", "items": row, "maxItems": settings.max_rows}
    example = example_row(item)
    source = {
        "model": {"const": item.name},
        "version": {"const": item.version},
        "source": {"const": "live"},
    }
    one = _prediction_schema(item.model.output)
    many = {"type": "array", "items": one}
    return {
        "operationId": f"predict-{key}",
        "summary": f"Predict one row, or many, with {item.name} version {item.version}.",
        "parameters": [
            {
                "name": "X-Twofold-Deadline-Ms",
                "in": "header",
                "required": False,
                "description": "Milliseconds after which an answer is of no use; then 504. "
                f"Without it: {settings.deadline_s * 1000:g}.",
                "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 999_999_999},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [_object(row=row), _object(rows=rows)]},
                    "examples": {
                        "one": {"value": {"row": example}},
                        "many": {"value": {"rows": [example]}},
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": "The prediction, or one for each row in the order of the rows.",
                "content": _json(
                    {
                        "oneOf": [
                            _object(prediction=one, **source),
                            _object(predictions=many, **source),
                        ]
                    }
                ),
            },
            **_refusals(PREDICT_STATUSES),
        },
    }


def _other_paths(service: Service) -> dict[str, Any]:
    paths: dict[str, Any] = {
        "/v1/models": _get("listModels", "The served models."),
        "/v2/health/live": _get("live", "Whether the process is up."),
        "/v2/health/ready": _get("ready", "Whether models are loaded and requests are taken.", 503),
        "/metrics": _get("metrics", "Prometheus metrics of all workers.", kind="text/plain"),
        "/openapi.json": _get("openapi", "This document."),
        "/docs": _get("docs", "This document, to read and try.", kind="text/html"),
    }
    for name, versions in service.versions.items():
        about = f"Signature, output and runtimes of {name}"
        paths[f"/v1/models/{name}"] = _get(f"describe-{name}-default", about + ".")
        for version in versions:
            paths[f"/v1/models/{name}/versions/{version}"] = _get(
                f"describe-{name}-{version}", f"{about} version {version}."
            )
    return paths


def _get(
    operation: str, summary: str, *refusals: int, kind: str = "application/json"
) -> dict[str, Any]:
    schema = {"type": "object"} if kind == "application/json" else {"type": "string"}
    answers: dict[str, Any] = {
        "200": {"description": summary, "content": {kind: {"schema": schema}}}
    }
    for status in refusals:
        answers[str(status)] = {"description": "It isn't.", "content": _json({"type": "object"})}
    return {"get": {"operationId": operation, "summary": summary, "responses": answers}}


def _refusals(statuses: tuple[int, ...]) -> dict[str, Any]:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _object(**members: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def _error_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "where: expected X, got Y. Fix."},
            "code": {"enum": sorted(STATUSES)},
            "field": {"type": "string", "description": "The field at fault, if one is."},
            "request_id": {"type": "string", "description": "To ask the operator about."},
        },
        "required": ["error", "code"],
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
