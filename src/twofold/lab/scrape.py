"""A look at a server's metrics: the Prometheus text read, and what grew between two of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from math import inf, isfinite

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


def grown(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    """How much a counter grew; one that fell was started anew, and counts from zero."""
    was, now = before.value(name, **labels), after.value(name, **labels)
    return now - was if now >= was else now


def grown_buckets(before: Buckets, after: Buckets) -> Buckets:
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
        if count >= rank and count > below:
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return lower
