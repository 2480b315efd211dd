"""What a server does, told from two looks at its metrics: reading, rates, percentiles, watching."""

from __future__ import annotations

import http.server
import math
import socketserver
import ssl
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from http_thread import Quiet, serving, serving_http
from hypothesis import given
from hypothesis import strategies as st

from twofold.app.top import Activity, Endpoint, Scrape, between, parsed, quantile, watch
from twofold.errors import ConfigError
from twofold.serving.metrics import (
    BOUNDS_S,
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
    Metrics,
    layout_for,
)
from twofold.wire.exposition import exposition

CHURN = ("churn", "1")
BARE = f'{REQUESTS}{{model="churn",version="1",outcome="ok"}}'


class Server:
    """The metrics of a real server, without the server."""

    def __init__(self, *models: tuple[str, str]) -> None:
        layout = layout_for(models or (CHURN,), (200, 422, 500, 503))
        self.metrics = Metrics(layout, memoryview(bytearray(layout.size_bytes(1))), 0)

    def add(self, family: str, *labels: str, amount: float = 1.0) -> None:
        self.metrics.add(self.metrics.layout.slot(family, *labels), amount)

    def observe(self, family: str, *labels: str, value_s: float) -> None:
        self.metrics.observe(self.metrics.layout.slot(family, *labels), value_s)

    def look(self, at_s: float) -> Scrape:
        return parsed(exposition(self.metrics).decode(), at_s=at_s)


class Clock:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waited_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.waited_s.append(round(seconds, 6))
        self.now_s += seconds


class Answers(Endpoint):
    """An endpoint that gives one answer after the other, each after a while."""

    def __init__(self, clock: Clock, *answers: int | str, takes_s: float = 0.0) -> None:
        super().__init__("http://host:1")
        self._clock = clock
        self._takes_s = takes_s
        self._answers = iter(answers)

    def read(self) -> str:
        self._clock.now_s += self._takes_s
        answer = next(self._answers)
        if isinstance(answer, str):
            raise ConfigError(answer)
        return f"{BARE} {answer}\n"


def watched(
    *answers: int | str, clock: Clock | None = None, takes_s: float = 0.0, count: int | None = None
) -> list[float | str]:
    """What watching such answers tells: requests per second, or what was said."""
    clock = clock or Clock()
    endpoint = Answers(clock, *answers, takes_s=takes_s)
    looks = watch(
        endpoint, interval_s=2.0, count=count or len(answers) - 1, clock=clock, wait=clock.wait
    )
    return [
        look.models[0].answered_per_s if isinstance(look, Activity) else str(look) for look in looks
    ]


# Reading the text.


def test_comments_blank_lines_and_families_that_nobody_knows_are_no_trouble() -> None:
    scrape = parsed(
        "# HELP twofold_x What.\n# TYPE twofold_x counter\n#\n\n"
        "go_goroutines 8\n"
        'rpc_seconds{quantile="0.5"} NaN\n'
        "twofold_x 3 1700000000000\n"
        'twofold_y{a="1",b="2",} 4.5e-05\n'
        'spread{a="1"}\t+Inf\n',
        at_s=7.0,
    )
    assert (scrape.at_s, scrape.value("twofold_x")) == (7.0, 3.0)
    assert scrape.value("twofold_y", b="2", a="1") == 4.5e-05
    assert scrape.value("spread", a="1") == math.inf
    assert math.isnan(scrape.value("rpc_seconds", quantile="0.5"))
    assert (scrape.value("nothing"), scrape.buckets("nothing")) == (0.0, {})


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        "name",
        "name 1 2 3",
        "name one",
        "name 1_000",
        "1name 1",
        'name{a="1} 1',
        "name{a=1} 1",
        r'name{a="\x"} 1',
        'name{a="1"b="2"} 1',
        'name_bucket{le="much"} 1',
        "twofold_waiting_requests NaN",
        "twofold_requests_total +Inf",
    ],
)
def test_line_that_is_no_sample_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2: ") as caught:
        parsed(f"name 1\n{line}\n", at_s=0.0)
    assert repr(line) in str(caught.value)


@given(names=st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True))
def test_model_may_have_any_name(names: list[str]) -> None:
    server = Server(*((name, "1") for name in names))
    for count, name in enumerate(names, start=1):
        server.add(REQUESTS, name, "1", "ok", amount=count)
    activity = between(Server(*((name, "1") for name in names)).look(0.0), server.look(1.0))
    assert {item.model: item.answered_per_s for item in activity.models} == {
        name: count for count, name in enumerate(names, start=1)
    }


def test_histogram_of_the_server_is_read_back() -> None:
    server = Server()
    for value_s in (0.00002, 0.0003, 0.0003, 20.0):
        server.observe(DURATION, *CHURN, "ok", value_s=value_s)
    buckets = server.look(0.0).buckets(DURATION, model="churn", version="1", outcome="ok")
    assert list(buckets) == [*BOUNDS_S, math.inf]
    assert [buckets[bound] for bound in (0.000025, 0.00025, 0.0005, 10.0, math.inf)] == [
        *(1.0, 1.0, 3.0, 3.0, 4.0)
    ]


# Rates.


def test_what_was_counted_between_two_looks_is_told_per_second() -> None:
    server = Server(CHURN, ("fraud", "7"))
    for outcome in ("ok", "refused", "late", "failed", "invalid"):
        server.add(REQUESTS, *CHURN, outcome, amount=1000)
    before = server.look(10.0)
    for amount, outcome in enumerate(("ok", "refused", "late", "failed", "invalid"), start=1):
        server.add(REQUESTS, *CHURN, outcome, amount=10 * amount)
    server.add(ROWS, *CHURN, amount=300)
    server.add(WAITING, *CHURN, amount=4)
    server.add(IN_HAND, *CHURN, amount=5)
    server.add(REQUESTS, "fraud", "7", "ok")
    activity = between(before, server.look(12.0))
    assert (activity.interval_s, activity.is_restarted) == (2.0, False)
    churn, fraud = activity.models
    assert (churn.model, churn.version) == CHURN
    assert (churn.answered_per_s, churn.shed_per_s, churn.late_per_s) == (5.0, 10.0, 15.0)
    assert (churn.failed_per_s, churn.invalid_per_s, churn.rows_per_s) == (20.0, 25.0, 150.0)
    assert (churn.waiting_requests, churn.in_hand_requests) == (4.0, 5.0)
    assert (fraud.answered_per_s, fraud.rows_per_s, fraud.waiting_requests) == (0.5, 0.0, 0.0)


def test_what_the_server_did_as_a_whole_is_told_too() -> None:
    server = Server()
    before = server.look(0.0)
    server.add(CONNECTIONS, amount=9)
    server.add(LAG, amount=0.25)
    for status, amount in (("200", 40), ("422", 10), ("500", 4), ("503", 6)):
        server.add(RESPONSES, status, amount=amount)
    for amount, counted in enumerate([(RESTARTS,), (DEATHS,), (RELOADS, "switched")], start=1):
        server.add(*counted, amount=amount)
    found = between(before, server.look(2.0)).server
    assert found.responses_per_s == {"2xx": 20.0, "4xx": 5.0, "5xx": 5.0}
    assert (found.connections, found.event_loop_lag_s) == (9.0, 0.25)
    assert (found.worker_restarts, found.model_process_restarts) == (1.0, 2.0)
    assert (found.reloads_switched, found.reloads_refused) == (3.0, 0.0)


def test_percentiles_are_those_of_requests_answered_in_the_interval() -> None:
    server = Server()
    for _ in range(1000):
        server.observe(DURATION, *CHURN, "ok", value_s=9.0)
    server.observe(QUEUE, *CHURN, "ok", value_s=9.0)
    before = server.look(0.0)
    for _ in range(100):
        server.observe(DURATION, *CHURN, "ok", value_s=0.03)
        server.observe(PREDICT, *CHURN, "ok", value_s=0.0009)
    server.observe(DURATION, *CHURN, "refused", value_s=8.0)
    [model] = between(before, server.look(1.0)).models
    assert model.p50_s == pytest.approx(0.025 + 0.5 * 0.025)
    assert model.p90_s == pytest.approx(0.025 + 0.9 * 0.025)
    assert model.p99_s == pytest.approx(0.025 + 0.99 * 0.025)
    assert model.predict_p50_s == pytest.approx(0.0005 + 0.5 * 0.0005)
    assert model.predict_p99_s == pytest.approx(0.0005 + 0.99 * 0.0005)
    assert model.queue_p99_s is None


def test_server_that_was_started_anew_counts_from_zero() -> None:
    old, new = Server(), Server()
    old.add(REQUESTS, *CHURN, "ok", amount=100)
    old.add(REQUESTS, *CHURN, "late", amount=1)
    new.add(REQUESTS, *CHURN, "ok", amount=30)
    new.add(REQUESTS, *CHURN, "late", amount=8)
    for value_s, amount in ((0.0001, 5), (0.3, 1)):
        for _ in range(amount):
            old.observe(DURATION, *CHURN, "ok", value_s=value_s)
    for _ in range(4):
        new.observe(DURATION, *CHURN, "ok", value_s=0.3)
    activity = between(old.look(0.0), new.look(1.0))
    assert activity.is_restarted
    [model] = activity.models
    assert model.answered_per_s == 30.0
    # No bucket of the new one may have less of the old one than another.
    assert model.p50_s == pytest.approx(0.25 + 0.5 * 0.25)


def test_version_that_came_meanwhile_counts_from_zero_and_one_that_left_is_not_shown() -> None:
    old, new = Server(CHURN), Server(("churn", "2"))
    old.add(REQUESTS, *CHURN, "ok", amount=100)
    new.add(REQUESTS, "churn", "2", "ok", amount=3)
    new.observe(DURATION, "churn", "2", "ok", value_s=0.02)
    activity = between(old.look(0.0), new.look(1.0))
    assert not activity.is_restarted
    [model] = activity.models
    assert (model.version, model.answered_per_s) == ("2", 3.0)
    assert model.p99_s == pytest.approx(0.01 + 0.99 * 0.015)


# Percentiles.


@pytest.mark.parametrize(
    ("share", "counts", "value"),
    [
        (0.5, (0, 0, 0, 0), None),
        (0.5, (10, 10, 10, 10), 0.5),
        (0.9, (0, 10, 10, 10), 1.9),
        (0.5, (5, 5, 10, 10), 1.0),
        (0.75, (5, 5, 10, 10), 3.0),
        (1.0, (1, 2, 3, 3), 4.0),
        # Beyond the last finite bound, that bound.
        (0.99, (0, 0, 0, 10), 4.0),
    ],
)
def test_percentile_is_interpolated_as_histogram_quantile_does(
    share: float, counts: tuple[float, ...], value: float | None
) -> None:
    buckets = dict(zip((1.0, 2.0, 4.0, math.inf), counts, strict=True))
    assert quantile(share, buckets) == (None if value is None else pytest.approx(value))


def test_without_an_infinite_bound_or_with_no_other_there_is_no_percentile() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {1.0: 5.0}) is None
    assert quantile(0.5, {math.inf: 5.0}) is None


@given(
    values=st.lists(st.floats(1e-6, 9.9), min_size=1, max_size=50),
    shares=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=4),
)
def test_percentile_is_in_the_bucket_of_the_value_it_estimates_and_grows_with_its_share(
    values: list[float], shares: list[float]
) -> None:
    counts = [0] * (len(BOUNDS_S) + 1)
    for value in values:
        counts[bisect_left(BOUNDS_S, value)] += 1
    bounds = (*BOUNDS_S, math.inf)
    buckets = dict(zip(bounds, map(float, accumulate(counts)), strict=True))
    found: list[float] = []
    for share in sorted(shares):
        estimate = quantile(share, buckets)
        true = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
        place = bisect_left(BOUNDS_S, true)
        assert estimate is not None
        assert (0.0, *bounds)[place] <= estimate <= bounds[place] * (1 + 1e-12)
        found.append(estimate)
    assert all(low <= high * (1 + 1e-12) for low, high in pairwise(found))


# Watching.


def test_server_is_looked_at_once_an_interval_and_once_before() -> None:
    clock = Clock()
    assert watched(10, 14, 20, 20, clock=clock) == [2.0, 3.0, 0.0]
    assert clock.waited_s == [2.0, 2.0, 2.0]


def test_slow_answer_does_not_make_the_next_looks_late() -> None:
    clock = Clock()
    watched(0, 0, 0, clock=clock, takes_s=0.5)
    assert clock.waited_s == [2.0, 1.5]


def test_looks_that_took_longer_than_an_interval_are_not_made_up_for() -> None:
    clock = Clock()
    watched(0, 0, 0, 0, clock=clock, takes_s=5.0)
    assert clock.waited_s == [2.0, 0.0, 0.0]
    assert clock.now_s == 100.0 + 4 * 5.0 + 2.0


def test_server_that_is_not_there_at_the_beginning_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^gone$"):
        watched("gone", 1)


def test_server_that_goes_away_is_asked_until_it_is_back() -> None:
    # Three intervals of two seconds after the last look.
    assert watched(10, 20, "gone", "gone", 80) == [5.0, "gone", "gone", 10.0]


def test_server_that_is_away_in_the_last_interval_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^gone for good$"):
        watched(1, 2, "gone", "gone for good")


def test_watching_without_a_count_goes_on_as_long_as_one_asks() -> None:
    clock = Clock()
    endpoint = Answers(clock, *range(1000))
    looks = watch(endpoint, interval_s=1.0, count=None, clock=clock, wait=clock.wait)
    for _ in range(500):
        assert isinstance(next(looks), Activity)


# Where the metrics are.


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://127.0.0.1:8080", "/metrics"),
        ("http://127.0.0.1:8080/", "/metrics"),
        ("HTTP://localhost", "/metrics"),
        ("https://[::1]:8443/docs?x=1", "/metrics"),
        ("https://gate.example/churn/metrics", "/churn/metrics"),
        ("http+unix:///run/twofold.sock", "/metrics"),
        ("http+unix://s.sock", "/metrics"),
        ("https+unix:///run/twofold.sock", "/metrics"),
    ],
)
def test_url_of_a_server_is_understood(url: str, path: str) -> None:
    assert Endpoint(url).path == path


@pytest.mark.parametrize(
    "url",
    [
        *("", "churn", "localhost:8080", "/run/s.sock", "http://", "http://:8080", "ftp://host"),
        *("http://host:port", "http://host:70000", "http://[::1", "http+unix://", "unix:///s"),
        *("http+tcp://host", "http://user:word@host"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(url)
    assert str(caught.value) == (
        f"URL: expected that of a server, got {url!r}. "
        "Give the URL that `twofold serve` prints, as http://127.0.0.1:8080."
    )


def test_certificates_are_verified_unless_told_otherwise() -> None:
    strict, loose = Endpoint("https://host"), Endpoint("https://host", insecure=True)
    assert strict._tls is not None
    assert loose._tls is not None
    assert (strict._tls.verify_mode, strict._tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (loose._tls.verify_mode, loose._tls.check_hostname) == (ssl.CERT_NONE, False)


# Asking.


class Pages(Quiet, http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        texts = {"/metrics": f"{BARE} 5\n", "/page/metrics": "<html>", "/other/metrics": "up 1\n"}
        text = texts.get(self.path)
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "no").encode())

    def address_string(self) -> str:
        return "someone"


@pytest.fixture
def url() -> Iterator[str]:
    with serving_http(Pages) as url:
        yield url


def clock() -> float:
    return 1.0


def refused(url: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Endpoint(url).scrape(clock)
    return str(caught.value)


def test_metrics_are_got_over_http(url: str) -> None:
    scrape = Endpoint(url).scrape(clock)
    assert scrape.at_s == 1.0
    assert scrape.value(REQUESTS, model="churn", version="1", outcome="ok") == 5.0


def test_metrics_are_got_over_a_unix_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A name in the current folder: the path of a socket may not be long.
    monkeypatch.chdir(tmp_path)
    with serving(socketserver.UnixStreamServer("s.sock", Pages)):
        scrape = Endpoint("http+unix://s.sock").scrape(clock)
        assert scrape.value(REQUESTS, model="churn", version="1", outcome="ok") == 5.0
        said = refused("https+unix://s.sock")
        assert said.startswith("https+unix://s.sock: expected a server that answers, got ")
    assert refused("http+unix://s.sock") == (
        "http+unix://s.sock: expected a server that answers, got Connection refused. "
        "Start it with `twofold serve`, or mend the URL."
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/nothing/metrics", "expected 200 for /nothing/metrics, got 404 Not Found."),
        ("/page/metrics", "expected Prometheus text, got line 1: '<html>'."),
        (
            "/other/metrics",
            "expected the metrics of `twofold serve`, got no twofold_requests_total.",
        ),
        ("/a b/metrics", "expected a server that answers, got URL can't contain control"),
    ],
)
def test_what_answers_but_is_no_server_of_ours_is_told(url: str, path: str, words: str) -> None:
    said = refused(url + path)
    assert said.startswith(f"{url}{path}: {words}")


def test_answer_without_end_is_cut(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.app.top.MAX_BYTES", 20)
    assert refused(url).startswith(f"{url}: expected 20 bytes at most, got more.")


def test_where_nobody_listens_the_error_says_how_to_start_a_server() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Pages) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    assert refused(url) == (
        f"{url}: expected a server that answers, got Connection refused. "
        "Start it with `twofold serve`, or mend the URL."
    )
