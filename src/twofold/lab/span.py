"""What happened at a server from the first of several looks to the last."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

from twofold.lab.look import Look, ModelLook, Stage
from twofold.lab.scrape import Buckets, grown_buckets, quantile

STAGES = ("queue", "predict", "parse and encode")
DATE_S = 1.5
"""The Date header has whole seconds, and is renewed a few times a second."""


@dataclasses.dataclass(frozen=True)
class ModelSpan:
    """What was asked of one version.

    Attributes:
        now: The version at the last look.
        seconds: Between the looks.
        requests: How many ended, by outcome.
        rows: Rows predicted.
        answers: Keys asked for, by what they were answered with.
        predict: Times inside the model, of answered requests.
        stages_s: The mean of each stage of an answered request, seconds; empty without any.
    """

    now: ModelLook
    seconds: float
    requests: Mapping[str, float]
    rows: float
    answers: Mapping[str, float]
    predict: Buckets
    stages_s: Mapping[str, float]

    @property
    def asked(self) -> float:
        """Requests that ended, however."""
        return sum(self.requests.values())

    def ended(self, outcome: str) -> float:
        """Requests that ended so."""
        return self.requests.get(outcome, 0.0)

    def share(self, outcome: str) -> float:
        """Of all that ended, those that ended so; 0 if there were none."""
        return self.ended(outcome) / self.asked if self.asked > 0.0 else 0.0

    def per_s(self, count: float) -> float:
        """So many, per second."""
        return count / self.seconds if self.seconds > 0.0 else 0.0

    def predict_s(self, share: float) -> float | None:
        """What a share of the predictions took at most, seconds; None without any."""
        return quantile(share, self.predict)


@dataclasses.dataclass(frozen=True)
class Span:
    """The first and the last look, and what grew between them.

    Attributes:
        first: The first look.
        last: The last one.
        seconds: Between them.
        models: Each version that is served at the end.
        skew_s: How far the server's clock is at least ahead of this machine's (below 0: behind),
            seconds; 0 if they may be equal, or nobody can tell.
    """

    first: Look
    last: Look
    seconds: float
    models: tuple[ModelSpan, ...]
    skew_s: float

    def responses(self, status: str) -> float:
        """Responses of a status."""
        was, now = (look.responses.get(status, 0.0) for look in (self.first, self.last))
        return grown(was, now)

    def store(self) -> tuple[float, float, Buckets]:
        """Look-ups that the store answered, those that it didn't, and their times."""
        was, now = self.first.store, self.last.store
        return (
            grown(was.answered, now.answered),
            grown(was.failed, now.failed),
            grown_buckets(was.duration.buckets, now.duration.buckets),
        )


def span(looks: Sequence[Look]) -> Span:
    """Put looks together.

    Args:
        looks: At least one, in the order they were made.
    """
    first, last = looks[0], looks[-1]
    seconds = max(0.0, last.at_s - first.at_s)
    before = {item.name: item for item in first.models}
    models = tuple(
        _model(before.get(item.name, ModelLook(model=item.model, version=item.version)), item,
               seconds)
        for item in last.models
    )  # fmt: skip
    return Span(first, last, seconds, models, _skew_s(looks))


def grown(was: float, now: float) -> float:
    """How much a count grew; one that fell was started anew."""
    return now - was if now >= was else now


def _grown_counts(was: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: grown(was.get(name, 0.0), count) for name, count in now.items()}


def _model(was: ModelLook, now: ModelLook, seconds: float) -> ModelSpan:
    requests = _grown_counts(was.requests, now.requests)
    ok = requests.get("ok", 0.0)
    whole_s, queue_s, predict_s = (
        _sum_s(getattr(was, name), getattr(now, name)) for name in ("duration", "queue", "predict")
    )
    rest_s = max(0.0, whole_s - queue_s - predict_s)
    stages_s = zip(STAGES, (queue_s, predict_s, rest_s), strict=True)
    return ModelSpan(
        now=now,
        seconds=seconds,
        requests=requests,
        rows=grown(was.rows, now.rows),
        answers=_grown_counts(was.answers, now.answers),
        predict=grown_buckets(was.predict.buckets, now.predict.buckets),
        stages_s={name: took_s / ok for name, took_s in stages_s} if ok > 0.0 else {},
    )


def _sum_s(was: Stage, now: Stage) -> float:
    return grown(was.sum_s, now.sum_s)


def _skew_s(looks: Sequence[Look]) -> float:
    """The least difference of the clocks that all looks allow."""
    bounds = list(_skews_s(looks))
    if not bounds:
        return 0.0
    least_s, most_s = max(low for low, _ in bounds), min(high for _, high in bounds)
    # A clock that was set meanwhile fits no difference.
    return 0.0 if least_s > most_s else max(0.0, least_s) + min(0.0, most_s)


def _skews_s(looks: Sequence[Look]) -> Iterator[tuple[float, float]]:
    for look in looks:
        if look.server_date is not None:
            # A loop that stands still doesn't renew the date either.
            late = timedelta(seconds=DATE_S + min(look.longest_block_s, 60.0))
            least = look.server_date - look.answered_at
            most = look.server_date - look.asked_at + late
            yield least.total_seconds(), most.total_seconds()
