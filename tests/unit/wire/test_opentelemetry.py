"""Spans of infer requests: whose child they are, when they were, what they say and what not."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from callers import Waiter
from workplace import clear

from twofold.errors import ConfigError, DeadlineExceeded, Overloaded, PredictionFailed
from twofold.serving.waiting import Task
from twofold.wire.http import CLOSE, Request
from twofold.wire.statuses import WireError

if os.environ.get("CI") != "true":
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel isn't installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from twofold.wire import opentelemetry
from twofold.wire.opentelemetry import Tracing, open_tracing

PREDICT = "/v1/models/churn/predict"
ROW = {"row": [1.0, None]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{PARENT}-01".encode()
PRIVATE = "what-the-caller-says"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear(monkeypatch, "OTEL_")


class Traced:
    """The bench's routes, traced into memory."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self.memory = InMemorySpanExporter()
        processor = SimpleSpanProcessor(self.memory)
        self.tracing = Tracing([processor], version="9.9", scheme="https")
        bench.watch(self.tracing.watch)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """By name; the request's own is `request`."""
        finished = self.memory.get_finished_spans()
        named = {span.name if span.parent else "request": span for span in finished}
        for span in finished:
            if span.kind is SpanKind.SERVER:
                named["request"] = span
        assert len({span.context.trace_id for span in finished}) <= 1
        return named

    @property
    def request(self) -> ReadableSpan:
        return self.spans["request"]


@pytest.fixture
def traced(bench: Any) -> Traced:
    return Traced(bench)


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def test_infer_request_has_a_server_span_with_its_facts(traced: Traced) -> None:
    traced.bench.ask("POST", PREDICT + "?a=b", ROW, {b"x-request-id": b"mine"})
    span = traced.request
    assert (span.name, span.kind, span.parent) == (
        "POST /v1/models/{model}/predict", SpanKind.SERVER, None,
    )  # fmt: skip
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v1/models/{model}/predict",
        "url.path": PREDICT,
        "url.scheme": "https",
        "twofold.model": "churn",
        "twofold.version": "3",
        "twofold.outcome": "ok",
        "twofold.rows": 1,
        "twofold.request_id": "mine",
    }
    assert span.status.status_code is StatusCode.UNSET


def test_request_that_is_no_infer_request_has_none(traced: Traced) -> None:
    for method, target in (("GET", "/metrics"), ("GET", PREDICT), ("POST", "/nope")):
        traced.bench.ask(method, target, ROW)
    assert traced.spans == {}


def test_span_belongs_to_the_trace_of_its_caller(traced: Traced) -> None:
    state = b"vendor=value"
    traced.bench.ask("POST", PREDICT, ROW, {b"traceparent": SAMPLED, b"tracestate": state})
    span = traced.request
    assert span.context is not None
    assert span.parent is not None
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.context.trace_state.to_header() == "vendor=value"


@pytest.mark.parametrize(
    "headers",
    [
        {b"traceparent": b"\xff" * 600},
        {b"traceparent": f"00-{'0' * 32}-{PARENT}-01".encode()},
        {b"traceparent": SAMPLED + b", " + SAMPLED},
        {b"tracestate": b"vendor=value"},
    ],
)
def test_trace_of_the_caller_that_makes_no_sense_is_a_new_one(
    traced: Traced, caplog: pytest.LogCaptureFixture, headers: dict[bytes, bytes]
) -> None:
    traced.bench.ask("POST", PREDICT, ROW, headers)
    assert traced.request.parent is None
    assert caplog.records == []


def test_what_a_client_sends_as_its_trace_is_not_logged(
    traced: Traced, caplog: pytest.LogCaptureFixture
) -> None:
    for state in (PRIVATE.encode(), b"x" * 600, b"\xff\xfe"):
        traced.bench.ask("POST", PREDICT, ROW, {b"traceparent": SAMPLED, b"tracestate": state})
    assert caplog.records == []


def test_caller_that_is_not_sampled_has_no_span(traced: Traced) -> None:
    unsampled = SAMPLED[:-1] + b"0"
    assert traced.bench.ask("POST", PREDICT, ROW, {b"traceparent": unsampled}).status == 200
    assert traced.spans == {}


def test_sampler_is_the_one_of_the_environment(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    traced = Traced(bench)
    bench.ask("POST", PREDICT, ROW)
    assert traced.spans == {}


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "twofold"),
        ({"OTEL_SERVICE_NAME": "shop"}, "shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=store,zone=a"}, "store"),
    ],
)
def test_service_is_named_by_the_environment_or_twofold(
    bench: Any, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    traced = Traced(bench)
    bench.ask("POST", PREDICT, ROW)
    attributes = traced.request.resource.attributes
    assert attributes["service.name"] == name
    assert attributes.get("zone") == ("a" if "ATTRIBUTES" in str(environment) else None)


def test_stages_are_children_with_their_own_instants(traced: Traced) -> None:
    bench = traced.bench
    bench.slow_down(0.25)
    before_ns = time.time_ns()
    bench.ask("POST", PREDICT, ROW, received_s=bench.now_s - 0.5)
    after_ns = time.time_ns()
    request, predicted = traced.spans["request"], traced.spans["predict"]
    assert seconds(request) == pytest.approx(0.75)
    assert seconds(predicted) == pytest.approx(0.25)
    assert predicted.parent == request.context
    assert before_ns <= (request.end_time or 0) <= after_ns
    assert predicted.end_time == request.end_time
    # It was predicted at once, in no lane.
    assert "queue" not in traced.spans


def in_lane(bench: Any) -> tuple[Traced, Task]:
    """A request that waits in a lane, traced."""
    traced = Traced(bench)
    return traced, bench.wait_in_lane(Waiter())


def test_wait_in_a_lane_is_a_stage_of_its_own(bench: Any) -> None:
    traced, task = in_lane(bench)
    task.started_s, task.predict_s = bench.now_s + 0.3, 0.2
    bench.now_s += 0.6
    task.end([[2.0]])
    request, queue, predict = (traced.spans[name] for name in ("request", "queue", "predict"))
    assert [seconds(item) for item in (request, queue, predict)] == pytest.approx([0.6, 0.3, 0.2])
    assert queue.start_time == request.start_time
    assert queue.end_time == predict.start_time


def test_request_whose_model_was_never_asked_only_waited(bench: Any) -> None:
    traced, task = in_lane(bench)
    bench.now_s += 0.5
    task.end(DeadlineExceeded("late"))
    assert set(traced.spans) == {"request", "queue"}
    assert seconds(traced.spans["queue"]) == pytest.approx(0.5)
    assert traced.request.status.status_code is StatusCode.ERROR
    assert (traced.request.attributes or {})["error.type"] == "deadline_exceeded"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Overloaded("full", retry_after_s=1), "overloaded"),
        (PredictionFailed(PRIVATE), "prediction_failed"),
        (RuntimeError(PRIVATE), "internal"),
    ],
)
def test_failure_of_the_server_sets_the_status_and_says_which(
    bench: Any, error: Exception, kind: str
) -> None:
    traced, task = in_lane(bench)
    task.end(error)
    span = traced.request
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == kind


def test_fault_of_the_caller_is_no_error_of_the_server(traced: Traced) -> None:
    traced.bench.ask("POST", PREDICT, {"row": ["x", None]})
    span = traced.request
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in (span.attributes or {})
    assert (span.attributes or {})["twofold.outcome"] == "invalid"


def test_request_that_was_refused_unread_has_a_span(traced: Traced) -> None:
    request = Request(b"POST", PREDICT.encode(), {b"traceparent": SAMPLED}, b"", CLOSE, 100.0)
    traced.bench.routes.refuse(WireError("body_too_large", "x: expected y, got z. Do."), request)
    assert (traced.request.attributes or {})["http.response.status_code"] == 413
    assert traced.request.parent is not None


def test_nothing_that_a_request_says_is_in_its_spans(traced: Traced) -> None:
    headers = {b"authorization": f"Bearer {PRIVATE}".encode(), b"cookie": PRIVATE.encode()}
    for body in ({"row": [1.0, PRIVATE]}, {"row": [666.0, None]}, PRIVATE.encode()):
        traced.bench.ask("POST", f"{PREDICT}?{PRIVATE}", body, headers)
    finished = traced.memory.get_finished_spans()
    assert len(finished) >= 3
    assert not [span for span in finished if PRIVATE in span.to_json()]
    assert not [span for span in finished if "secret of the model" in span.to_json()]


def test_ids_do_not_follow_the_random_numbers_of_a_model(bench: Any) -> None:
    traced = Traced(bench)
    for _ in range(3):
        random.seed(7)
        bench.ask("POST", PREDICT, ROW)
    finished = traced.memory.get_finished_spans()
    assert len({span.context.span_id for span in finished if span.context}) == len(finished)


class Stuck(SpanExporter):
    """An exporter that fails, and then doesn't come back."""

    def __init__(self) -> None:
        self.calls = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls += 1
        raise RuntimeError("no collector")

    def shutdown(self) -> None:
        threading.Event().wait()


def test_collector_that_fails_harms_no_answer_and_does_not_hold_up_the_end(
    bench: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(opentelemetry, "CLOSE_S", 0.05)
    stuck = Stuck()
    tracing = Tracing([BatchSpanProcessor(stuck)], version="9.9", scheme="http")
    bench.watch(tracing.watch)
    # More than the processor's queue holds.
    statuses = {bench.post(ROW)[0] for _ in range(3_000)}
    assert statuses == {200}
    began_s = time.monotonic()
    tracing.close()
    assert time.monotonic() - began_s < 10.0
    assert stuck.calls > 0
    assert "the last spans couldn't be delivered" in caplog.text


@contextlib.contextmanager
def kept_switch_interval() -> Iterator[None]:
    before_s = sys.getswitchinterval()
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


def test_unreachable_collector_harms_no_answer(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed, kept_switch_interval():
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setattr(opentelemetry, "CLOSE_S", 5.0)
        tracing = open_tracing(["otlp_proto_http"], version="9.9", scheme="http")
        bench.watch(tracing.watch)
        assert {bench.post(ROW)[0] for _ in range(600)} == {200}
        tracing.close()


def test_console_exporter_writes_to_the_console() -> None:
    code = (
        "from twofold.wire.opentelemetry import open_tracing; "
        "tracing = open_tracing(['console'], version='9.9', scheme='http'); "
        "tracing._tracer.start_span('told').end(); tracing.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert '"name": "told"' in done.stdout


def test_threads_that_encode_spans_let_the_loop_in_soon() -> None:
    with kept_switch_interval():
        sys.setswitchinterval(0.005)
        open_tracing(["console"], version="9.9", scheme="http").close()
        assert sys.getswitchinterval() == pytest.approx(opentelemetry.SWITCH_S)


def test_value_that_the_sdk_cannot_use_is_an_error_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "-1")
    with kept_switch_interval(), pytest.raises(ConfigError, match="OTEL_SPAN_ATTRIBUTE_COUNT"):
        open_tracing(["console"], version="9.9", scheme="http")
