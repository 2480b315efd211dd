"""Tracing with OpenTelemetry: a span for every infer request, with its wait and its prediction.

The SDK sets itself up from its own environment variables: sampler, exporter, resource. A span is
made when its request has been answered: by then all is known of it, and nobody waits for it.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import entry_points

import msgspec
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from twofold.errors import ConfigError, problem
from twofold.wire.http import path_of
from twofold.wire.request_id import REQUEST_ID
from twofold.wire.tracing import GROUP
from twofold.wire.watched import Ended, Exchange

log = logging.getLogger("twofold.wire")

PARENT = ((b"traceparent", "traceparent"), (b"tracestate", "tracestate"))
UNKNOWN_SERVICE = "unknown_service"
"""So the name of a service begins that nobody gave one."""
FAULT = 500
"""From this status on it is the server that failed (HTTP semantic conventions of OpenTelemetry)."""
SWITCH_S = 0.0005
"""How long the threads that encode spans may keep the event loop waiting; else it is ten times as
long, again and again, for as long as they encode."""
CLOSE_S = 1.0
"""How long the last spans may take to be delivered: a worker has to end soon after draining."""
NOBODY = Context()


class _Refusal(msgspec.Struct):
    code: str


class _Ids(IdGenerator):
    """Random ids, whatever a model does to the random numbers that all share."""

    def __init__(self) -> None:
        self._bits = random.Random().getrandbits  # noqa: S311 - no secret

    def generate_span_id(self) -> int:
        return self._bits(64) or 1

    def generate_trace_id(self) -> int:
        return self._bits(128) or 1

    def is_trace_id_random(self) -> bool:
        return True


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, processors: Sequence[SpanProcessor], *, version: str, scheme: str) -> None:
        """Set the SDK up.

        Args:
            processors: Take the spans away.
            version: Of twofold.
            scheme: `http` or `https`.
        """
        # Else whatever a client sends as its trace would be in the log.
        logging.getLogger("opentelemetry.trace").setLevel(logging.ERROR)
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME)).startswith(UNKNOWN_SERVICE):
            named = Resource({SERVICE_NAME: "twofold", SERVICE_VERSION: version})
            resource = resource.merge(named)
        self._provider = TracerProvider(
            resource=resource, id_generator=_Ids(), shutdown_on_exit=False
        )
        for item in processors:
            self._provider.add_span_processor(item)
        self._tracer = self._provider.get_tracer("twofold", version)
        self._propagator = TraceContextTextMapPropagator()
        self._code = msgspec.json.Decoder(_Refusal).decode
        self._scheme = scheme

    def watch(self, exchange: Exchange) -> None:
        """Make the spans of a request; of others than infer requests there are none."""
        ended, request = exchange.ended, exchange.request
        if ended is None:
            return
        parent = NOBODY
        if b"traceparent" in request.headers:
            headers = request.headers
            sent = {
                text: headers[name].decode("latin-1") for name, text in PARENT if name in headers
            }
            parent = self._propagator.extract(sent, NOBODY)
        end_ns = time.time_ns()

        def wall_ns(at_s: float) -> int:
            """An instant of the monotonic clock on the wall's."""
            return end_ns - round((exchange.done_s - at_s) * 1e9)

        span = self._tracer.start_span(
            f"POST {ended.route}",
            parent,
            SpanKind.SERVER,
            self._attributes(exchange, ended),
            start_time=wall_ns(request.received_s),
        )
        # One that isn't sampled costs no more than that.
        if span.is_recording():
            stages = set_span_in_context(span, NOBODY)
            asked_s = exchange.done_s if ended.started_s is None else ended.started_s
            if ended.waited:
                self._stage("queue", stages, wall_ns(request.received_s), wall_ns(asked_s))
            if ended.started_s is not None:
                done_s = min(asked_s + ended.predict_s, exchange.done_s)
                self._stage("predict", stages, wall_ns(asked_s), wall_ns(done_s))
            if exchange.response.status >= FAULT:
                span.set_status(StatusCode.ERROR)
            span.end(end_ns)

    def close(self) -> None:
        """Deliver what was made, as far as there is time for it."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            log.warning("the last spans couldn't be delivered in %.0f s", CLOSE_S)

    def _stage(self, name: str, context: Context, start_ns: int, end_ns: int) -> None:
        self._tracer.start_span(name, context, start_time=start_ns).end(end_ns)

    def _attributes(self, exchange: Exchange, ended: Ended) -> dict[str, AttributeValue]:
        request, response = exchange.request, exchange.response
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "http.response.status_code": response.status,
            "http.route": ended.route,
            "url.path": path_of(request),
            "url.scheme": self._scheme,
            "twofold.model": ended.served.name,
            "twofold.version": ended.served.version,
            "twofold.outcome": str(ended.outcome),
            "twofold.rows": ended.rows,
        }
        if response.status >= FAULT:
            attributes["error.type"] = self._error_type(response.body, response.status)
        if REQUEST_ID in request.headers:
            attributes["twofold.request_id"] = request.headers[REQUEST_ID].decode("ascii")
        return attributes

    def _error_type(self, body: bytes, status: int) -> str:
        try:
            return self._code(body).code
        except msgspec.MsgspecError:
            return str(status)


def open_tracing(names: Sequence[str], *, version: str, scheme: str) -> Tracing:
    """Set tracing up in this process.

    Args:
        names: The exporters; see `twofold.wire.tracing.check`.
        version: Of twofold.
        scheme: `http` or `https`.

    Raises:
        ConfigError: The SDK can't make anything of its environment variables.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
    try:
        exporters = [next(iter(entry_points(group=GROUP, name=name))).load()() for name in names]
        # Each has a thread that encodes and sends; its queue is bounded by OTEL_BSP_*.
        processors = [BatchSpanProcessor(exporter) for exporter in exporters]
        return Tracing(processors, version=version, scheme=scheme)
    except ValueError as error:
        fix = "Mend the variable that it names."
        raise ConfigError(
            problem("OTEL_*", "values that OpenTelemetry can use", str(error), fix)
        ) from error
