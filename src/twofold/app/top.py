"""What a server does, told from its `GET /metrics` alone: two looks and the time between them."""

from __future__ import annotations

import dataclasses
import http.client
import itertools
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from math import inf, isfinite
from urllib.parse import urlsplit

from twofold.errors import ConfigError, problem
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

TIMEOUT_S = 5.0
"""How long connecting may take, and each wait for more of the answer."""
MAX_BYTES = 64 * 2**20
"""Several times what a server of as many versions as it can count exposes."""
METRICS_PATH = "/metrics"
FIX_URL = "Give the URL that `twofold serve` prints, as http://127.0.0.1:8080."
FIX_AWAY = "Start it with `twofold serve`, or mend the URL."

Labels = frozenset[tuple[str, str]]
Buckets = Mapping[float, float]
"""Of one histogram: upper bound to how many values are at most that."""

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
# A timestamp may follow the value. The server never writes one; what stands between may add it.
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})?[ \t]+([^\s_]+)(?:[ \t]+-?\d+)?[ \t]*")
LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"[ \t]*(?:,|$)')
ESCAPE = re.compile(r"\\(.)")


@dataclasses.dataclass(frozen=True)
class Scrape:
    """One look at a server's metrics.

    Attributes:
        at_s: When, monotonic seconds.
        values: Counters and gauges, by name and labels; names that nobody knows, too.
        histograms: Buckets by name, without `_bucket`, and labels, without `le`.
    """

    at_s: float
    values: Mapping[str, Mapping[Labels, float]]
    histograms: Mapping[str, Mapping[Labels, Buckets]]

    def value(self, name: str, **labels: str) -> float:
        """A counter or gauge; one that isn't there yet is 0."""
        return self.values.get(name, {}).get(frozenset(labels.items()), 0.0)

    def buckets(self, name: str, **labels: str) -> Buckets:
        """A histogram; of one that isn't there, nothing."""
        return self.histograms.get(name, {}).get(frozenset(labels.items()), {})


def parsed(text: str, *, at_s: float) -> Scrape:
    """Read the Prometheus text format (version 0.0.4), as far as the server writes it.

    Args:
        text: The answer to `GET /metrics`.
        at_s: When it was got, monotonic seconds.

    Raises:
        ValueError: A line is no comment and no sample; the message names it.
    """
    values: dict[str, dict[Labels, float]] = {}
    histograms: dict[str, dict[Labels, dict[float, float]]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, labels, value = _sample(line)
            if name.endswith("_bucket") and "le" in labels:
                bound = float(labels.pop("le"))
                series = histograms.setdefault(name.removesuffix("_bucket"), {})
                series.setdefault(frozenset(labels.items()), {})[bound] = value
            else:
                values.setdefault(name, {})[frozenset(labels.items())] = value
        except ValueError:
            raise ValueError(f"line {number}: {line[:60]!r}") from None
    return Scrape(at_s, values, histograms)


def _sample(line: str) -> tuple[str, dict[str, str], float]:
    found = SAMPLE.fullmatch(line)
    if found is None:
        raise ValueError
    labels: dict[str, str] = {}
    text = found[2] or ""
    place = 0
    while place < len(text):
        pair = LABEL.match(text, place)
        if pair is None:
            raise ValueError
        labels[pair[1]] = ESCAPE.sub(_unescaped, pair[2]) if "\\" in pair[2] else pair[2]
        place = pair.end()
    value = float(found[3])
    # Others' gauges may be NaN; what is computed with here may not.
    if found[1].startswith("twofold_") and not isfinite(value):
        raise ValueError
    return found[1], labels, value


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


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
        grown = _grown_buckets(before.buckets(family, **labels), after.buckets(family, **labels))
        return (quantile(share, grown) for share in shares)

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
    """How fast a counter grew; one that fell was started anew, and counts from zero."""
    was, now = before.value(name, **labels), after.value(name, **labels)
    grown = now - was if now >= was else now
    return grown / (after.at_s - before.at_s)


def _grown_buckets(before: Buckets, after: Buckets) -> Buckets:
    """What came into each bucket; a histogram that was started anew counts from zero, all of it."""
    goes_on = before.keys() == after.keys() and all(
        before[bound] <= count for bound, count in after.items()
    )
    return {bound: count - before[bound] for bound, count in after.items()} if goes_on else after


def quantile(share: float, buckets: Buckets) -> float | None:
    """The value that a share of all values is at most, estimated as `histogram_quantile` does.

    Within a bucket values are taken to be spread evenly (linear interpolation), from zero in the
    first one; beyond the last finite bound the estimate is that bound.

    Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile

    Args:
        share: Above 0, at most 1.
        buckets: Upper bound to how many values are at most that; one bound is infinite.

    Returns:
        The value, in the unit of the bounds; None if there are no values.
    """
    total = buckets.get(inf, 0.0)
    if total <= 0.0 or len(buckets) == 1:
        return None
    rank = share * total
    lower = below = 0.0
    for bound in sorted(buckets.keys() - {inf}):
        count = buckets[bound]
        if count >= rank:
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return lower


class _OverSocketFile(http.client.HTTPConnection):
    """HTTP to a Unix socket."""

    def __init__(self, path: str, tls: ssl.SSLContext | None) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path
        self._tls = tls

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)


class Endpoint:
    """Where a server's metrics are.

    Attributes:
        url: As it was given.
        path: Of the metrics.
    """

    def __init__(self, url: str, *, insecure: bool = False) -> None:
        """Understand a URL; nothing is asked yet.

        Args:
            url: `http://host:port`, `https://host:port`, or `http+unix:///path/of/socket`. A path
                behind the port is kept if it ends in `/metrics`, as behind a proxy; else it
                doesn't matter.
            insecure: Whether any certificate will do.

        Raises:
            ConfigError: It is none of these.
        """
        self.url, self.path = url, METRICS_PATH
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        self._tls = _tls(insecure=insecure) if scheme.startswith("https") else None
        self._socket_file = rest if scheme in {"http+unix", "https+unix"} else None
        if self._socket_file:
            return
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigError(problem("URL", "that of a server", repr(url), FIX_URL)) from error
        if scheme not in {"http", "https"} or not self._host or parts.username is not None:
            raise ConfigError(problem("URL", "that of a server", repr(url), FIX_URL))
        if parts.path.endswith(METRICS_PATH):
            self.path = parts.path

    def read(self) -> str:
        """Ask for the metrics, over a connection of its own.

        Raises:
            ConfigError: There is no answer, or not the one of a server's metrics.
        """
        connection = self._connection()
        try:
            connection.request("GET", self.path)
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            fix = "Have its authority known here (SSL_CERT_FILE), or don't verify it: --insecure."
            raise self._problem("a certificate that is trusted here", str(error), fix) from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            got = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise self._problem("a server that answers", got, FIX_AWAY) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            got = f"{answer.status} {http.client.responses.get(answer.status, '')}".rstrip()
            raise self._problem(f"200 for {self.path}", got, FIX_URL)
        if len(body) > MAX_BYTES:
            raise self._problem(f"{MAX_BYTES} bytes at most", "more", FIX_URL)
        return body.decode("utf-8", "replace")

    def scrape(self, clock: Callable[[], float]) -> Scrape:
        """Look at the metrics.

        Args:
            clock: Monotonic seconds.

        Raises:
            ConfigError: See `read`; or the answer isn't what a server of twofold exposes.
        """
        text = self.read()
        try:
            scrape = parsed(text, at_s=clock())
        except ValueError as error:
            raise self._problem("Prometheus text", str(error), FIX_URL) from error
        if REQUESTS not in scrape.values:
            raise self._problem("the metrics of `twofold serve`", f"no {REQUESTS}", FIX_URL)
        return scrape

    def _connection(self) -> http.client.HTTPConnection:
        if self._socket_file is not None:
            return _OverSocketFile(self._socket_file, self._tls)
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=TIMEOUT_S, context=self._tls
        )

    def _problem(self, expected: str, got: str, fix: str) -> ConfigError:
        return ConfigError(problem(self.url, expected, got, fix))


def _tls(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


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
