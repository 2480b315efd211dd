"""What Schemathesis can't know from the document, because JSON Schema can't say it.

Lists that must be equally long, a tensor's shape and its data: made to fit in requests that are
meant to be right. Headers by which any request is refused, whatever else is wrong or right with
it: made harmless where they aren't what is tested.
"""

from __future__ import annotations

import json
import re
import struct
from datetime import datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation

MAX_ROWS = 3
JSON, OCTETS = "application/json", "application/octet-stream"
CODES = {"BOOL": "?", "INT64": "q", "FP32": "f", "FP64": "d"}
HEADER_LENGTH, DEADLINE = "Inference-Header-Content-Length", "X-Twofold-Deadline-Ms"

TOO_SHORT = re.compile(r"(?=.*[1-9])[0-9]{1,5}(\.[0-9]+)?(e-[0-9]+)?")

# Not the first and the last year: in UTC a time of theirs may be in none that Python has.
schemathesis.openapi.format(
    "date-time",
    st.tuples(
        st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)).map(datetime.isoformat),
        st.sampled_from(("Z", "+00:00", "+05:45", "-11:00")),
    ).map("".join),
)


@schemathesis.serializer("application/jsonlines", OCTETS)
def as_it_is(_context: Any, value: Any) -> bytes:
    """Send text and bytes as they stand, and anything else as JSON."""
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Leave out what is meant to be wrong and isn't, once it is sent."""
    if not case.meta.generation.mode.is_negative:
        return True
    if isinstance(case.body, bytes) and not case.body.strip():
        return False  # No body, where one may be left out.
    # What is no text is sent as text all the same.
    return not isinstance(case.media_type, str) or case.media_type == JSON


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Make a request fit that is meant to."""
    headers = {} if case.headers is None else case.headers
    if not case.meta.is_negative_at(ParameterLocation.HEADER):
        headers.pop(HEADER_LENGTH, None)
    if TOO_SHORT.fullmatch(headers.get(DEADLINE, "")):
        headers[DEADLINE] = "60000"
    if case.meta.generation.mode.is_negative or not isinstance(case.media_type, str):
        return case
    content = context.operation.definition.raw["requestBody"]["content"]
    if case.media_type == OCTETS:
        head, raw = in_bytes(content[JSON]["examples"]["one"]["value"])
        case.body = head + raw
        case.headers = {**(case.headers or {}), HEADER_LENGTH: str(len(head))}
    elif case.media_type != JSON:
        case.body = content[case.media_type]["example"]
    elif case.path.endswith("/infer"):
        case.body = fitted_tensors(case.body)
    elif case.path == "/invocations" and isinstance(case.body.get("inputs"), dict):
        case.body = {**case.body, "inputs": fitted_columns(case.body["inputs"])}
    return case


def fitted_tensors(body: dict[str, Any]) -> dict[str, Any]:
    """As many rows in every tensor; each output asked for once."""
    inputs = body["inputs"]
    rows = min(int(inputs[0]["shape"][0]), MAX_ROWS)
    fitted = []
    for tensor in inputs:
        shape = [rows, *tensor["shape"][1:]]
        count = rows * int(shape[1] if len(shape) > 1 else 1)
        data = (tensor["data"] * count)[:count]
        fitted.append({**tensor, "shape": shape, "data": data})
    fits = {**body, "inputs": fitted}
    if body.get("outputs"):
        fits["outputs"] = list({item["name"]: item for item in body["outputs"]}.values())
    return fits


def fitted_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """As many values in every column."""
    lists = {name: v if isinstance(v, list) else [v] for name, v in columns.items()}
    rows = min(max(map(len, lists.values())), MAX_ROWS)
    return {name: (values * rows)[:rows] for name, values in lists.items()}


def in_bytes(body: dict[str, Any]) -> tuple[bytes, bytes]:
    """An infer request as the binary extension has it: the JSON, and the bytes behind it."""
    inputs, raw = [], b""
    for tensor in body["inputs"]:
        values = tensor["data"]
        if tensor["datatype"] == "BYTES":
            texts = [text.encode() for text in values]
            packed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        else:
            plain = [float("nan") if value is None else value for value in values]
            packed = struct.pack(f"<{len(plain)}{CODES[tensor['datatype']]}", *plain)
        kept = {name: value for name, value in tensor.items() if name != "data"}
        inputs.append({**kept, "parameters": {"binary_data_size": len(packed)}})
        raw += packed
    return json.dumps({"inputs": inputs}).encode(), raw
