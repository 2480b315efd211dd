"""What a server does, told from its `GET /metrics` alone: two looks and the time between them."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping

from twofold.app.endpoint import Endpoint
from twofold.errors import ConfigError
from twofold.lab.scrape import Scrape, grown, grown_buckets, quantile
from twofold.serving.metrics import (
    CONNECTIONS,
    DEATHS,
    DURATION,
    IN_HAND,
    LAG,
    PREDICT,
    QUEUE,
    RELOADS,
    REQUESTS,
    RESPONSES,
    RESTARTS,
    ROWS,
    WAITING,
    Outcome,
)


@dataclasses.dataclass(frozen=True)
class ModelActivity:
    """What was asked of one version of a model in an interval.

    The times are those of answered requests; None if there was none.

    Attributes:
        model: Its name.
        version: Which.
        answered_per_s: Requests answered with predictions.
        shed_per_s: Refused because of load or a stopping server.
        late_per_s: Given up because their deadline came.
        failed_per_s: Ended by a model that failed.
        invalid_per_s: Rows that don't fit the signature.
        rows_per_s: Rows predicted.
        p50_s: From a request's first byte to its answer, as are the next two.
        p90_s: See `p50_s`.
        p99_s: See `p50_s`.
        queue_p99_s: From a request's first byte to its turn.
        predict_p50_s: Inside the model.
        predict_p99_s: See `predict_p50_s`.
        waiting_requests: For the model, at the interval's end.
        in_hand_requests: Of the model's own process, at the interval's end.
    """

    model: str
    version: str
    answered_per_s: float
    shed_per_s: float
    late_per_s: float
    failed_per_s: float
    invalid_per_s: float
    rows_per_s: float
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    queue_p99_s: float | None
    predict_p50_s: float | None
    predict_p99_s: float | None
    waiting_requests: float
    in_hand_requests: float


@dataclasses.dataclass(frozen=True)
class ServerActivity:
    """What a server did as a whole; the counts are since it was started.

    Attributes:
        connections: Open at the interval's end; the one that asked is among them.
        responses_per_s: By class of HTTP status, as `2xx`; the answers to `GET /metrics`, too.
        event_loop_lag_s: How late the workers' event loops are, together.
        worker_restarts: Workers that died and were replaced.
        model_process_restarts: Models' own processes that died or hung.
        reloads_switched: Changes of the served versions.
        reloads_refused: Changes that couldn't be loaded.
    """

    connections: float
    responses_per_s: Mapping[str, float]
    event_loop_lag_s: float
    worker_restarts: float
    model_process_restarts: float
    reloads_switched: float
    reloads_refused: float


@dataclasses.dataclass(frozen=True)
class Activity:
    """What a server did between two looks.

    Attributes:
        interval_s: Between the looks.
        is_restarted: Whether a counter fell, as when the server was started anew: what it counted
            since then is taken for all of the interval.
        server: The server as a whole.
        models: Each version, in the server's order.
    """

    interval_s: float
    is_restarted: bool
    server: ServerActivity
    models: tuple[ModelActivity, ...]


def between(before: Scrape, after: Scrape) -> Activity:
    """Tell from two looks what happened between them."""
    versions = dict.fromkeys(
        (known["model"], known["version"])
        for known in map(dict, after.values.get(REQUESTS, {}))
        if {"model", "version"} <= known.keys()
    )
    return Activity(
        interval_s=after.at_s - before.at_s,
        is_restarted=_is_restarted(before, after),
        server=_server(before, after),
        models=tuple(_model(before, after, *version) for version in versions),
    )


def _is_restarted(before: Scrape, after: Scrape) -> bool:
    return any(
        value < before.values.get(name, {}).get(labels, 0.0)
        for name, series in after.values.items()
        if name.endswith("_total")
        for labels, value in series.items()
    )


def _model(before: Scrape, after: Scrape, model: str, version: str) -> ModelActivity:
    names = {"model": model, "version": version}
    ended = {outcome: _per_s(before, after, REQUESTS, **names, outcome=outcome.value)
             for outcome in Outcome}  # fmt: skip

    def answered_s(family: str, *shares: float) -> Iterator[float | None]:
        labels = {**names, "outcome": Outcome.OK.value}
        came = grown_buckets(before.buckets(family, **labels), after.buckets(family, **labels))
        return (quantile(share, came) for share in shares)

    p50_s, p90_s, p99_s = answered_s(DURATION, 0.5, 0.9, 0.99)
    [queue_p99_s] = answered_s(QUEUE, 0.99)
    predict_p50_s, predict_p99_s = answered_s(PREDICT, 0.5, 0.99)
    return ModelActivity(
        model=model,
        version=version,
        answered_per_s=ended[Outcome.OK],
        shed_per_s=ended[Outcome.REFUSED],
        late_per_s=ended[Outcome.LATE],
        failed_per_s=ended[Outcome.FAILED],
        invalid_per_s=ended[Outcome.INVALID],
        rows_per_s=_per_s(before, after, ROWS, **names),
        p50_s=p50_s,
        p90_s=p90_s,
        p99_s=p99_s,
        queue_p99_s=queue_p99_s,
        predict_p50_s=predict_p50_s,
        predict_p99_s=predict_p99_s,
        waiting_requests=after.value(WAITING, **names),
        in_hand_requests=after.value(IN_HAND, **names),
    )


def _server(before: Scrape, after: Scrape) -> ServerActivity:
    responses: dict[str, float] = {}
    for labels in after.values.get(RESPONSES, {}):
        status = dict(labels).get("status", "?")
        kind = f"{status[:1]}xx"
        rate = _per_s(before, after, RESPONSES, **dict(labels))
        responses[kind] = responses.get(kind, 0.0) + rate
    return ServerActivity(
        connections=after.value(CONNECTIONS),
        responses_per_s=responses,
        event_loop_lag_s=after.value(LAG),
        worker_restarts=after.value(RESTARTS),
        model_process_restarts=after.value(DEATHS),
        reloads_switched=after.value(RELOADS, result="switched"),
        reloads_refused=after.value(RELOADS, result="refused"),
    )


def _per_s(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    """How fast a counter grew."""
    return grown(before, after, name, **labels) / (after.at_s - before.at_s)


def watch(
    endpoint: Endpoint,
    *,
    interval_s: float,
    count: int | None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[Activity | ConfigError]:
    """Look at a server again and again.

    A server that goes away is asked in every interval until it is back; the interval in which it
    is goes back to the last look before.

    Args:
        endpoint: Where its metrics are.
        interval_s: Between two looks.
        count: So many intervals; None never ends.
        clock: Monotonic seconds.
        wait: Waits for so many seconds.

    Yields:
        What the server did, or why that isn't known, once each interval.

    Raises:
        ConfigError: The server isn't there at the beginning, or in the last interval.
    """
    before = endpoint.scrape(clock)
    due_s = before.at_s
    for number in itertools.count(1):
        # Looks that took long don't make the others late, and aren't made up for.
        due_s = max(due_s + interval_s, clock())
        wait(due_s - clock())
        try:
            after = endpoint.scrape(clock)
        except ConfigError as error:
            if number == count:
                raise
            yield error
        else:
            yield between(before, after)
            before = after
        if number == count:
            return
