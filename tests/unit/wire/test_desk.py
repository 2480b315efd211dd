"""The native way through the common request answers, and counts, what the usual way does."""

from __future__ import annotations

import os
import secrets
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twofold.serving.metrics import REQUESTS, Metrics
from twofold.serving.native import native
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.wire.access import Access
from twofold.wire.connection import Connections
from twofold.wire.desk import make_desk
from twofold.wire.routes import Routes

if native() is None:
    assert os.environ.get("CI") != "true", "the native part was not built"
    pytest.skip("needs the native part", allow_module_level=True)

V1, V2 = "/v1/models/churn/predict", "/v2/models/churn/infer"


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.written += b"closed"

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False


def quick(row: Any) -> float | None:
    """The kernel's own way, as the fake model has it; None for what it leaves to the checks."""
    values = list(row.values()) if isinstance(row, dict) else row
    if not isinstance(values, (list, tuple)) or len(values) != 2 or values[1] not in (None, "pro"):
        return None
    if isinstance(row, dict) and list(row) != ["amount", "plan"]:
        return None
    if values[0] == 13.0:
        raise ZeroDivisionError
    return values[0] * 2.0 if type(values[0]) is float else None


class Side:
    """A server, with or without the desk."""

    def __init__(self, bench: Any, *, has_desk: bool, **changes: Any) -> None:
        known = bench.service.default("churn")
        model = known.model
        layout = bench.metrics.layout
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        model.quick = quick
        served = Served(known.record, self.metrics, model=model, one_by_one=10)
        service = Service([served], self.metrics, clock=lambda: 100.0)
        service.ready()
        self.routes = Routes(service, ServeSettings(**changes), access=Access(), version="9.9")
        common = list(self.routes.common()) if has_desk else []
        self.connections = Connections(
            self.routes,
            ServeSettings(**changes),
            clock=lambda: 100.0,
            common=common,
            tally=self.metrics.tally,
        )
        self.connections.date = b"Date: now\r\n"
        if self.connections._desk is not None:
            self.connections._desk.set_date(b"Date: now\r\n")

    def answer(self, *sent: bytes) -> bytes:
        connection, wire = self.connections.make(), Wire()
        connection.connection_made(wire)  # type: ignore[arg-type]
        for data in sent:
            connection.data_received(data)
        return wire.written

    def totals(self) -> list[Any]:
        return [(family.name, labels, values) for family, labels, values in self.metrics.totals()]


@pytest.fixture
def sides(bench: Any) -> tuple[Side, Side]:
    return Side(bench, has_desk=True), Side(bench, has_desk=False)


def request(body: bytes, target: str = V1, *lines: str) -> bytes:
    head = [f"POST {target} HTTP/1.1", "Host: a", *lines, f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def row(value: Any) -> bytes:
    return request(msgspec.json.encode({"row": value}))


TENSOR = {"name": "amount", "datatype": "FP64", "shape": [1]}
PLAN = {"name": "plan", "datatype": "BYTES", "shape": [1], "data": ["pro"]}
HEAD = msgspec.json.encode({"inputs": [TENSOR | {"parameters": {"binary_data_size": 8}}, PLAN]})
COMMON = {
    "a list": row([1.5, "pro"]),
    "an object": row({"amount": 2.5, "plan": None}),
    "with the content type": request(
        b'{"row":[1.5,"pro"]}', V1, "Content-Type: application/json", "User-Agent: x"
    ),
    "asking to stay": request(b'{"row":[1.5,"pro"]}', V1, "Connection: keep-alive"),
    "tensors in JSON": request(
        msgspec.json.encode({"inputs": [TENSOR | {"data": [1.5]}, PLAN]}), V2
    ),
    "raw tensors": request(
        HEAD + struct.pack("<d", 1.5), V2, f"Inference-Header-Content-Length: {len(HEAD)}"
    ),
    "of a version": request(b'{"row":[1.5,"pro"]}', "/v1/models/churn/versions/3/predict"),
    "traced": request(b'{"row":[1.5,"pro"]}', V1, "traceparent: 00-1-2-3", "X-Twofol: x"),
}
OTHER = {
    "many rows": request(b'{"rows":[[1.5,"pro"]]}'),
    "no JSON": request(b"{"),
    "a wrong row": row([1.5, "gold"]),
    "a whole number": row([1, "pro"]),
    "a name twice": request(b'{"row":{"amount":1.5,"plan":"pro","plan":"pro"}}'),
    "a row the quick way breaks on": row([13.0, "pro"]),
    "a row the model fails on": row([666.0, "basic"]),
    "a deadline": request(b'{"row":[1.5,"pro"]}', V1, "X-Twofold-Deadline-Ms: 500"),
    "a wrong deadline": request(b'{"row":[1.5,"pro"]}', V1, "x-twofold-deadline-ms: no"),
    "a class": request(b'{"row":[1.5,"pro"]}', V1, "X-TWOFOLD-Priority: urgent"),
    "timings": request(b'{"row":[1.5,"pro"]}', V1, "X-Twofold-Timing: 1"),
    "an id": request(b'{"row":[1.5,"pro"]}', V1, "X-Request-Id: 7"),
    "a key": request(b'{"row":[1.5,"pro"]}', V1, "Authorization: Bearer x"),
    "a coding": request(b"x", V1, "Content-Encoding: gzip"),
    "another type": request(b"x", V1, "Content-Type: text/plain"),
    "another path": request(b'{"row":[1.5,"pro"]}', "/v1/models/none/predict"),
    "GET": f"GET {V1} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "a large body": request(b'{"row":[1.5,"pro"]}' + b" " * 70_000),
    "a closing one": request(b'{"row":[1.5,"pro"]}', V1, "Connection: close"),
}


@pytest.mark.parametrize("what", [*COMMON, *OTHER])
def test_answer_and_counts_are_those_of_the_usual_way(
    sides: tuple[Side, Side], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "request id")
    sent = (COMMON | OTHER)[what]
    with_desk, without = sides
    assert with_desk.answer(sent, sent) == without.answer(sent, sent)
    assert with_desk.totals() == without.totals()


@pytest.mark.parametrize("what", COMMON)
def test_common_requests_are_answered_natively(sides: tuple[Side, Side], what: str) -> None:
    assert isinstance(sides[0].connections.take(COMMON[what], 100.0), bytes)


@pytest.mark.parametrize("what", OTHER)
def test_other_requests_are_left_to_the_usual_way(sides: tuple[Side, Side], what: str) -> None:
    assert not isinstance(sides[0].connections.take(OTHER[what], 100.0), bytes)
    counted = [values for family, _, values in sides[0].metrics.totals() if family.name == REQUESTS]
    assert not any(map(any, counted))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.one_of(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["pro", None])),
        st.recursive(st.none() | st.integers() | st.text(max_size=3), st.lists, max_leaves=4),
    ),
    cut=st.integers(0, 3),
)
def test_any_row_is_answered_alike(bench: Any, value: Any, cut: int) -> None:
    with_desk, without = Side(bench, has_desk=True), Side(bench, has_desk=False)
    sent = row(value)
    sent = sent[: len(sent) - cut]
    assert with_desk.answer(sent) == without.answer(sent)
    assert with_desk.totals() == without.totals()


def test_leaving_server_says_so_to_common_requests_too(sides: tuple[Side, Side]) -> None:
    for side in sides:
        side.connections.leave()
    first, second = (side.answer(COMMON["a list"]) for side in sides)
    assert first == second
    assert b"Connection: close" in first


def test_short_deadlines_keys_and_missing_parts_leave_no_desk(bench: Any) -> None:
    assert list(Side(bench, has_desk=True, deadline_s=0.1).routes.common()) == []
    scan = Side(bench, has_desk=False).connections._scan
    assert make_desk(scan, None, lambda: 0.0, [(b"/", None, None, (0,) * 6, 1)]) is None  # type: ignore[list-item]
    assert make_desk(lambda *_: None, bench.metrics.tally, lambda: 0.0, []) is None
    with pytest.raises(IndexError):
        make_desk(scan, bench.metrics.tally, lambda: 0.0, [(b"/", len, len, (10**9,) * 6, 1)])  # type: ignore[list-item]
