"""The native way through the common request answers, and counts, what the usual way does."""

from __future__ import annotations

import itertools
import math
import os
import secrets
import struct
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import VALUE, record_of

from twofold.model.signature import Field, Signature
from twofold.serving.admission import GUARD_S, SHARES
from twofold.serving.cost import Cost, Curve
from twofold.serving.lane import SHUT_S, Lane
from twofold.serving.metrics import REQUESTS, Metrics, layout_for
from twofold.serving.native import native
from twofold.serving.priority import Priority
from twofold.serving.service import Served, Service
from twofold.serving.settings import ServeSettings
from twofold.wire.access import Access
from twofold.wire.connection import Connections
from twofold.wire.desk import make_desk
from twofold.wire.infer import WORDS_S, Infer
from twofold.wire.routes import Routes
from twofold.wire.statuses import REASONS

if native() is None:
    assert os.environ.get("CI") != "true", "the native part was not built"
    pytest.skip("needs the native part", allow_module_level=True)

V1, V2 = "/v1/models/churn/predict", "/v2/models/churn/infer"
POINT_V1, POINT_V2 = "/v1/models/point/predict", "/v2/models/point/infer"
POINT = Signature(fields=(Field(name="x", type="float64"), Field(name="y", type="float64")))


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


def quick_point(row: Any) -> float | None:
    """The same for a model of two numbers."""
    values = [row.get("x"), row.get("y")] if isinstance(row, dict) else row
    if not isinstance(values, (list, tuple)) or len(row) != 2 or len(values) != 2:
        return None
    if any(type(value) not in (int, float) or not math.isfinite(value) for value in values):
        return None
    return values[0] * 2.0


class Side:
    """A server, with or without the desk."""

    def __init__(self, bench: Any, *, has_desk: bool, turn: Any = None, **changes: Any) -> None:
        self.now_s = 100.0
        known = bench.service.default("churn")
        model = known.model
        layout = layout_for([("churn", "3"), ("point", "1")], sorted(REASONS))
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), region=0)
        model.quick = quick
        served = Served(known.record, self.metrics, model=model, one_by_one=10, turn=turn)
        pointer: Any = type(model)(1)
        pointer.quick = quick_point
        point = Served(record_of("point", "1", POINT, VALUE), self.metrics, model=pointer)
        self.lag_s = 0.0
        service = Service(
            [served, point],
            self.metrics,
            clock=lambda: self.now_s,
            lag_s=lambda _: self.lag_s,
        )
        service.ready()
        self.routes = Routes(service, ServeSettings(**changes), access=Access(), version="9.9")
        common = list(self.routes.common()) if has_desk else []
        self.connections = Connections(
            self.routes,
            ServeSettings(**changes),
            clock=lambda: self.now_s,
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

    def desk(self, **changes: Any) -> Any:
        """A desk for `V2` only, something about which is changed."""
        (common,) = [item for item in self.routes.common() if item.target == V2.encode()]
        common = common._replace(**changes)
        return make_desk(self.connections._scan, self.metrics.tally, lambda: 100.0, [common])

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


def tensor(name: str, datatype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def infer(*tensors: dict[str, Any], path: str = V2, **more: Any) -> bytes:
    return request(msgspec.json.encode({"inputs": tensors, **more}), path)


def raw(values: bytes, *tensors: dict[str, Any], path: str = POINT_V2, **more: Any) -> bytes:
    each = len(values) // len(tensors)
    inputs = [item | {"parameters": {"binary_data_size": each}} for item in tensors]
    head = msgspec.json.encode({"inputs": inputs, **more})
    return request(head + values, path, f"Inference-Header-Content-Length: {len(head)}")


PRO = tensor("plan", "BYTES", 1, data=["pro"])
AMOUNT = tensor("amount", "FP64", 1, data=[1.5])
BOTH = struct.pack("<2d", 1.5, -2.5)
COMMON = {
    "a list": row([1.5, "pro"]),
    "an object": row({"amount": 2.5, "plan": None}),
    "with the content type": request(
        b'{"row":[1.5,"pro"]}', V1, "Content-Type: application/json", "User-Agent: x"
    ),
    "asking to stay": request(b'{"row":[1.5,"pro"]}', V1, "Connection: keep-alive"),
    "tensors in JSON": infer(AMOUNT, PRO),
    "text with brackets and quotes beside": infer(
        tensor("amount", "FP64", 1, data=[1.5]), PRO, comment='data": [1] "', path=V2
    ),
    "columns of one": infer(
        tensor("amount", "FP64", 1, 1, data=[[1.5]]), tensor("plan", "BYTES", 1, 1, data=["pro"])
    ),
    "no plan": infer(AMOUNT, tensor("plan", "BYTES", 1, data=[None])),
    "one tensor": infer(tensor("all", "FP64", 1, 2, data=[1.5, 2.5]), path=POINT_V2),
    "one tensor, nested": infer(tensor("all", "FP64", 1, 2, data=[[1.5, 2.5]]), path=POINT_V2),
    "one tensor of whole numbers": infer(tensor("all", "INT8", 1, 2, data=[1, 2]), path=POINT_V2),
    "floats that are whole": infer(tensor("all", "FP64", 1, 2, data=[1, 2]), path=POINT_V2),
    "one raw tensor": raw(BOTH, tensor("all", "FP64", 1, 2)),
    "raw tensors": raw(BOTH, tensor("x", "FP64", 1), tensor("y", "FP64", 1)),
    "raw floats of half the size": raw(BOTH[8:], tensor("all", "FP32", 1, 2)),
    "raw answer": infer(
        tensor("all", "FP64", 1, 2, data=[1.5, 2.5]),
        path=POINT_V2,
        parameters={"binary_data_output": True},
    ),
    "all raw": raw(BOTH, tensor("all", "FP64", 1, 2), parameters={"binary_data_output": True}),
    "one output": infer(
        tensor("all", "FP64", 1, 2, data=[1.5, 2.5]),
        path=POINT_V2,
        outputs=[{"name": VALUE.names[0]}],
    ),
    "of a version": request(b'{"row":[1.5,"pro"]}', "/v1/models/churn/versions/3/predict"),
    "traced": request(b'{"row":[1.5,"pro"]}', V1, "traceparent: 00-1-2-3", "X-Twofol: x"),
    "asking for times": request(b'{"row":[1.5,"pro"]}', V1, "x-twofold-TIMING: 1"),
    "with a deadline": request(b'{"row":[1.5,"pro"]}', V1, "X-Twofold-Deadline-Ms: 500"),
}
OTHER = {
    "tensors in another order": infer(PRO, AMOUNT),
    "a tensor too many": infer(AMOUNT, PRO, tensor("note", "FP64", 1, data=[1.5])),
    "a tensor too few": infer(AMOUNT),
    "a value too many": infer(tensor("amount", "FP64", 1, data=[1.5, 2.5]), PRO),
    "a plan too many": infer(AMOUNT, tensor("plan", "BYTES", 1, data=["pro", "pro"])),
    "a plan that isn't known": infer(AMOUNT, tensor("plan", "BYTES", 1, data=['"]"'])),
    "data twice": request(
        msgspec.json.encode({"inputs": [AMOUNT, PRO]})[:-3] + b',"data":[]}]}', V2
    ),
    "an id of its own": infer(AMOUNT, PRO, id="7"),
    "an id before raw bytes": raw(BOTH, tensor("all", "FP64", 1, 2), id="7"),
    "numbers to be rounded": infer(tensor("all", "FP32", 1, 2, data=[1.1, 2.5]), path=POINT_V2),
    "two rows": infer(tensor("all", "FP64", 2, 2, data=[1.5, 2.5, 1.5, 2.5]), path=POINT_V2),
    "two raw rows": raw(BOTH + BOTH, tensor("all", "FP64", 2, 2)),
    "a raw NaN": raw(struct.pack("<2d", 1.5, math.nan), tensor("all", "FP64", 1, 2)),
    "a raw infinity": raw(struct.pack("<2d", math.inf, 1.0), tensor("all", "FP64", 1, 2)),
    "beyond the datatype": infer(tensor("all", "INT8", 1, 2, data=[128, 2]), path=POINT_V2),
    "no whole number": infer(tensor("all", "INT8", 1, 2, data=[1.5, 2]), path=POINT_V2),
    "a row in a row": request(b'{"row":[1.5,"pro"],"row":[2.5,"pro"]}'),
    "many rows": request(b'{"rows":[[1.5,"pro"]]}'),
    "no JSON": request(b"{"),
    "a wrong row": row([1.5, "gold"]),
    "a whole number": row([1, "pro"]),
    "a name twice": request(b'{"row":{"amount":1.5,"plan":"pro","plan":"pro"}}'),
    "a row the quick way breaks on": row([13.0, "pro"]),
    "a row the model fails on": row([666.0, "basic"]),
    "a wrong deadline": request(b'{"row":[1.5,"pro"]}', V1, "x-twofold-deadline-ms: no"),
    "another header of ours": request(b'{"row":[1.5,"pro"]}', V1, "X-Twofold-Timings: 1"),
    "a class": request(b'{"row":[1.5,"pro"]}', V1, "X-TWOFOLD-Priority: urgent"),
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


PIECES = [
    *(bytes([byte]) for byte in b'[]{}",:\\ 0-.e\xff\0'),
    b'"]', b'["', b"null", b"true", b"1e400", b"123456789012345678901", b'"data":[',
]  # fmt: skip


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    what=st.sampled_from([name for name in COMMON if name != "asking to stay"]),
    changes=st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3), st.sampled_from(PIECES)), max_size=3
    ),
)
def test_what_is_nearly_of_a_known_form_is_answered_alike(
    bench: Any, what: str, changes: list[tuple[int, int, bytes]]
) -> None:
    with_desk, without = Side(bench, has_desk=True), Side(bench, has_desk=False)
    head, _, body = COMMON[what].partition(b"\r\n\r\n")
    target = head.split()[1].decode()
    own = [line for line in head.decode().split("\r\n")[2:] if "Content-Length: " not in line[:16]]
    for place, removed, added in changes:
        at = place % (len(body) + 1)
        body = body[:at] + added + body[at + removed :]
    sent = request(body, target, *own)
    for asked in (COMMON[what], sent, sent, COMMON[what]):
        assert with_desk.answer(asked) == without.answer(asked)
    assert with_desk.totals() == without.totals()


def test_form_is_told_once_however_many_rows_come(sides: tuple[Side, Side]) -> None:
    told: list[bytes] = []
    side = sides[0]
    form = side.routes._routes[V2.encode()][b"POST"]._reader.form  # type: ignore[attr-defined]

    def learn(body: bytes, length: bytes | None) -> Any:
        told.append(body)
        return form(body, length)

    desk = side.desk(form=learn)
    for number in range(100):
        sent = infer(tensor("amount", "FP64", 1, data=[number + 0.5]), PRO)
        assert isinstance(desk.take(sent, 100.0), bytes)
    assert len(told) == 1


def test_clients_that_repeat_nothing_are_soon_left_to_others(sides: tuple[Side, Side]) -> None:
    told: list[bytes] = []
    side = sides[0]

    def learn(body: bytes, length: bytes | None) -> None:
        told.append(body)

    desk = side.desk(form=learn)
    for _ in range(1_000):
        assert not isinstance(desk.take(COMMON["tensors in JSON"], 100.0), bytes)
    assert 0 < len(told) < 100


def test_reader_that_breaks_leaves_the_request_to_others(sides: tuple[Side, Side]) -> None:
    def learn(body: bytes, length: bytes | None) -> None:
        raise ZeroDivisionError

    desk = sides[0].desk(form=learn)
    assert not isinstance(desk.take(COMMON["tensors in JSON"], 100.0), bytes)


@pytest.mark.parametrize(
    "piece", [b'"data":[\\"', b'"data":["', b'"data":[1,', b'{"row":', b"}   "]
)
def test_forms_are_looked_for_in_no_time_in_whatever_is_sent(
    sides: tuple[Side, Side], piece: bytes
) -> None:
    body = (piece * 16_384)[:65_000]
    began_s = time.thread_time()
    for target in (V1, V2):
        assert not isinstance(sides[0].connections.take(request(body, target), 100.0), bytes)
    # It took a quarter of a minute once: no machine is so slow, and none so quick.
    assert time.thread_time() - began_s < 2.0


def test_no_more_forms_are_kept_than_there_is_room_for(sides: tuple[Side, Side]) -> None:
    with_desk, without = sides
    for blanks in itertools.chain(range(40), range(40)):
        sent = request(b'{"row":[1.5,"pro"]}' + b" " * blanks)
        assert with_desk.answer(sent) == without.answer(sent)


RESPOND = (b"", len, b"", b"", b"")


@pytest.mark.parametrize(
    "told",
    [
        (),
        1,
        ((), len, 0, RESPOND),
        ((b"",), len, 0, RESPOND),
        ((b"", b""), len, 1, RESPOND),
        ((b"", b""), len, -1, RESPOND),
        ((b"", ""), len, 0, RESPOND),
        ((b"", b"") * 600, len, 0, RESPOND),
        ((b"", b""), len, 0, (b"", len, "", b"", b"")),
        ((b"", b""), len, 0, (b"",) * 4),
        ([b"", b""], len, 0, RESPOND),
    ],
)
def test_form_that_is_none_is_not_used(sides: tuple[Side, Side], told: Any) -> None:
    desk = sides[0].desk(form=lambda *_: told)
    assert not isinstance(desk.take(COMMON["tensors in JSON"], 100.0), bytes)


def test_leaving_server_says_so_to_common_requests_too(sides: tuple[Side, Side]) -> None:
    for side in sides:
        side.connections.leave()
    first, second = (side.answer(COMMON["a list"]) for side in sides)
    assert first == second
    assert b"Connection: close" in first


@pytest.mark.parametrize(("deadline_s", "status"), [(0.1, b"503"), (0.5, b"200"), (1.0, b"200")])
def test_a_loop_that_is_too_late_for_a_short_deadline_refuses_natively_read_requests_too(
    bench: Any, monkeypatch: pytest.MonkeyPatch, deadline_s: float, status: bytes
) -> None:
    monkeypatch.setattr("twofold.wire.infer.random", lambda: 0.5)
    sides = [Side(bench, has_desk=has, deadline_s=deadline_s) for has in (True, False)]
    assert len(list(sides[0].routes.common())) > 0
    for lag_s, expected in ((0.0, b"200"), (0.15, status), (0.0, b"200")):
        for side in sides:
            side.lag_s = lag_s
        first, second = (side.answer(COMMON["a list"]) for side in sides)
        assert first == second
        assert first.startswith(b"HTTP/1.1 " + expected)
    assert sides[0].totals() == sides[1].totals()


@pytest.mark.parametrize(
    ("text", "lag_s", "status", "is_native"),
    [
        ("100", 0.0, b"200", True),
        ("100", 0.15, b"503", True),
        ("500", 0.15, b"200", True),
        ("3600000", 0.15, b"200", True),
        ("3600001", 0.15, b"200", False),
        ("0100", 0.15, b"503", True),
        ("100.5", 0.0, b"200", False),
        ("0", 0.0, b"400", False),
        ("soon", 0.0, b"400", False),
    ],
)
def test_deadline_that_a_request_has_is_minded_natively_too(
    bench: Any,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    lag_s: float,
    status: bytes,
    is_native: bool,
) -> None:
    monkeypatch.setattr("twofold.wire.infer.random", lambda: 0.5)
    sent = request(b'{"row":[1.5,"pro"]}', V1, f"X-Twofold-Deadline-Ms: {text}")
    sides = [Side(bench, has_desk=has) for has in (True, False)]
    for side in sides:
        side.lag_s = lag_s
    first, second = (side.answer(sent) for side in sides)
    assert first == second
    assert first.startswith(b"HTTP/1.1 " + status)
    assert sides[0].totals() == sides[1].totals()
    assert isinstance(sides[0].connections.take(sent, 100.0), bytes) == is_native


def test_those_a_late_loop_refuses_are_refused_in_the_words_of_the_first(bench: Any) -> None:
    side = Side(bench, has_desk=True)
    sent = [request(b"{}", V1, f"X-Twofold-Deadline-Ms: {text}") for text in ("100", "50", "900")]
    side.lag_s = 0.15
    assert not any(isinstance(side.connections.take(one, 100.0), bytes) for one in sent)
    first = side.answer(sent[0])
    assert first.startswith(b"HTTP/1.1 503 ")
    assert [side.connections.take(one, 100.0) == first for one in sent] == [True, True, False]
    side.now_s += WORDS_S
    assert not isinstance(side.connections.take(sent[0], side.now_s), bytes)
    side.answer(sent[0])
    side.lag_s = 0.0
    assert not isinstance(side.connections.take(sent[0], side.now_s), bytes)


def test_share_that_is_refused_natively_grows_with_the_lag(bench: Any) -> None:
    side = Side(bench, has_desk=True)
    sent = request(b'{"row":[1.5,"pro"]}', V1, "X-Twofold-Deadline-Ms: 1000")
    side.lag_s = 0.9
    side.answer(sent)
    most_s = SHARES[Priority.NORMAL] * 1.0 - GUARD_S
    for part, ratio in ((0.5, 0.0), (0.6, 0.2), (0.75, 0.5), (0.95, 0.9), (1.0, 1.0)):
        side.lag_s = part * most_s
        taken = [side.connections.take(sent, 100.0) for _ in range(2000)]
        refused = sum(one.startswith(b"HTTP/1.1 503 ") for one in taken if isinstance(one, bytes))
        assert refused == pytest.approx(2000 * ratio, abs=120)
        assert all(isinstance(one, bytes) for one in taken)


def test_lag_that_cannot_be_told_leaves_a_deadline_to_others(sides: tuple[Side, Side]) -> None:
    (common,) = [item for item in sides[0].routes.common() if item.target == V2.encode()]
    sent = request(msgspec.json.encode({"inputs": [AMOUNT, PRO]}), V2, "X-Twofold-Deadline-Ms: 100")
    assert isinstance(sides[0].desk().take(sent, 100.0), bytes)
    for untold in (lambda _: 1 / 0, lambda _: "late"):
        desk = sides[0].desk(deadline=common.deadline._replace(lag_s=untold))
        assert not isinstance(desk.take(sent, 100.0), bytes)


def test_missing_parts_leave_no_desk(bench: Any) -> None:
    side = Side(bench, has_desk=False)
    common = list(side.routes.common())
    assert make_desk(side.connections._scan, None, lambda: 0.0, common) is None
    assert make_desk(side.connections._scan, side.metrics.tally, lambda: 0.0, []) is None
    assert make_desk(lambda *_: None, side.metrics.tally, lambda: 0.0, common) is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"answered": (10**9,) * 6}, IndexError),
        ({"answered": (0, 0, 0, 0, 0, -1)}, IndexError),
        ({"refused": (0, 0, 10**9)}, IndexError),
        ({"refused": (-1, 0, 0)}, IndexError),
        ({"quick": None}, TypeError),
        ({"gate": 1}, TypeError),
    ],
)
def test_desk_takes_nothing_that_it_could_not_use(
    sides: tuple[Side, Side], changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        sides[0].desk(**changes)


# ---- refusals


class Door(Lane):
    """A lane that refuses, with words of its own each time."""

    def __init__(self) -> None:
        super().__init__(
            Cost(Curve(0.0, 10.0), now_s=100.0),
            max_rows=10,
            max_tasks=10,
            clock=lambda: 100.0,
            lag_s=lambda _: 0.0,
        )

    def busy_s(self, now_s: float) -> float:
        return 60.0


def shut_side(bench: Any, *, has_desk: bool, **changes: Any) -> tuple[Side, Door]:
    door = Door()
    side = Side(bench, has_desk=has_desk, turn=door, **changes)
    return side, door


@pytest.fixture
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.serving.lane.random", lambda: 0.5)


@pytest.mark.usefixtures("no_chance")
@pytest.mark.parametrize("target", [V1, V2, "/v1/models/churn/versions/3/predict"])
@pytest.mark.parametrize(
    "lines",
    [(), ("Connection: keep-alive",), ("X-Twofold-Deadline-Ms: 5",), ("X-Twofold-Timing: 1",)],
)
def test_refusals_are_those_of_the_usual_way(
    bench: Any, target: str, lines: tuple[str, ...]
) -> None:
    (with_desk, _), (without, _) = (shut_side(bench, has_desk=has) for has in (True, False))
    sent = request(b'{"row":[1.5,"pro"]}', target, *lines)
    for _ in range(3):
        answers = [side.answer(sent) for side in (with_desk, without)]
        assert answers[0] == answers[1]
        assert answers[0].startswith(b"HTTP/1.1 503 ")
    assert with_desk.totals() == without.totals()


def refuses_natively(side: Side, body: bytes = b"{}", *lines: str) -> bool:
    return isinstance(side.connections.take(request(body, V1, *lines), 100.0), bytes)


def test_refusal_is_repeated_natively_until_something_changes(bench: Any) -> None:
    side, door = shut_side(bench, has_desk=True)
    assert not refuses_natively(side)
    side.answer(request(b"{}"))
    assert refuses_natively(side)
    assert not refuses_natively(side, b"{}", "X-Twofold-Priority: interactive")
    assert not refuses_natively(side, b"{")  # it may have fewer rows
    door.changed()
    assert not refuses_natively(side)


def test_refusal_is_repeated_natively_for_a_moment_only(bench: Any) -> None:
    side, _ = shut_side(bench, has_desk=True)
    side.answer(request(b"{}"))
    side.now_s += SHUT_S / 2
    assert refuses_natively(side)
    side.now_s += SHUT_S / 2
    assert not refuses_natively(side)


def test_refusal_is_repeated_natively_for_those_with_as_much_time_or_less(bench: Any) -> None:
    side, _ = shut_side(bench, has_desk=True)
    side.answer(request(b"{}", V1, "X-Twofold-Deadline-Ms: 50"))
    for text, expected in (("50", True), ("5", True), ("51", False), ("soon", False)):
        assert refuses_natively(side, b"{}", f"X-Twofold-Deadline-Ms: {text}") == expected
    assert not refuses_natively(side)
    side.answer(request(b"{}"))
    assert refuses_natively(side)
    assert refuses_natively(side, b"{}", "X-Twofold-Deadline-Ms: 50")
    assert refuses_natively(side, b"{}", "X-Twofold-Deadline-Ms: 1000")
    assert not refuses_natively(side, b"{}", "X-Twofold-Deadline-Ms: 1001")


def test_refusal_of_those_with_a_worse_chance_says_nothing_of_others(bench: Any) -> None:
    side, _ = shut_side(bench, has_desk=True)
    side.answer(request(b"{}", V1, "X-Twofold-Priority: background"))
    assert not refuses_natively(side)


def test_servers_with_keys_refuse_nobody_before_they_know_who_it_is(bench: Any) -> None:
    side, _ = shut_side(bench, has_desk=True)
    for route in side.routes._routes.values():
        if isinstance(infer := route.get(b"POST"), Infer):
            infer._access.is_open = False
    assert list(side.routes.common()) == []
