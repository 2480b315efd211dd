"""A hundred bad inputs over HTTP: what is sent, the status it gets, the words of the answer.

This is data: `test_bad_inputs` sends each to a real server. The model is the small one below; the
server runs with the limits of `SETTINGS`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.serving.settings import ServeSettings

SETTINGS = ServeSettings(
    port=0,
    workers=1,
    deadline_s=30.0,
    max_rows=5,
    max_body_bytes=20_000,
    max_header_bytes=2_048,
    max_url_bytes=512,
    header_timeout_s=0.5,
    body_timeout_s=0.5,
)

MODEL = """
import time

def score(row):
    if row["amount"] == 666.0:
        raise ValueError("secret of the model")
    if row["amount"] == 777.0:
        time.sleep(0.7)
    return row["amount"] * 2.0 + row["visits"]
"""
SAMPLE = [
    {
        "amount": i / 4,
        "visits": i,
        "plan": ("basic", "pro", "team")[i % 3],
        "active": i % 2 == 0,
        "since": f"2026-01-{i % 28 + 1:02d}T12:00:00",
        "note": None if i % 5 == 0 else i / 2,
    }
    for i in range(40)
]
PACK = """
import json, pathlib, twofold
sample = json.loads(pathlib.Path("sample.json").read_text())
types = {"since": "timestamp"}
twofold.pack("model:score", name="demo", sample=sample, types=types, registry="registry")
"""


def pack_model(folder: Path) -> Path:
    """Pack the model of the table as `demo` version 1; give the registry."""
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    (folder / "sample.json").write_text(json.dumps(SAMPLE), encoding="utf-8")
    subprocess.run([sys.executable, "-c", PACK], cwd=folder, check=True, timeout=120)
    return folder / "registry"


GOOD: dict[str, Any] = {
    "amount": 1.5, "visits": 2, "plan": "pro", "active": True,
    "since": "2026-01-31T12:00:00", "note": None,
}  # fmt: skip
PREDICT = "/v1/models/demo/predict"


@dataclass(frozen=True)
class BadInput:
    """One row of the table.

    Attributes:
        what: What is wrong, in a few words.
        sent: The bytes of the request.
        status: The status it gets.
        words: What the answer's message says among others.
    """

    what: str
    sent: bytes
    status: int
    words: str

    @property
    def shown(self) -> str:
        """What is sent, short: the body if there is one, else the first line."""
        head, _, body = self.sent.partition(b"\r\n\r\n")
        text = (body or head.partition(b"\r\n")[0]).decode("utf-8", "backslashreplace")
        return text if len(text) <= 80 else f"{text[:70]}... ({len(text)} characters)"


def http(
    method: str, path: str, body: str | bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """One well-formed request."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if data:
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def post(body: str | bytes, **headers: str) -> bytes:
    """A predict request; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http("POST", PREDICT, body, named)


def v2(body: Any, path: str = "/v2/models/demo/infer", **headers: str) -> bytes:
    """An infer request of the Open Inference Protocol."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http("POST", path, body if isinstance(body, (str, bytes)) else json.dumps(body), named)


def tensor(name: str, datatype: str, *data: Any, **more: Any) -> dict[str, Any]:
    """One input of an infer request, of one row."""
    return {"name": name, "datatype": datatype, "shape": [1], "data": list(data), **more}


def inputs(**changes: Any) -> bytes:
    """An infer request for the good row, with some inputs changed; `...` leaves one out."""
    good = {
        "amount": tensor("amount", "FP64", 1.5),
        "visits": tensor("visits", "INT64", 2),
        "plan": tensor("plan", "BYTES", "pro"),
        "active": tensor("active", "BOOL", *[True]),
        "since": tensor("since", "BYTES", "2026-01-31T12:00:00"),
        "note": tensor("note", "FP64", None),
    }
    return v2({"inputs": [item for item in (good | changes).values() if item is not ...]})


def invoke(body: Any, kind: str = "application/json", **headers: str) -> bytes:
    """A scoring request as MLflow has it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return http("POST", "/invocations", text, {"Content-Type": kind} | named)


def row(**changes: Any) -> bytes:
    """A predict request for the good row with changes; `...` leaves a field out."""
    return post(json.dumps({"row": changed(**changes)}))


def changed(**changes: Any) -> dict[str, Any]:
    """The good row with changes; `...` leaves a field out."""
    return {name: value for name, value in (GOOD | changes).items() if value is not ...}


def rows(*several: Any) -> bytes:
    """A predict request for many rows."""
    return post(json.dumps({"rows": list(several)}))


def raw(*lines: str, body: bytes = b"") -> bytes:
    """A request line and headers as they stand."""
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


POST = f"POST {PREDICT} HTTP/1.1"
HOST = "Host: localhost"
CHUNKED = "Transfer-Encoding: chunked"

ROWS_THAT_DO_NOT_FIT = (
    BadInput("text for a number", row(amount="12"), 422, "row.amount: expected float64, got string '12'"),
    BadInput("a boolean for a number", row(amount=True), 422, "row.amount: expected float64, got boolean true"),
    BadInput("a list for a number", row(amount=[1.0]), 422, "row.amount: expected float64, got a list of 1"),
    BadInput("an object for a number", row(amount={"value": 1}), 422, "row.amount: expected float64, got an object"),
    BadInput("null where there was none in the sample", row(amount=None), 422, "row.amount: expected float64, got null"),
    BadInput("an integer that float64 can't hold", row(amount=2**53 + 1), 422, "Send an integer within 2^53"),
    BadInput("a huge integer", row(amount=10**300), 422, "got integer beyond 10^30"),
    BadInput("an integer of 5,000 digits", post('{"row": {"amount": ' + "9" * 5_000 + "}}"), 422, "within the range of float64"),
    BadInput("a number beyond float64", post('{"row": {"amount": 1e999}}'), 422, "within the range of float64"),
    BadInput("a fraction for an integer", row(visits=1.5), 422, "row.visits: expected int64, got number 1.5"),
    BadInput("text for an integer", row(visits="2"), 422, "row.visits: expected int64, got string '2'"),
    BadInput("an integer beyond int64", row(visits=2**63), 422, "row.visits: expected an int64"),
    BadInput("a boolean for an integer", row(visits=False), 422, "row.visits: expected int64, got boolean false"),
    BadInput("an unknown category", row(plan="gold"), 422, "row.plan: expected one of 'basic', 'pro', 'team', got 'gold'"),
    BadInput("a category in other case", row(plan="Pro"), 422, "got 'Pro'. Send a known value"),
    BadInput("an empty category", row(plan=""), 422, "row.plan: expected one of"),
    BadInput("a number for a category", row(plan=3), 422, "row.plan: expected string, got integer 3"),
    BadInput("a very long text", row(plan="x" * 9_000), 422, "xxx...'. Send a known value"),
    BadInput("a text with control characters", row(plan="a\u0000\u001b[31m"), 422, r"got 'a\x00\x1b[31m'"),
    BadInput("0 for a boolean", row(active=0), 422, "row.active: expected bool, got integer 0"),
    BadInput("text for a boolean", row(active="true"), 422, "Send true or false"),
    BadInput("a day that doesn't exist", row(since="2026-02-30T00:00:00"), 422, "row.since: expected an ISO 8601 timestamp"),
    BadInput("a time zone where there was none", row(since="2026-01-31T12:00:00Z"), 422, "without time zone, got one with a time zone"),
    BadInput("a number for a timestamp", row(since=1_770_000_000), 422, "row.since: expected an ISO 8601 timestamp"),
    BadInput("text where a number or null may stand", row(note="none"), 422, "row.note: expected float64, got string 'none'"),
    BadInput("a missing field", row(amount=...), 422, "row.amount: expected float64, got nothing. Send amount."),
    BadInput("a missing field that may be null", row(note=...), 422, "Send note, null if it is not known."),
    BadInput("a field the model doesn't have", row(colour="red"), 422, "row.colour: expected only the model's fields"),
    BadInput("a field's name in other case", row(amount=..., Amount=1.0), 422, "row.amount: expected float64, got nothing"),
    BadInput("a field twice", post('{"row": {"amount": 1.5, "amount": 2.5}}'), 422, "expected each name once in an object, got string 'amount' twice"),
    BadInput("no field at all", post('{"row": {}}'), 422, "row.amount: expected float64, got nothing"),
)  # fmt: skip

SHAPES = (
    BadInput("neither row nor rows", post("{}"), 422, 'expected "row" or "rows", got neither'),
    BadInput("both row and rows", post('{"row": {}, "rows": []}'), 422, 'expected "row" or "rows", got both'),
    BadInput("an unknown member", post('{"data": [1]}'), 422, """expected only "row" or "rows", got a member string 'data'"""),
    BadInput("an unknown member beside a row", post('{"row": {}, "explain": true}'), 422, "got a member string 'explain'"),
    BadInput("many rows where one is expected", post(json.dumps({"row": [GOOD, GOOD]})), 422, 'row: expected one row, got a list of 2. Send {"rows"'),
    BadInput("one row in a list where one is expected", post(json.dumps({"row": [list(GOOD.values())]})), 422, 'got a list of 1. Send {"rows"'),
    BadInput("a scalar where a row is expected", post('{"row": 5}'), 422, "row: expected one row, got integer 5"),
    BadInput("text where a row is expected", post('{"row": "5"}'), 422, "row: expected one row, got string '5'"),
    BadInput("null where a row is expected", post('{"row": null}'), 422, "row: expected one row, got null"),
    BadInput("one row where many are expected", post(json.dumps({"rows": GOOD})), 422, 'rows: expected a list of rows, got an object. Send {"row"'),
    BadInput("a scalar where many rows are expected", post('{"rows": 5}'), 422, "rows: expected a list of rows, got integer 5"),
    BadInput("null where many rows are expected", post('{"rows": null}'), 422, "rows: expected a list of rows, got null"),
    BadInput("too few values in a list", post('{"row": [1.5, 2]}'), 422, "row: expected 6 values, got 2. Send one value per field"),
    BadInput("too many values in a list", post(json.dumps({"row": [*GOOD.values(), 1]})), 422, "row: expected 6 values, got 7"),
    BadInput("an empty list for a row", post('{"row": []}'), 422, "row: expected 6 values, got 0"),
    BadInput("values in another order", post('{"row": ["pro", 1.5, 2, true, null, null]}'), 422, "row.amount: expected float64, got string 'pro'"),
    BadInput("scalars among many rows", rows(1, 2), 422, "rows[0]: expected one row, got integer 1"),
    BadInput("one bad row among many", rows(GOOD, GOOD, changed(amount="x")), 422, "rows[2].amount: expected float64, got string 'x'"),
    BadInput("ragged rows", rows(list(GOOD.values()), [1.5]), 422, "rows[1]: expected 6 values, got 1"),
    BadInput("a null row among many", rows(GOOD, None), 422, "rows[1]: expected one row, got null"),
    BadInput("more rows than the limit", rows(*[GOOD] * 6), 413, "rows: expected at most 5 rows, got 6"),
)  # fmt: skip

BODIES = (
    BadInput("no body", http("POST", PREDICT), 400, "body: expected a JSON object, got nothing"),
    BadInput("only spaces", post("   "), 400, "body: expected a JSON object, got nothing"),
    BadInput("a form", post("amount=1.5&visits=2"), 400, "body: expected JSON"),
    BadInput("cut-off JSON", post('{"row": {"amount": 1.'), 400, "body: expected JSON"),
    BadInput("single quotes", post("{'row': {}}"), 400, "body: expected JSON"),
    BadInput("a comma too many", post('{"row": {},}'), 400, "body: expected JSON"),
    BadInput("text after the JSON", post('{"row": {}} extra'), 400, "trailing characters"),
    BadInput("a comment", post('{"row": {} /* none */}'), 400, "body: expected JSON"),
    BadInput("NaN", post('{"row": {"amount": NaN}}'), 400, "body: expected JSON"),
    BadInput("Infinity", post('{"row": {"amount": -Infinity}}'), 400, "body: expected JSON"),
    BadInput("a leading zero", post('{"row": {"amount": 01}}'), 400, "invalid number"),
    BadInput("hexadecimal", post('{"row": {"amount": 0x10}}'), 400, "body: expected JSON"),
    BadInput("a list at the top", post("[1, 2, 3]"), 400, "body: expected a JSON object, got a list of 3"),
    BadInput("text at the top", post('"row"'), 400, "body: expected a JSON object, got string 'row'"),
    BadInput("null at the top", post("null"), 400, "body: expected a JSON object, got null"),
    BadInput("a number at the top", post("5"), 400, "body: expected a JSON object, got integer 5"),
    BadInput("bytes that aren't UTF-8", post(b'{"row": {"plan": "\xff\xfe"}}'), 400, "text that isn't UTF-8"),
    BadInput("UTF-16", post('{"row": {}}'.encode("utf-16")), 400, "body: expected JSON"),
    BadInput("a byte order mark", post(b"\xef\xbb\xbf{}"), 400, "body: expected JSON"),
    BadInput("half a surrogate pair", post('{"row": {"plan": "\\ud800"}}'), 400, "body: expected JSON"),
    BadInput("a raw control character in text", post(b'{"row": {"plan": "a\x00b"}}'), 400, "body: expected JSON"),
    BadInput("lists nested 9,000 deep in a row", post('{"row": ' + "[" * 9_000 + "]" * 9_000 + "}"), 400, "JSON nested too deep"),
    BadInput("lists nested 9,000 deep", post("[" * 9_000), 400, "JSON nested too deep"),
    BadInput("lists nested 200 deep in a field", post('{"row": {"amount": ' + "[" * 200 + "]" * 200 + "}}"), 422, "row.amount: expected float64, got a list of 1"),
    BadInput("binary", post(bytes(range(256))), 400, "body: expected"),
    BadInput("a body beyond the limit", post(b" " * 20_001), 413, "body: expected at most 20000 bytes, got more"),
    BadInput("a length beyond the limit, and no body", raw(POST, HOST, "Content-Length: 50000000"), 413, "body: expected at most 20000 bytes"),
    BadInput("the same, asking first", raw(POST, HOST, "Content-Length: 50000000", "Expect: 100-continue"), 413, "body: expected at most 20000 bytes"),
    BadInput("chunks beyond the limit", raw(POST, HOST, CHUNKED, body=(b"1000\r\n" + b" " * 4_096 + b"\r\n") * 5), 413, "body: expected at most 20000 bytes"),
    BadInput("a form's content type", post("{}", Content_Type="application/x-www-form-urlencoded"), 415, "Content-Type: expected application/json"),
    BadInput("plain text's content type", post("{}", Content_Type="text/plain"), 415, "with the header Content-Type: application/json"),
    BadInput("another charset", post("{}", Content_Type="application/json; charset=latin-1"), 415, "in UTF-8"),
    BadInput("a compressed body", post(b"\x1f\x8b\x08", Content_Encoding="gzip"), 415, "Content-Encoding: expected none, got string 'gzip'"),
)  # fmt: skip

PATHS = (
    BadInput("no such path", http("GET", "/"), 404, "path: expected a path of this server, got string '/'"),
    BadInput("a model that isn't served", http("POST", "/v1/models/nope/predict", "{}"), 404, "model: expected one of 'demo', got 'nope'"),
    BadInput("a version that isn't served", http("POST", "/v1/models/demo/versions/9/predict", "{}"), 404, "demo.version: expected one of '1', got '9'"),
    BadInput("a version that is none", http("GET", "/v1/models/demo/versions/latest"), 404, "got 'latest'"),
    BadInput("a path out of the registry", http("GET", "/v1/models/..%2f..%2fetc%2fpasswd"), 404, "path: expected a path of this server"),
    BadInput("dots in the path", http("GET", "/v1/models/../../etc/passwd"), 404, "path: expected a path of this server"),
    BadInput("a NUL in the path", http("GET", "/v1/models/demo%00"), 404, r"got 'demo\x00'"),
    BadInput("a slash at the end", http("POST", PREDICT + "/", "{}"), 404, "GET /docs lists them"),
    BadInput("predicting with GET", http("GET", PREDICT), 405, "method: expected POST, got GET. Send POST."),
    BadInput("deleting a model", http("DELETE", "/v1/models/demo"), 405, "method: expected GET, HEAD, got DELETE"),
    BadInput("posting to the metrics", http("POST", "/metrics", "{}"), 405, "method: expected GET, HEAD, got POST"),
    BadInput("a URL beyond the limit", http("GET", "/" + "a" * 600), 414, "url: expected at most 512 bytes"),
    BadInput("a query beyond the limit", http("GET", "/v1/models?row=" + "1," * 300), 414, "Send the row in the body"),
)  # fmt: skip

PROTOCOL = (
    BadInput("a deadline that is no number", post("{}", X_Twofold_Deadline_Ms="soon"), 400, "X-Twofold-Deadline-Ms: expected a positive number of milliseconds"),
    BadInput("a deadline of zero", post("{}", X_Twofold_Deadline_Ms="0"), 400, "got string '0'"),
    BadInput("a negative deadline", post("{}", X_Twofold_Deadline_Ms="-5"), 400, "got string '-5'"),
    BadInput("a deadline of NaN", post("{}", X_Twofold_Deadline_Ms="nan"), 400, "got string 'nan'"),
    BadInput("a priority that doesn't exist", post("{}", X_Twofold_Priority="urgent"), 400, "X-Twofold-Priority: expected one of"),
    BadInput("a deadline that can't be met", post(json.dumps({"row": GOOD}), X_Twofold_Deadline_Ms="0.01"), 504, "ms to be enough, got"),
    BadInput("a row the model fails on", row(amount=666.0), 500, "expected the model to answer, got a failure inside it"),
    BadInput("many rows, the model fails on one", rows(GOOD, changed(amount=666.0)), 500, "Ask its operator about request"),
    BadInput("headers beyond the limit", raw(POST, HOST, "X-A: " + "a" * 3_000), 431, "headers: expected at most 2048 bytes"),
    BadInput("a flood of headers", raw(POST, HOST, *["X-A: b"] * 400), 431, "Send fewer or shorter headers"),
    BadInput("a header without end", raw(POST, HOST, "X-A: ")[:-4] + b"a" * 5_000, 431, "headers: expected at most 2048 bytes"),
    BadInput("trailers without end", raw(POST, HOST, CHUNKED, body=b"0\r\n" + b"T: t\r\n" * 1_000), 431, "headers: expected at most 2048 bytes"),
    BadInput("headers that don't come", b"GET / HTTP/1.1\r\nHost: local", 408, "expected its headers in time"),
    BadInput("a body that doesn't come", raw(POST, HOST, "Content-Length: 10", body=b"{"), 408, "expected its body in time"),
    BadInput("two different lengths", raw(POST, HOST, "Content-Length: 2", "Content-Length: 3", body=b"{}"), 400, "Duplicate Content-Length"),
    BadInput("a length and chunks", raw(POST, HOST, "Content-Length: 2", CHUNKED, body=b"0\r\n\r\n"), 400, "Content-Length"),
    BadInput("a negative length", raw(POST, HOST, "Content-Length: -1"), 400, "Content-Length"),
    BadInput("a length beyond 64 bits", raw(POST, HOST, "Content-Length: 99999999999999999999"), 400, "Content-Length overflow"),
    BadInput("a list of lengths", raw(POST, HOST, "Content-Length: 2, 2", body=b"{}"), 400, "Content-Length"),
    BadInput("a chunk size that is none", raw(POST, HOST, CHUNKED, body=b"zz\r\n{}\r\n"), 400, "chunk size"),
    BadInput("a chunk size beyond 64 bits", raw(POST, HOST, CHUNKED, body=b"f" * 20 + b"\r\n"), 400, "Chunk size overflow"),
    BadInput("a coding that isn't chunked", raw(POST, HOST, "Transfer-Encoding: gzip"), 400, "Transfer-Encoding: expected chunked"),
    BadInput("a coding before chunked", raw(POST, HOST, "Transfer-Encoding: gzip, chunked"), 400, "Transfer-Encoding: expected chunked"),
    BadInput("chunks over HTTP/1.0", raw(f"POST {PREDICT} HTTP/1.0", CHUNKED), 400, "expected chunked over HTTP/1.1"),
    BadInput("a space before a header's colon", raw(POST, HOST, "Content-Length : 2", body=b"{}"), 400, "expected HTTP/1.1, got a fault in it: Invalid header"),
    BadInput("a folded header", raw(POST, HOST, "X-A: b", " c"), 400, "whitespace after header value"),
    BadInput("a NUL in a header", raw(POST, HOST, "X-A: \x00"), 400, "Invalid header value char"),
    BadInput("bare line feeds", f"{POST}\n{HOST}\n\n".encode(), 400, "Expected CRLF"),
    BadInput("no Host", raw(POST), 400, "Host: expected the header in HTTP/1.1, got none"),
    BadInput("two Hosts", raw(POST, HOST, HOST), 400, "Host: expected the header once"),
    BadInput("an unknown method", raw("PREDICT / HTTP/1.1", HOST), 400, "expected an HTTP/1.1 method"),
    BadInput("a method in lower case", raw(f"post {PREDICT} HTTP/1.1", HOST), 400, "expected an HTTP/1.1 method"),
    BadInput("a request for a proxy", raw("CONNECT localhost:80 HTTP/1.1", HOST), 400, "got one for a proxy"),
    BadInput("a version that doesn't exist", raw(f"POST {PREDICT} HTTP/4.2", HOST), 400, "Invalid HTTP version"),
    BadInput("HTTP/0.9", b"GET /\r\n\r\n", 400, "got none. Send one"),
    BadInput("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "expected HTTP/1.1"),
    BadInput("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "Use http:// for this port"),
    BadInput("a space in the URL", raw("GET /a b HTTP/1.1", HOST), 400, "expected HTTP/1.1"),
    BadInput("random bytes", bytes(range(1, 256)), 400, "expected an HTTP/1.1 method"),
    BadInput("an expectation", raw(POST, HOST, "Expect: 200-ok"), 417, "Expect: expected 100-continue"),
)  # fmt: skip

RAW = v2(
    json.dumps({"inputs": [tensor("x", "FP64", parameters={"binary_data_size": 8})]}) + "12345678"
)
SPLIT = {"columns": list(GOOD), "data": [list(GOOD.values())]}
OPEN_INFERENCE = (
    BadInput("V2: no body", v2(""), 400, "body: expected"),
    BadInput("V2: cut-off JSON", v2('{"inputs": ['), 400, "body: expected JSON"),
    BadInput("V2: a list at the top", v2("[]"), 400, "body: expected"),
    BadInput("V2: JSON nested too deep", v2("[" * 9_000), 400, "nested too deep"),
    BadInput("V2: no inputs", v2({}), 422, "inputs: expected"),
    BadInput("V2: an empty list of inputs", v2({"inputs": []}), 422, "got 0 tensors"),
    BadInput("V2: a row of the other protocol", v2({"row": GOOD}), 422, "inputs: expected"),
    BadInput("V2: an input without datatype", inputs(amount={"name": "amount", "shape": [1], "data": [1.5]}), 422, "datatype"),
    BadInput("V2: a datatype that doesn't exist", inputs(amount=tensor("amount", "FLOAT", 1.5)), 422, "inputs.amount.datatype: expected"),
    BadInput("V2: text for a number", inputs(amount=tensor("amount", "FP64", "x")), 422, "inputs.amount.data[0]"),
    BadInput("V2: text where the model has a number", inputs(amount=tensor("amount", "BYTES", "x")), 422, "inputs.amount"),
    BadInput("V2: a number beyond its datatype", inputs(visits=tensor("visits", "UINT8", 300)), 422, "inputs.visits.data[0]"),
    BadInput("V2: a fraction for an integer", inputs(visits=tensor("visits", "INT32", 1.5)), 422, "inputs.visits.data[0]"),
    BadInput("V2: null where there was none", inputs(amount=tensor("amount", "FP64", None)), 422, "inputs.amount"),
    BadInput("V2: an unknown category", inputs(plan=tensor("plan", "BYTES", "gold")), 422, "expected one of 'basic', 'pro', 'team', got 'gold'"),
    BadInput("V2: a missing input", inputs(amount=...), 422, "amount"),
    BadInput("V2: an input the model doesn't have", inputs(colour=tensor("colour", "BYTES", "red")), 422, "colour"),
    BadInput("V2: an input twice", v2({"inputs": [tensor("amount", "FP64", 1.5)] * 2}), 422, "amount"),
    BadInput("V2: more values than the shape has", inputs(amount=tensor("amount", "FP64", 1.5, 2.5)), 422, "inputs.amount"),
    BadInput("V2: a negative shape", inputs(amount=tensor("amount", "FP64", 1.5) | {"shape": [-1]}), 422, "inputs.amount.shape"),
    BadInput("V2: a shape beyond all memory", inputs(amount=tensor("amount", "FP64", 1.5) | {"shape": [2**62, 2**62]}), 422, "inputs.amount"),
    BadInput("V2: no rows", inputs(amount=tensor("amount", "FP64") | {"shape": [0]}), 422, "inputs.amount"),
    BadInput("V2: more rows than the limit", v2({"inputs": [tensor("amount", "FP64", *range(6)) | {"shape": [6]}]}), 413, "at most 5 rows"),
    BadInput("V2: one matrix for fields of several kinds", v2({"inputs": [tensor("x", "FP64", *range(6)) | {"shape": [1, 6]}]}), 422, "x"),
    BadInput("V2: an output the model doesn't have", v2({"inputs": [], "outputs": [{"name": "nope"}]}), 422, "expected"),
    BadInput("V2: raw bytes without the header's length", RAW, 400, "body: expected JSON"),
    BadInput("V2: a header's length that is no number", v2("{}", Inference_Header_Content_Length="two"), 400, "Inference-Header-Content-Length: expected"),
    BadInput("V2: a header's length beyond the body", v2("{}", Inference_Header_Content_Length="3"), 400, "Inference-Header-Content-Length: expected"),
    BadInput("V2: a negative header's length", v2("{}", Inference_Header_Content_Length="-1"), 400, "Inference-Header-Content-Length: expected"),
    BadInput("V2: a compressed body", v2(b"\x1f\x8b", Content_Encoding="gzip"), 415, "Content-Encoding: expected none"),
    BadInput("V2: a form's content type", v2("{}", Content_Type="application/x-www-form-urlencoded"), 415, "Content-Type: expected"),
    BadInput("V2: a model that isn't served", v2("{}", "/v2/models/nope/infer"), 404, "model: expected one of 'demo', got 'nope'"),
    BadInput("V2: a version that isn't served", v2("{}", "/v2/models/demo/versions/9/infer"), 404, "demo.version: expected one of '1', got '9'"),
    BadInput("V2: a file of the repository", http("POST", "/v2/repository/models/demo/load"), 404, "path: expected a path of this server"),
    BadInput("V2: an index that is asked for with a number", http("POST", "/v2/repository/index", '{"ready": 1}'), 422, "ready: expected true or false"),
)  # fmt: skip

SCORING = (
    BadInput("MLflow: no body", invoke(""), 400, "body: expected"),
    BadInput("MLflow: cut-off JSON", invoke('{"dataframe_split": '), 400, "body: expected JSON"),
    BadInput("MLflow: no payload", invoke({}), 422, "dataframe_split"),
    BadInput("MLflow: two payloads", invoke({"inputs": [], "instances": []}), 422, "expected"),
    BadInput("MLflow: records without their wrapper", invoke([GOOD]), 422, "dataframe_records"),
    BadInput("MLflow: a missing column", invoke({"dataframe_split": {"columns": ["amount"], "data": [[1.5]]}}), 422, "expected"),
    BadInput("MLflow: a column twice", invoke({"dataframe_split": SPLIT | {"columns": ["amount"] * 6}}), 422, "amount"),
    BadInput("MLflow: fewer values than columns", invoke({"dataframe_split": SPLIT | {"data": [[1.5]]}}), 422, "expected"),
    BadInput("MLflow: text for a number", invoke({"dataframe_records": [changed(amount="x")]}), 422, "expected float64, got string 'x'"),
    BadInput("MLflow: ragged inputs", invoke({"inputs": {name: [value] for name, value in GOOD.items()} | {"amount": [1.5, 2.5]}}), 422, "inputs.amount: expected 1 row"),
    BadInput("MLflow: no rows", invoke({"dataframe_records": []}), 422, "expected"),
    BadInput("MLflow: more rows than the limit", invoke({"dataframe_records": [GOOD] * 6}), 413, "at most 5 rows"),
    BadInput("MLflow: CSV with a missing column", invoke("amount,visits\n1.5,2\n", "text/csv"), 422, "expected"),
    BadInput("MLflow: CSV with an open quote", invoke('1.5,2,"pro\n', "text/csv; header=absent"), 400, "expected"),
    BadInput("MLflow: another content type", invoke("<row/>", "application/xml"), 415, "Content-Type: expected"),
    BadInput("MLflow: scoring with GET", http("GET", "/invocations"), 405, "method: expected POST"),
)  # fmt: skip

BAD_INPUTS: dict[str, tuple[BadInput, ...]] = {
    "Rows that don't fit": ROWS_THAT_DO_NOT_FIT,
    "Shapes": SHAPES,
    "Bodies": BODIES,
    "Paths and methods": PATHS,
    "Headers and HTTP itself": PROTOCOL,
    "Open Inference Protocol V2": OPEN_INFERENCE,
    "MLflow scoring": SCORING,
}
"""The table, by chapter."""


INTRODUCTION = f"""# Bad inputs

What a server answers to what it can't take. Each line is sent to a real server by
`tests/e2e/test_bad_inputs.py`, which checks the status and the words, and that the next request
of another client is answered. The answer is always JSON with the keys `error` and `code`.

The server has one model, whose good row is `{json.dumps(GOOD)}`, and small limits:
`max_rows={SETTINGS.max_rows}`, `max_body_bytes={SETTINGS.max_body_bytes}`,
`max_header_bytes={SETTINGS.max_header_bytes}`, `max_url_bytes={SETTINGS.max_url_bytes}`,
`header_timeout_s={SETTINGS.header_timeout_s}`, `body_timeout_s={SETTINGS.body_timeout_s}`.
Written by `make docs`.
"""


def page() -> str:
    """The table as a page of the documentation."""
    lines = [INTRODUCTION]
    for chapter, cases in BAD_INPUTS.items():
        lines += [
            f"## {chapter}",
            "",
            "| what | sent | status | says |",
            "| --- | --- | --- | --- |",
        ]
        for case in cases:
            cells = (
                case.what,
                f"`{_cell(case.shown)}`",
                str(case.status),
                f"`{_cell(case.words)}`",
            )
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that stands between backquotes in one cell of a table."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return shown.replace("`", "'").replace("|", "\\|") or " "


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
