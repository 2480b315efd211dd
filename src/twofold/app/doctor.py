"""Looking at a running server: its metrics several times, whether it is ready, and its clock."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import OK

from twofold.app.endpoint import Endpoint
from twofold.errors import ConfigError
from twofold.lab.diagnosis import diagnose
from twofold.lab.fault import Finding
from twofold.lab.look import Look, ModelLook, Stage, StoreLook
from twofold.lab.scrape import Scrape
from twofold.serving.metrics import (
    ANSWERS,
    BLOCKED_AT,
    BLOCKS,
    CAPACITY,
    CONNECTIONS,
    DEATHS,
    DIED_AT,
    DURATION,
    IS_APART,
    LONGEST_BLOCK,
    MAX_AGE,
    MAX_CONNECTIONS,
    OVERLOADED_SINCE,
    PACKED_ROW_COST,
    PREDICT,
    QUEUE,
    RELOADED_AT,
    RELOADS,
    REQUESTS,
    RESPONSES,
    RESTARTED_AT,
    RESTARTS,
    ROW_COST,
    ROWS,
    SNAPSHOT_AS_OF,
    STORE_AWAY_SINCE,
    STORE_DURATION,
    STORE_REQUESTS,
    STORE_TIMEOUT,
    WAITING,
    WORKERS,
    Outcome,
)
from twofold.wire.exposition import CLIENTS

READY_PATH = "/v2/health/ready"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What was looked at, and what is wrong.

    Attributes:
        url: Of the server.
        looks: How often it was looked at.
        seconds: From the first look to the last.
        requests: Prediction requests that ended meanwhile.
        models: The versions that are served.
        workers: That answer.
        findings: What is wrong, what brings about the others first.
    """

    url: str
    looks: int
    seconds: float
    requests: float
    models: tuple[str, ...]
    workers: float
    findings: tuple[Finding, ...]


def look_after(
    endpoint: Endpoint,
    *,
    seconds: float,
    interval_s: float,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Diagnosis:
    """Look at a server for some seconds, and tell what is wrong with it.

    Args:
        endpoint: Where its metrics are.
        seconds: From the first look to the last.
        interval_s: Between two looks.
        clock: Monotonic seconds.
        wait: Waits for so many seconds.
        now: The time, UTC.

    Raises:
        ConfigError: It doesn't answer the first or the last time, or is no server of twofold.
    """
    looks = [_look(endpoint, clock, now)]
    end_s = looks[0].at_s + seconds
    while (left_s := end_s - clock()) > 0.0:
        wait(min(interval_s, left_s))
        try:
            looks.append(_look(endpoint, clock, now))
        except ConfigError:
            # A server that stands still for a while, or is started anew, is still to be told of.
            if clock() >= end_s:
                raise
    first, last = looks[0], looks[-1]
    return Diagnosis(
        url=endpoint.url,
        looks=len(looks),
        seconds=last.at_s - first.at_s,
        requests=max(0.0, _requests(last) - _requests(first)),
        models=tuple(item.name for item in last.models),
        workers=last.workers,
        findings=tuple(diagnose(looks)),
    )


def _requests(look: Look) -> float:
    return sum(sum(item.requests.values()) for item in look.models)


def _look(endpoint: Endpoint, clock: Callable[[], float], now: Callable[[], datetime]) -> Look:
    asked_at = now()
    reply = endpoint.read()
    answered_at = now()
    scrape = endpoint.understood(reply, at_s=clock())
    is_ready = endpoint.ask(READY_PATH).status == OK
    look = look_of(scrape, asked_at=asked_at, answered_at=answered_at)
    return dataclasses.replace(look, server_date=_date(reply.date), is_ready=is_ready)


def look_of(scrape: Scrape, *, asked_at: datetime, answered_at: datetime) -> Look:
    """Take from a server's metrics what a diagnosis needs.

    Args:
        scrape: The metrics.
        asked_at: When they were asked for, UTC.
        answered_at: When they had come, UTC.
    """

    def at(name: str, **labels: str) -> datetime | None:
        return _instant(scrape.value(name, **labels))

    return Look(
        at_s=scrape.at_s,
        asked_at=asked_at,
        answered_at=answered_at,
        models=tuple(_model(scrape, *version) for version in _versions(scrape)),
        responses=_by(scrape, RESPONSES, "status"),
        workers=scrape.value(WORKERS),
        connections=scrape.value(CONNECTIONS),
        max_connections=scrape.value(MAX_CONNECTIONS),
        blocks=scrape.value(BLOCKS),
        longest_block_s=scrape.value(LONGEST_BLOCK),
        blocked_at=at(BLOCKED_AT),
        restarts=scrape.value(RESTARTS),
        restarted_at=at(RESTARTED_AT),
        deaths=scrape.value(DEATHS),
        died_at=at(DIED_AT),
        reloads_refused=scrape.value(RELOADS, result="refused"),
        refused_at=at(RELOADED_AT, result="refused"),
        switched_at=at(RELOADED_AT, result="switched"),
        max_age_s=scrape.value(MAX_AGE),
        store=StoreLook(
            answered=scrape.value(STORE_REQUESTS, outcome="answered"),
            failed=scrape.value(STORE_REQUESTS, outcome="failed"),
            duration=_stage(scrape, STORE_DURATION),
            timeout_s=scrape.value(STORE_TIMEOUT),
            away_since=at(STORE_AWAY_SINCE),
        ),
        clients=_clients(scrape),
    )


def _versions(scrape: Scrape) -> list[tuple[str, str]]:
    known = (dict(labels) for labels in scrape.values.get(REQUESTS, {}))
    every = [
        (item["model"], item["version"]) for item in known if {"model", "version"} <= set(item)
    ]
    return list(dict.fromkeys(every))


def _model(scrape: Scrape, model: str, version: str) -> ModelLook:
    names = {"model": model, "version": version}
    ok = {**names, "outcome": Outcome.OK.value}
    return ModelLook(
        model=model,
        version=version,
        requests=_by(scrape, REQUESTS, "outcome", **names),
        rows=scrape.value(ROWS, **names),
        duration=_stage(scrape, DURATION, **ok),
        queue=_stage(scrape, QUEUE, **ok),
        predict=_stage(scrape, PREDICT, **ok),
        waiting_requests=scrape.value(WAITING, **names),
        capacity_per_s=scrape.value(CAPACITY, **names),
        overloaded_since=_instant(scrape.value(OVERLOADED_SINCE, **names)),
        row_cost_s=scrape.value(ROW_COST, **names),
        packed_row_cost_s=scrape.value(PACKED_ROW_COST, **names),
        is_apart=scrape.value(IS_APART, **names) > 0.0,
        answers=_by(scrape, ANSWERS, "answer", **names),
        snapshot_as_of=_instant(scrape.value(SNAPSHOT_AS_OF, **names)),
    )


def _by(scrape: Scrape, name: str, label: str, **others: str) -> dict[str, float]:
    """The series of a family by one label, of those with the other labels."""
    found: dict[str, float] = {}
    for labels, value in scrape.values.get(name, {}).items():
        known = dict(labels)
        if label in known and others.items() <= known.items():
            found[known[label]] = value
    return found


def _clients(scrape: Scrape) -> Mapping[str, Mapping[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for labels, value in scrape.values.get(CLIENTS, {}).items():
        known = dict(labels)
        if {"client", "outcome"} <= set(known):
            found.setdefault(known["client"], {})[known["outcome"]] = value
    return found


def _stage(scrape: Scrape, name: str, **labels: str) -> Stage:
    buckets = scrape.buckets(name, **labels)
    return Stage(buckets=buckets, sum_s=scrape.value(f"{name}_sum", **labels))


def _instant(unix_s: float) -> datetime | None:
    """An instant; 0 is none, and what is no instant isn't one either."""
    try:
        return datetime.fromtimestamp(unix_s, UTC) if unix_s > 0.0 else None
    except (OverflowError, OSError, ValueError):
        return None


def _date(header: str | None) -> datetime | None:
    try:
        found = None if header is None else parsedate_to_datetime(header)
    except ValueError:
        return None
    return None if found is None or found.tzinfo is None else found.astimezone(UTC)
