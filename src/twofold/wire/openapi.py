"""The OpenAPI 3.1 document of a server: everything it answers, for the models it serves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from twofold.hybrid.settings import AnswerSettings
from twofold.serving.priority import Priority
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.wire import csv_text
from twofold.wire import openapi_schemas as schemas
from twofold.wire.describe import example_row
from twofold.wire.openapi_schemas import Schema
from twofold.wire.request_id import USABLE
from twofold.wire.statuses import REASONS, STATUSES
from twofold.wire.v2_datatypes import OF_FIELD

ANY = (400, 405, 408, 413, 414, 417, 431, 500, 503)
"""What any request may be refused with: 405 is for methods other than the ones described."""
OF_MODEL = (404,)
"""A version that was there may be replaced."""
INFER = (404, 415, 422, 504)
WITH_KEYS = (401, 403, 429)
RETRY_AFTER: Schema = {
    "description": "Seconds after which the request may be sent again.",
    "schema": {"type": "integer", "minimum": 1},
}
HEADERS: dict[int, Schema] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    405: {"Allow": {"required": True, "schema": schemas.TEXT}},
    429: {"Retry-After": {**RETRY_AFTER, "required": True}},
    503: {"Retry-After": RETRY_AFTER},
}
"""The headers of refusals."""
TIMING: Schema = {
    "Server-Timing": {
        "description": "How long the request's stages took, if it asked with X-Twofold-Timing.",
        "schema": schemas.TEXT,
    }
}
REQUEST_ID: Schema = {
    "X-Request-Id": {
        "description": (
            "The request's own, or another in place of one that can't be used; without one, only "
            "where its failure was logged under it."
        ),
        "schema": {"type": "string", "pattern": f"^{USABLE.pattern.decode()}$"},
    }
}
OF_ANSWER: Schema = REQUEST_ID | TIMING
"""The headers of every answer that holds predictions."""
MADE_BY: Schema = {
    f"X-Twofold-{fact}": {"required": True, "schema": schemas.TEXT}
    for fact in ("Model", "Version", "Source")
}
PARAMETERS = ("deadline", "priority", "timing", "requestId")
"""What any request for predictions may ask for in its headers."""
HEADER_LENGTH = "Inference-Header-Content-Length"
KEYS: Schema = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
Answering = Mapping[str, AnswerSettings]
"""Which models answer by key, and when what is stored is an answer."""
NO_ANSWERS: Answering = MappingProxyType({})
V1, V2, MLFLOW, SERVER = "twofold", "Open Inference Protocol V2", "MLflow", "server"
"""The tags, by which viewers group operations."""
TEXT, OCTETS, CSV = "text/plain", "application/octet-stream", "text/csv"


def openapi(
    service: Service, settings: ServeSettings, *, version: str, answering: Answering = NO_ANSWERS
) -> dict[str, Any]:
    """Describe everything a server answers.

    Args:
        service: The models.
        settings: Their limits, and whether there are API keys.
        version: Of twofold.
        answering: What answers by key, by the name of the model.
    """
    paths = dict(_paths(service, settings, answering))
    keys = bool(settings.api_keys)
    components: Schema = {
        "schemas": dict(_schemas(service, settings, answering)),
        "parameters": _parameters(settings),
        "responses": {str(status): _refusal(status) for status in sorted(set(STATUSES.values()))},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "twofold",
            "version": version,
            "summary": f"Predictions of {', '.join(service.versions)}.",
        },
        "tags": [{"name": tag} for tag in (V1, V2, MLFLOW, SERVER)],
        "paths": paths,
        "components": components | ({"securitySchemes": KEYS} if keys else {}),
    }


def _paths(
    service: Service, settings: ServeSettings, answering: Answering
) -> Iterator[tuple[str, Any]]:
    for name, versions in service.versions.items():
        for item in versions.values():
            pinned = f"{name}/versions/{item.version}"
            yield from _version_paths(item, pinned, f"{name}-{item.version}", settings)
            if item is service.default(name):
                yield from _version_paths(item, name, f"{name}-default", settings)
                if name in answering:
                    yield from _answer_paths(item, settings)
    first = service.default(next(iter(service.versions)))
    yield "/invocations", {"post": _invocations(first, settings)}
    yield from _other_paths()


def _version_paths(
    item: Served, path: str, suffix: str, settings: ServeSettings
) -> Iterator[tuple[str, Any]]:
    v1, v2 = f"/v1/models/{path}", f"/v2/models/{path}"
    title = f"{item.name} version {item.version}"
    yield f"{v1}/predict", {"post": _predict(item, suffix, settings)}
    about = f"Signature, output and runtimes of {title}."
    yield v1, _get(f"describe-{suffix}", about, _ref("Model"), V1, OF_MODEL)
    yield f"{v2}/infer", {"post": _infer(item, suffix, settings)}
    about = f"Inputs and outputs of {title}."
    yield v2, _get(f"metadata-{suffix}", about, _ref("Metadata"), V2, OF_MODEL)
    about = f"The same in the words of Triton's ModelConfig, for {title}."
    yield f"{v2}/config", _get(f"config-{suffix}", about, _ref("Config"), V2, OF_MODEL)
    ready = schemas.closed(name={"const": item.name}, ready={"const": True})
    answer = _get(f"ready-{suffix}", f"Whether {title} can predict now.", ready, V2, OF_MODEL)
    unready = schemas.closed(name={"const": item.name}, ready={"const": False})
    yield f"{v2}/ready", _or_unready(answer, unready)


def _other_paths() -> Iterator[tuple[str, Any]]:
    yield "/v1/models", _get("listModels", "The served models.", _ref("Models"), V1)
    yield "/v2", _get("server", "The server and its extensions.", schemas.SERVER, V2)
    live = schemas.closed(live={"const": True})
    yield "/v2/health/live", _get("live", "Whether the process is up.", live, V2)
    ready = schemas.closed(ready={"const": True})
    unready = schemas.closed(ready={"const": False})
    for path, name, tag in (
        ("/v2/health/ready", "ready", V2),
        ("/ping", "ping", MLFLOW),
        ("/health", "health", MLFLOW),
    ):
        what = "Whether models are loaded and requests are taken."
        yield path, _or_unready(_get(name, what, ready, tag), unready)
    answer = _answer("The versions.", _json(schemas.INDEX))
    index = _operation("index", "Every served version and its state.", V2, answer, (422,))
    index["requestBody"] = {"required": False, "content": _json(schemas.READY_ONLY)}
    yield "/v2/repository/index", {"post": index}
    yield "/version", _get("version", "The version of twofold.", schemas.TEXT, MLFLOW, kind=TEXT)
    what = "Prometheus metrics of all workers."
    yield "/metrics", _get("metrics", what, schemas.TEXT, SERVER, kind=TEXT)
    yield "/openapi.json", _get("openapi", "This document.", {"type": "object"}, SERVER)
    what = "This document, to read and try."
    yield "/docs", _get("docs", what, schemas.TEXT, SERVER, kind="text/html")


# Predicting


def _predict(item: Served, suffix: str, settings: ServeSettings) -> Schema:
    row = _ref(f"{_key(item)}-row")
    example = example_row(item)
    what = "The prediction, or one for each row in the order of the rows."
    answer = _answer(what, _json(schemas.predicted_schema(item)), OF_ANSWER)
    what = f"Predict one row, or many, with {item.name} version {item.version}."
    operation = _inferring(f"predict-{suffix}", what, V1, answer, settings)
    operation["requestBody"] = {
        "required": True,
        "content": _json(
            schemas.predict_schema(row, max_rows=settings.max_rows),
            one={"row": example},
            many={"rows": [example]},
        ),
    }
    return operation


def _infer(item: Served, suffix: str, settings: ServeSettings) -> Schema:
    content = {**_json(_ref(f"{_key(item)}-inferred")), OCTETS: {}}
    length: Schema = {
        HEADER_LENGTH: {
            "description": "Where the JSON ends and raw bytes begin, if there are any.",
            "schema": {"type": "integer", "minimum": 1},
        }
    }
    answer = _answer("A tensor per output.", content, OF_ANSWER | length)
    what = f"Infer with {item.name} version {item.version}."
    operation = _inferring(f"infer-{suffix}", what, V2, answer, settings)
    operation["parameters"].append(_ref(HEADER_LENGTH, "parameters"))
    operation["requestBody"] = {
        "required": True,
        "description": (
            "JSON; or, as the extension binary_tensor_data has it, JSON whose inputs have "
            "parameters.binary_data_size in place of data, and their raw bytes behind it."
        ),
        "content": {**_json(_ref(f"{_key(item)}-infer"), one=infer_example(item)), OCTETS: {}},
    }
    return operation


def _invocations(item: Served, settings: ServeSettings) -> Schema:
    content = {**_json(schemas.invoked_schema(item)), CSV: {"schema": schemas.TEXT}}
    what = "A prediction per row; as CSV if the request accepts that rather."
    answer = _answer(what, content, OF_ANSWER | MADE_BY)
    what = f"Predict rows with {item.name} version {item.version}, the first model of this server."
    operation = _inferring("invocations", what, MLFLOW, answer, settings)
    split, lines, table = invocations_examples(item)
    operation["requestBody"] = {
        "required": True,
        "description": (
            "Rows in one of four forms of JSON, as JSON lines, or as CSV, with a header line or "
            "without one."
        ),
        "content": {
            **_json(_ref(f"{_key(item)}-invocations"), one=split),
            "application/jsonlines": {"schema": schemas.TEXT, "example": lines},
            CSV: {"schema": schemas.TEXT, "example": table},
        },
    }
    return operation


def infer_example(item: Served) -> dict[str, Any]:
    """An infer request of one row."""
    row = example_row(item)
    return {
        "inputs": [
            {
                "name": field.name,
                "datatype": OF_FIELD[field.type],
                "shape": [1, field.length] if field.type == "tensor" else [1],
                "data": row.get(field.name) if field.type == "tensor" else [row.get(field.name)],
            }
            for field in item.signature.fields
        ]
    }


def invocations_examples(item: Served) -> tuple[dict[str, Any], str, str]:
    """One row in the ways of MLflow: as a split frame, as JSON lines, as CSV with a header."""
    names = list(item.signature.names)
    example = example_row(item)
    row: list[Any] = msgspec.to_builtins([example.get(name) for name in names])
    texts = [msgspec.json.encode(v).decode() if isinstance(v, list) else v for v in row]
    table = csv_text.lines([[name, text] for name, text in zip(names, texts, strict=True)])
    lines = msgspec.json.encode(row).decode() + "\n"
    return {"dataframe_split": {"columns": names, "data": [row]}}, lines, table.decode()


# Answers by key


def _answer_paths(item: Served, settings: ServeSettings) -> Iterator[tuple[str, Any]]:
    path, name = f"/v1/models/{item.name}/answers", item.name
    one = _ref(f"{name}-answer")
    what = "What the last batch run predicted for a key, while it is fresh; else a live prediction."
    by_path = _inferring(
        f"answer-{name}", what, V1, _answer("The answer.", _json(one), OF_ANSWER), settings
    )
    for parameter in ("key", "maxAge", "features"):
        by_path["parameters"].append(_ref(parameter, "parameters"))
    yield f"{path}/{{key}}", {"get": by_path}
    either = _answer(
        "The answer; or of many keys a list, in their order, in which some may have failed.",
        _json({"oneOf": [one, _ref(f"{name}-answers")]}),
        OF_ANSWER,
    )
    what = "The same for a key with its row, should it be known, or for many keys at once."
    by_body = _inferring(f"ask-{name}", what, V1, either, settings)
    example = example_row(item)
    by_body["requestBody"] = {
        "required": True,
        "content": _json(
            _ref(f"{name}-ask"),
            one={"key": "7590-VHVEG", "row": example},
            many={"keys": ["7590-VHVEG", 17]},
        ),
    }
    yield path, {"post": by_body}


# Parts


def _key(item: Served) -> str:
    return f"{item.name}-{item.version}"


def _schemas(
    service: Service, settings: ServeSettings, answering: Answering
) -> Iterator[tuple[str, Schema]]:
    yield "Error", schemas.ERROR
    yield "Models", schemas.MODELS
    yield "Model", schemas.MODEL
    yield "Metadata", schemas.METADATA
    yield "Config", schemas.CONFIG
    most = settings.max_rows
    for versions in service.versions.values():
        for item in versions.values():
            yield f"{_key(item)}-row", schemas.row_schema(item.signature)
            yield f"{_key(item)}-infer", schemas.infer_schema(item, max_rows=most)
            yield f"{_key(item)}-inferred", schemas.inferred_schema(item)
    for name, policy in answering.items():
        item = service.default(name)
        row = _ref(f"{_key(item)}-row")
        yield f"{name}-answer", schemas.answer_schema(item)
        yield f"{name}-answers", schemas.answers_schema(_ref(f"{name}-answer"))
        yield f"{name}-ask", schemas.ask_schema(item.signature, row, max_keys=policy.max_keys)
    first = service.default(next(iter(service.versions)))
    yield f"{_key(first)}-invocations", schemas.invocations_schema(first, max_rows=most)


def _parameters(settings: ServeSettings) -> Schema:
    deadline = (
        "Milliseconds after which an answer is of no use; then 504. "
        f"Without it: {settings.deadline_s * 1000:g}."
    )
    words = [priority.word for priority in Priority]
    return {
        "deadline": _header(
            "X-Twofold-Deadline-Ms",
            deadline,
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000_000},
        ),
        "priority": _header(
            "X-Twofold-Priority",
            "How important the request is: of too many, the least important are refused first.",
            {"enum": words},
        ),
        "timing": _header(
            "X-Twofold-Timing",
            "Whatever its value: the answer says how long its stages took.",
            schemas.TEXT,
        ),
        "requestId": _header(
            "X-Request-Id",
            "Under which the request is in logs and traces: up to 128 visible ASCII characters. "
            "Another is put in place of one that can't be used.",
            schemas.TEXT,
        ),
        HEADER_LENGTH: _header(
            HEADER_LENGTH,
            "Where the JSON ends, if raw bytes follow it.",
            {"type": "integer", "minimum": 1},
        ),
        "key": {
            "name": "key",
            "in": "path",
            "required": True,
            "description": "The key as it stands in the batch's key column. Slashes may be in it.",
            "schema": schemas.TEXT,
        },
        "maxAge": {
            "name": "max_age_s",
            "in": "query",
            "required": False,
            "description": "Age in seconds up to which a stored prediction is fresh.",
            "schema": {"type": "number", "minimum": 0},
        },
        "features": {
            "name": "features",
            "in": "query",
            "required": False,
            "description": "Whether the features that the batch had are answered, too.",
            "schema": {"type": "boolean"},
        },
    }


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": schema,
    }


def _inferring(
    name: str, summary: str, tag: str, answer: Schema, settings: ServeSettings
) -> Schema:
    keys = bool(settings.api_keys)
    operation = _operation(name, summary, tag, answer, INFER + (WITH_KEYS if keys else ()))
    operation["parameters"] = [_ref(parameter, "parameters") for parameter in PARAMETERS]
    if keys:
        operation["security"] = [{scheme: []} for scheme in KEYS]
    return operation


def _get(
    name: str,
    summary: str,
    schema: Schema,
    tag: str,
    refusals: tuple[int, ...] = (),
    *,
    kind: str = "application/json",
) -> Schema:
    answer = _answer(summary, {kind: {"schema": schema}})
    return {"get": _operation(name, summary, tag, answer, refusals)}


def _or_unready(methods: Schema, unready: Schema) -> Schema:
    """Add what says that it isn't ready, beside the refusals of the same status."""
    either = {"anyOf": [unready, _ref("Error")]}
    methods["get"]["responses"]["503"] = _answer("It isn't.", _json(either), _of_refusal(503))
    return methods


def _operation(
    name: str, summary: str, tag: str, answer: Schema, refusals: tuple[int, ...]
) -> Schema:
    refused = {str(code): _ref(str(code), "responses") for code in sorted((*ANY, *refusals))}
    return {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "responses": {"200": answer, **refused},
    }


def _refusal(status: int) -> Schema:
    codes = ", ".join(code for code, of in STATUSES.items() if of == status)
    described = f"{REASONS[status]}: {codes}"
    return _answer(described, _json(_ref("Error")), _of_refusal(status))


def _of_refusal(status: int) -> Schema:
    return HEADERS.get(status, {}) | REQUEST_ID


def _answer(description: str, content: Schema, headers: Schema | None = None) -> Schema:
    answer: Schema = {"description": description, "content": content}
    return answer if headers is None else answer | {"headers": headers}


def _json(schema: Schema, **examples: Any) -> Schema:
    content: Schema = {"schema": schema}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": content}


def _ref(name: str, kind: str = "schemas") -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}
