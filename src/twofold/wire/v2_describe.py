"""What is served, in the words of the Open Inference Protocol and of Triton's extensions of it.

https://github.com/kserve/open-inference-protocol and the folder docs/protocol of Triton's server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.rows import describe
from twofold.serving.service import Contract, Health, Service
from twofold.wire.statuses import WireError
from twofold.wire.v2_datatypes import OF_FIELD, OF_OUTPUT

SERVER = "twofold"
EXTENSIONS = ("binary_tensor_data", "model_configuration")
"""Those that are supported whole. Triton's `model_repository` isn't: models are loaded at start,
and only its index is answered."""
READY = "READY"
STATES = {
    Health.STARTING: ("LOADING", "the server is starting"),
    Health.READY: (READY, ""),
    Health.DRAINING: ("UNLOADING", "the server is stopping"),
}
"""The state of every model, and the reason for it."""


def server_live() -> dict[str, Any]:
    """`GET /v2/health/live`."""
    return {"live": True}


def server_ready(*, is_ready: bool) -> dict[str, Any]:
    """`GET /v2/health/ready`."""
    return {"ready": is_ready}


def model_ready(name: str, *, is_ready: bool) -> dict[str, Any]:
    """`GET /v2/models/{model}[/versions/{version}]/ready`."""
    return {"name": name, "ready": is_ready}


def server_metadata(version: str) -> dict[str, Any]:
    """`GET /v2`; the version is that of twofold."""
    return {"name": SERVER, "version": version, "extensions": list(EXTENSIONS)}


def model_metadata(served: Contract, versions: Iterable[str]) -> dict[str, Any]:
    """`GET /v2/models/{model}[/versions/{version}]`.

    Args:
        served: The version asked for.
        versions: Every served version of the model.
    """
    datatype = OF_OUTPUT[served.output.type].name
    return {
        "name": served.name,
        "versions": list(versions),
        "platform": _platform(served),
        "inputs": [
            {
                "name": field.name,
                "datatype": OF_FIELD[field.type],
                "shape": [-1, field.length] if field.type == "tensor" else [-1],
            }
            for field in served.signature.fields
        ],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1]} for name in served.output.names
        ],
    }


def model_config(served: Contract, *, max_rows: int) -> dict[str, Any]:
    """`GET /v2/models/{model}[/versions/{version}]/config`, as Triton's ModelConfig in JSON.

    There `dims` leave out the rows, and are never empty: inputs may have shape [rows, 1].
    """
    return {
        "name": served.name,
        "platform": _platform(served),
        "backend": SERVER,
        "max_batch_size": max_rows,
        "input": [
            {
                "name": field.name,
                "data_type": _config_type(OF_FIELD[field.type]),
                "dims": [field.length if field.type == "tensor" else 1],
            }
            for field in served.signature.fields
        ],
        "output": [
            {
                "name": name,
                "data_type": _config_type(OF_OUTPUT[served.output.type].name),
                "dims": [1],
            }
            for name in served.output.names
        ],
    }


def repository_index(service: Service, *, is_ready_only: bool) -> list[dict[str, Any]]:
    """`POST /v2/repository/index`: every served version, or only those that can predict now."""
    index: list[dict[str, Any]] = []
    for name, versions in service.versions.items():
        for version, served in versions.items():
            state, reason = STATES[service.health]
            if state == READY and not served.is_ready:
                state, reason = "UNAVAILABLE", "its process is not there"
            if state == READY or not is_ready_only:
                row = {"name": name, "version": version, "state": state, "reason": reason}
                index.append(row)
    return index


def read_ready_only(body: bytes) -> bool:
    """Read the body of a request for the index.

    Raises:
        WireError: It is neither empty nor a JSON object.
        InvalidInput: Its `ready` is neither true nor false.
    """
    if not body.strip():
        return False
    fix = 'Send nothing, or {"ready": true}.'
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        message = problem("body", "JSON, or nothing", f"{len(body)} bytes that are not", fix)
        raise WireError("not_json", message) from None
    if not isinstance(value, dict):
        raise WireError("not_json", problem("body", "a JSON object", describe(value), fix))
    ready = cast("Mapping[str, Any]", value).get("ready")
    if ready is not None and not isinstance(ready, bool):
        raise InvalidInput(problem("ready", "true or false", describe(ready), fix))
    return ready is True


def _platform(served: Contract) -> str:
    return f"{SERVER}_{served.record.framework}"


def _config_type(datatype: str) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
