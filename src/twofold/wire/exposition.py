"""`GET /metrics`: the Prometheus text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from types import MappingProxyType

from twofold.serving.clients import Ended
from twofold.serving.metrics import BOUNDS_S, Family, Metrics

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
CLIENTS = "twofold_client_requests_per_second"
CLIENTS_HELP = "Requests of those clients that are refused most, in the last seconds."
CLIENT_DIGITS = 3
"""Of rates that fade all the time."""
Rates = Mapping[str, Mapping[Ended, float]]


def exposition(metrics: Metrics, clients: Rates = MappingProxyType({})) -> bytes:
    """Render every series, put together over all processes.

    Args:
        metrics: What is counted.
        clients: Requests per second of clients, by how they ended.
    """
    lines: list[str] = []
    shown = ""
    for family, labels, values in metrics.totals():
        if family.name != shown:
            shown = family.name
            lines.append(f"# HELP {family.name} {family.help}")
            lines.append(f"# TYPE {family.name} {family.kind}")
        if family.kind == "histogram":
            lines += _histogram(family, labels, values)
        else:
            lines.append(f"{family.name}{_labels(family, labels)} {_number(values[0])}")
    if clients:
        lines += _clients(clients)
    return ("\n".join(lines) + "\n").encode()


def _clients(clients: Rates) -> Iterator[str]:
    labels = ("client", "outcome")
    family = Family(CLIENTS, CLIENTS_HELP, "gauge", labels, ())
    yield f"# HELP {CLIENTS} {CLIENTS_HELP}"
    yield f"# TYPE {CLIENTS} gauge"
    for client, rates in clients.items():
        for ended, per_s in rates.items():
            shown = _number(round(per_s, CLIENT_DIGITS))
            yield f"{CLIENTS}{_labels(family, (client, ended.name.lower()))} {shown}"


def _histogram(family: Family, labels: tuple[str, ...], values: list[float]) -> Iterator[str]:
    counts = list(accumulate(values[:-1]))
    for bound, count in zip((*map(_number, BOUNDS_S), "+Inf"), counts, strict=True):
        yield f"{family.name}_bucket{_labels(family, labels, le=bound)} {_number(count)}"
    yield f"{family.name}_sum{_labels(family, labels)} {_number(values[-1])}"
    yield f"{family.name}_count{_labels(family, labels)} {_number(counts[-1])}"


def _labels(family: Family, labels: tuple[str, ...], **more: str) -> str:
    pairs = [*zip(family.labels, labels, strict=True), *more.items()]
    if not pairs:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
