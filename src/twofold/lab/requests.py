"""Requests of every protocol a load is made of: rows in, whole HTTP/1.1 requests out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any
from urllib.parse import quote

import msgspec

from twofold.errors import InvalidInput, problem

Row = Mapping[str, Any]
ROW, VALUES = b"{{row}}", b"{{values}}"
"""What a template of bodies may have in it."""
JSON_TYPE = "application/json"
DEADLINE_HEADER = "X-Twofold-Deadline-Ms"
WHOLE_BOUND = 2**63


class Protocol(StrEnum):
    """What a server speaks.

    Attributes:
        TWOFOLD: `POST /v1/models/{model}/predict`, a row of names and values.
        ANSWERS: `GET /v1/models/{model}/answers/{key}`.
        V2: The Open Inference Protocol: `POST /v2/models/{model}/infer`, tensors of one row.
        MLFLOW: `POST /invocations`, `dataframe_split` of one row.
        JSON: Any path; the row as a JSON object, or what a template makes of it.
    """

    TWOFOLD = "twofold"
    ANSWERS = "answers"
    V2 = "v2"
    MLFLOW = "mlflow"
    JSON = "json"


class Tensor(msgspec.Struct, frozen=True):
    """An input of a model, as `GET /v2/models/{model}` describes it."""

    name: str
    datatype: str
    shape: list[int]


def protocol_of(path: str) -> Protocol | None:
    """What a path says of its protocol; None if there is none to speak of."""
    parts = [part for part in path.split("/") if part]
    match parts:
        case []:
            return None
        case ["v1", "models", *_, "predict"]:
            return Protocol.TWOFOLD
        case ["v1", "models", _, "answers"]:
            return Protocol.ANSWERS
        case ["v2", "models", *_, "infer"]:
            return Protocol.V2
        case [*_, "invocations"]:
            return Protocol.MLFLOW
        case _:
            return Protocol.JSON


def path_of(protocol: Protocol, model: str) -> str:
    """Where a model is asked in a protocol; keys follow that of stored answers."""
    name = quote(model, safe="")
    return {
        Protocol.TWOFOLD: f"/v1/models/{name}/predict",
        Protocol.ANSWERS: f"/v1/models/{name}/answers",
        Protocol.V2: f"/v2/models/{name}/infer",
        Protocol.MLFLOW: "/invocations",
        Protocol.JSON: "/",
    }[protocol]


def body_of(
    protocol: Protocol,
    row: Row,
    *,
    tensors: Sequence[Tensor] = (),
    template: bytes | None = None,
) -> bytes:
    """The body of a request for one row.

    Args:
        protocol: Any but that of stored answers, which has none.
        row: Names and values.
        tensors: The inputs that a server of the Open Inference Protocol wants; if none are known,
            there is one for each value, of a type that follows from it.
        template: A body in which `{{row}}` stands for the row as a JSON object, and `{{values}}`
            for its values as a JSON array.

    Raises:
        InvalidInput: The row doesn't have what an input wants.
    """
    if template is not None:
        whole, values = _json(row), _json(list(row.values()))
        return template.replace(ROW, whole).replace(VALUES, values)
    if protocol is Protocol.TWOFOLD:
        return _json({"row": row})
    if protocol is Protocol.MLFLOW:
        return _json({"dataframe_split": {"columns": list(row), "data": [list(row.values())]}})
    if protocol is Protocol.V2:
        return _json({"inputs": _inputs(row, tensors)})
    return _json(row)


def request_of(
    target: str,
    *,
    host: str,
    body: bytes | None,
    headers: Sequence[tuple[str, str]] = (),
    method: str | None = None,
    content_type: str = JSON_TYPE,
) -> bytes:
    """A whole request: a POST with a body, else a GET.

    Args:
        target: Path and query, escaped.
        host: As the URL has it, with the port.
        body: Or None.
        headers: Further ones; one of them replaces that of its name which would be sent.
        method: Another one than follows from the body.
        content_type: Of the body.
    """
    given = {name.lower() for name, _ in headers}
    own = [("Host", host), ("User-Agent", "twofold-lab"), ("Accept", "*/*")]
    if body is not None:
        own += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    lines = [f"{method or ('GET' if body is None else 'POST')} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in own if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (body or b"")


def deadline_header(deadline_s: float) -> tuple[str, str]:
    """The header that says to a twofold server how long its client waits, in whole milliseconds."""
    return DEADLINE_HEADER, f"{math.ceil(deadline_s * 1e3)}"


def with_header(request: bytes, header: tuple[str, str]) -> bytes:
    """A whole request with one more header, its name and its value, before all others."""
    line = "{}: {}".format(*header).encode("latin-1")
    return request.replace(b"\r\n", b"\r\n%b\r\n" % line, 1)


def key_target(path: str, key: Any) -> str:
    """Where the stored answer for a key is."""
    return f"{path}/{quote(str(key), safe='')}"


def _json(value: Any) -> bytes:
    # Neither NaN nor infinity is JSON: both become null, as what isn't there.
    return msgspec.json.encode(value)


def _inputs(row: Row, tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    if len(tensors) == 1 and tensors[0].name not in row:
        return [_together(row, tensors[0])]
    if tensors:
        missing = [tensor.name for tensor in tensors if tensor.name not in row]
        if missing:
            got = ", ".join(row)
            fix = "Give rows with a column for each input of the model."
            raise InvalidInput(problem("rows", f"a column {missing[0]!r}", got, fix))
        return [_tensor(tensor.name, tensor.datatype, tensor.shape, row) for tensor in tensors]
    return [_tensor(name, _datatype(value), [1], row) for name, value in row.items()]


def _together(row: Row, tensor: Tensor) -> dict[str, Any]:
    """All values of a row as the only tensor of a model that knows no names."""
    values = list(row.values())
    width = tensor.shape[-1] if tensor.shape else -1
    if width not in (-1, len(values)):
        fix = "Give rows with exactly the columns that the model takes."
        raise InvalidInput(problem("rows", f"{width} columns", f"{len(values)}", fix))
    data = [_value(value, tensor.datatype) for value in values]
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": [1, len(data)],
            "data": data}  # fmt: skip


def _tensor(name: str, datatype: str, shape: Sequence[int], row: Row) -> dict[str, Any]:
    value = row[name]
    data = list(value) if isinstance(value, (list, tuple)) else [value]
    # One row: [1] of a column, [1, n] of what has a second dimension.
    dimensions = [1, len(data)] if len(shape) > 1 or len(data) > 1 else [1]
    data = [_value(item, datatype) for item in data]
    return {"name": name, "datatype": datatype, "shape": dimensions, "data": data}


def _value(value: Any, datatype: str) -> Any:
    if value is None:
        return None
    if datatype == "BYTES":
        return value if isinstance(value, str) else str(value)
    if datatype == "BOOL":
        return bool(value)
    if datatype.startswith(("INT", "UINT")) and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _datatype(value: Any) -> str:
    first = value[0] if isinstance(value, (list, tuple)) and value else value
    if isinstance(first, bool):
        return "BOOL"
    if isinstance(first, int) and abs(first) < WHOLE_BOUND:
        return "INT64"
    return "FP64" if isinstance(first, (int, float)) or first is None else "BYTES"
