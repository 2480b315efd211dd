"""The Prometheus text, read back by the rules of its format."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.clients import Ended
from twofold.serving.metrics import BOUNDS_S, Family, Layout, Metrics
from twofold.wire.exposition import CLIENTS, CONTENT_TYPE, exposition

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: bytes) -> tuple[dict[str, tuple[str, str]], Series]:
    """Read families (kind and help by name) and samples, and refuse what breaks the format."""
    assert text.endswith(b"\n")
    families: dict[str, tuple[str, str]] = {}
    samples: Series = {}
    helped = ("", "")
    for line in text.decode().removesuffix("\n").split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line.removeprefix("# HELP ").partition(" ")
            helped = (name, words)
        elif line.startswith("# TYPE "):
            name, _, kind = line.removeprefix("# TYPE ").partition(" ")
            assert (name, name in families) == (helped[0], False)
            families[name] = (kind, helped[1])
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            current = list(families)[-1]
            assert found[1] in {current + tail for tail in ("", "_bucket", "_sum", "_count")}, line
            key = (found[1], labels_of(found[2] or ""))
            assert key not in samples
            samples[key] = float(found[3])
    return families, samples


def labels_of(text: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = LABEL.match(text, position)
        assert match, text
        value = re.sub(r"\\.", lambda escape: ESCAPES[escape[0]], match[2])
        found.append((match[1], value))
        position = match.end()
    return tuple(found)


def family(
    name: str,
    kind: Literal["counter", "gauge", "histogram"],
    labels: tuple[str, ...] = (),
    series: tuple[tuple[str, ...], ...] = ((),),
) -> Family:
    return Family(name, f"What {name} is.", kind, labels, series)


def metrics_of(*families: Family, regions: int = 1) -> list[Metrics]:
    layout = Layout(families, [])
    shared = memoryview(bytearray(layout.size_bytes(regions)))
    return [Metrics(layout, shared, region) for region in range(regions)]


def test_families_come_with_help_and_type_once_before_all_their_series() -> None:
    [metrics] = metrics_of(
        family("rows_total", "counter", ("model",), (("a",), ("b",))),
        family("open", "gauge"),
        family("late", "counter", ("model",), ()),
    )
    metrics.add(metrics.layout.slot("rows_total", "b"), 3)
    metrics.add(metrics.layout.slot("open"), -2)
    assert exposition(metrics).decode() == (
        "# HELP rows_total What rows_total is.\n"
        "# TYPE rows_total counter\n"
        'rows_total{model="a"} 0\n'
        'rows_total{model="b"} 3\n'
        "# HELP open What open is.\n"
        "# TYPE open gauge\n"
        "open -2\n"
    )


@given(
    observed=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 20)), max_size=20),
    counted=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**40)), max_size=5),
)
def test_what_all_processes_counted_is_read_back(
    observed: list[tuple[int, float]], counted: list[tuple[int, int]]
) -> None:
    every = metrics_of(
        family("took", "histogram", ("model",), (("a",),)), family("n", "counter"), regions=3
    )
    for region, value in observed:
        every[region].observe(every[region].layout.slot("took", "a"), value)
    for region, amount in counted:
        every[region].add(every[region].layout.slot("n"), amount)
    assert len({exposition(metrics) for metrics in every}) == 1
    families, samples = parsed(exposition(every[0]))
    assert families == {
        "took": ("histogram", "What took is."),
        "n": ("counter", "What n is."),
    }
    model = ("model", "a")
    values = [value for _, value in observed]
    for bound in (*BOUNDS_S, float("inf")):
        label = "+Inf" if bound == float("inf") else f"{bound:g}"
        assert samples.pop(("took_bucket", (model, ("le", label)))) == sum(
            value <= bound for value in values
        )
    assert samples.pop(("took_sum", (model,))) == pytest.approx(sum(values))
    assert samples.pop(("took_count", (model,))) == len(values)
    assert samples.pop(("n", ())) == sum(amount for _, amount in counted)
    assert samples == {}


@given(values=st.lists(st.text(max_size=6), min_size=1, max_size=4, unique=True))
def test_label_may_hold_any_text(values: list[str]) -> None:
    [metrics] = metrics_of(
        family("n", "counter", ("model", "version"), tuple((value, "1") for value in values))
    )
    for count, value in enumerate(values):
        metrics.add(metrics.layout.slot("n", value, "1"), count)
    _, samples = parsed(exposition(metrics))
    assert samples == {
        ("n", (("model", value), ("version", "1"))): count for count, value in enumerate(values)
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (-1.0, "-1"),
        (2.0**53, "9007199254740992"),
        (0.1, "0.1"),
        (2.5e-05, "2.5e-05"),
        (1e300, str(int(1e300))),
    ],
)
def test_number_loses_nothing(value: float, shown: str) -> None:
    [metrics] = metrics_of(family("n", "gauge"))
    metrics.add(metrics.layout.slot("n"), value)
    assert exposition(metrics).splitlines()[-1] == f"n {shown}".encode()
    assert parsed(exposition(metrics))[1] == {("n", ()): value}


def test_server_exposes_every_family_it_has_by_the_rules_of_the_format(bench: Any) -> None:
    bench.post({"row": [1.0, None]}, received_s=bench.now_s - 0.003)
    bench.routes.count(200)
    response = bench.ask("GET", "/metrics")
    assert response.content_type == CONTENT_TYPE == b"text/plain; version=0.0.4; charset=utf-8"
    families, samples = parsed(response.body)
    kinds = {name: kind for name, (kind, _) in families.items()}
    assert kinds == {family.name: family.kind for family in bench.metrics.layout.families}
    assert (
        kinds.items()
        >= {
            "twofold_requests_total": "counter",
            "twofold_rows_predicted_total": "counter",
            "twofold_request_duration_seconds": "histogram",
            "twofold_queue_duration_seconds": "histogram",
            "twofold_predict_duration_seconds": "histogram",
            "twofold_http_responses_total": "counter",
            "twofold_connections": "gauge",
            "twofold_worker_restarts_total": "counter",
            "twofold_model_process_restarts_total": "counter",
            "twofold_reloads_total": "counter",
        }.items()
    )
    model = (("model", "churn"), ("version", "3"))
    answered = (*model, ("outcome", "ok"))
    assert samples["twofold_requests_total", answered] == 1
    assert samples["twofold_request_duration_seconds_sum", answered] == pytest.approx(0.003)
    assert samples["twofold_http_responses_total", (("status", "200"),)] == 1


def test_clients_come_last_with_a_rate_for_each_way_their_requests_ended() -> None:
    [metrics] = metrics_of(family("n", "counter"))
    rates = {'we"b': dict.fromkeys(Ended, 0.0) | {Ended.SHED: 12.34567}}
    text = exposition(metrics, rates).decode()
    assert text.startswith(exposition(metrics).decode())
    families, samples = parsed(text.encode())
    assert families[CLIENTS][0] == "gauge"
    assert samples[CLIENTS, (("client", 'we"b'), ("outcome", "shed"))] == 12.346
    assert len([name for name, _ in samples if name == CLIENTS]) == len(Ended)
