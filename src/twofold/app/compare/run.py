"""A comparison: one model over real data, in batch, in real time, and what lies in between."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from twofold.app.answers import answers
from twofold.app.compare.batch import Batches, Ran, measure_batch, notes_on, row_time_s
from twofold.app.compare.inputs import (
    ROW_KEY,
    answer_requests,
    predict_requests,
    predictable,
    write_keyed,
)
from twofold.app.compare.loads import CPU_LEVEL, WARM_UP, Loads
from twofold.app.compare.lone import ask_for_stages, timed
from twofold.app.compare.machine import this_machine
from twofold.app.compare.plan import FEW_BY, FULL, QUICK, Plan
from twofold.app.compare.processes import Ended, Serving, run_to_end, serving
from twofold.batch.head import head
from twofold.batch.inputs import open_input
from twofold.errors import ConfigError, InvalidInput, problem
from twofold.hybrid.settings import AnswerSettings
from twofold.lab.findings import BatchFound, Findings, HybridFound, Latency, RealTimeFound, Scaling
from twofold.lab.parts import Taken, latency_of, overhead_of, scaling_of
from twofold.predictor.door import Predictor
from twofold.predictor.load import load

Say = Callable[[str, float], None]
"""Told what is being measured, and which share of everything is done."""
SHARES = {"batch": (0.0, 0.25), "server": (0.27, 0.3), "live": (0.3, 0.65), "stored": (0.67, 1.0)}
"""Which part of the time each part takes, about."""
HALF = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """What to compare.

    Attributes:
        model: `churn`, `churn@3` or `churn:canary`.
        input: A file, a folder or a glob, as of a run.
        registry: The registry's folder.
        slo_s: What p99 is held to.
        workers: Of the server; 0 means one per core.
        key: The input's key column; without one, rows get their number as a key in a copy.
        is_quick: Measure for a short time only.
        keep: Leave what was made here; else it is removed.
    """

    model: str
    input: str
    registry: Path
    slo_s: float = 0.05
    workers: int = 0
    key: str | None = None
    is_quick: bool = False
    keep: Path | None = None


def compare(request: CompareRequest, say: Say) -> Findings:
    """Measure a model at both speeds, and its stored answers, in processes of its own.

    Args:
        request: What.
        say: What looks on.

    Returns:
        What was found. What couldn't be measured is among its notes.

    Raises:
        UnknownModel: No such model, version or alias.
        InvalidInput: The input can't be read, or none of its rows fits the signature.
        TwofoldError: A run, the publishing or the server failed.
    """
    say("loading the model", 0.0)
    predictor = load(request.model, registry=request.registry)
    plan = QUICK if request.is_quick else FULL
    with _folder(request.keep) as folder:
        one = _Comparison(request, predictor, plan, folder, say)
        batch, ran, notes = one.batch()
        published = one.publish(ran)
        words = [one.reference, "--port=0", f"--workers={request.workers}"]
        words += [f"--registry={one.registry}", f"--store={one.store}"]
        say("starting the server", SHARES["server"][0])
        with serving(words, folder) as server:
            real_time = one.real_time(server, notes)
            hybrid = one.hybrid(server, published, notes)
    return Findings(
        model=predictor.name,
        version=predictor.version,
        input=request.input,
        made_at=datetime.now(UTC),
        is_quick=request.is_quick,
        machine=this_machine(),
        batch=batch,
        real_time=real_time,
        hybrid=hybrid,
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclasses.dataclass(frozen=True)
class _Published:
    """A run that is read by key: the process that published it, how old it was by then, keys."""

    ended: Ended
    age_s: float
    keys: int
    some: list[str]
    scaling: Scaling | None


def _taken(ran: Ran, published: Ended) -> Taken:
    return Taken(ran.manifest.rows_predicted, published.wall_s, published.cpu_s)


class _Comparison:
    """What its parts share."""

    def __init__(
        self, request: CompareRequest, predictor: Predictor, plan: Plan, folder: Path, say: Say
    ) -> None:
        self._request = request
        self._predictor = predictor
        self._folder = folder
        self._say = say
        self.reference = f"{predictor.name}@{predictor.version}"
        self.registry = request.registry.absolute()
        self.store = folder / "store"
        self._source = open_input(request.input)
        found = head(self._source, predictor, plan.requests, key=request.key)
        self._rows = predictable(found, predictor.predict_one, seconds=plan.in_process_s)
        if not self._rows.num_rows:
            fix = "Give rows that the model can predict: twofold models NAME shows what they have."
            raise InvalidInput(problem(request.input, "rows to predict", "none", fix))
        self._plan = plan.for_model(row_time_s(predictor.predict, self._rows))
        self._batches = Batches(self.reference, self.registry, folder, self._plan)

    def _part(self, part: str) -> Say:
        begin, end = SHARES[part]
        return lambda words, share: self._say(words, begin + (end - begin) * share)

    def batch(self) -> tuple[BatchFound, Ran, list[str]]:
        key, say = self._request.key, self._part("batch")
        found, ran, notes = measure_batch(self._batches, self._source, key, say)
        if self._plan.is_large(found.rows):
            # It is large itself: a few of its rows are the other end of the line.
            few = self._keyed(self._rows.slice(0, max(1, found.rows // FEW_BY)), "few")
            scaling = scaling_of(few.taken, ran.taken)
            notes += notes_on(scaling)
            found = msgspec.structs.replace(found, scaling=scaling)
        return found, ran, notes

    def publish(self, ran: Ran) -> _Published:
        self._say("publishing the predictions", SHARES["batch"][1])
        key, plan = self._request.key, self._plan

        @functools.cache
        def rows() -> pa.Table:
            return head(self._source, self._predictor, plan.key_rows, key=self._request.key)

        if key is None:
            key = ROW_KEY
            ran = self._keyed(rows(), "keyed")
        ended = self._published(ran, self.store)
        scaling = None
        if ran.manifest.rows_predicted < plan.publish_rows:
            self._say("publishing more of them", SHARES["batch"][1])
            # In a store of its own: what is asked for is the other one.
            more = self._keyed(rows(), "keyed-large", at_least=plan.publish_rows)
            large = self._published(more, self._folder / "store-large")
            scaling = scaling_of(_taken(ran, ended), _taken(more, large))
        waited_s = (ran.ended.ended_at - ran.manifest.as_of).total_seconds()
        age_s = waited_s + ended.wall_s
        some = self._keys(ran, key)
        return _Published(ended, age_s, ran.manifest.rows_predicted, some, scaling)

    def _keyed(self, rows: pa.Table, name: str, *, at_least: int = 0) -> Ran:
        """Run over rows whose key is their number."""
        copy = write_keyed(rows, self._folder / f"{name}.parquet", at_least=at_least)
        try:
            return self._batches.run(str(copy), name, ROW_KEY)
        finally:
            copy.unlink()

    def _published(self, ran: Ran, store: Path) -> Ended:
        words = ["snapshot", "publish", str(ran.folder), "--store", str(store)]
        words += ["--registry", str(self.registry), "--json"]
        return run_to_end(words, self._folder, limit_s=self._plan.run_limit_s)

    def _keys(self, ran: Ran, key: str) -> list[str]:
        """Some keys of a run, spread over its first part, as they are asked for."""
        first = ran.manifest.files[0].name
        column = pq.ParquetFile(ran.folder / first).read([key]).column(key).drop_null()
        step = max(1, len(column) // self._plan.requests)
        return [
            str(value) for value in column.take(pa.array(range(0, len(column), step))).to_pylist()
        ]

    def real_time(self, server: Serving, notes: list[str]) -> RealTimeFound:
        plan, say = self._plan, self._part("live")
        memory_bytes = server.memory_bytes()
        say("predictions in Python", 0.0)
        in_process = self._in_process()
        host = server.url.rpartition("//")[2]
        requests = predict_requests(self._rows, self._predictor.name, host)
        loads = Loads(server, requests, plan, self._request.slo_s, self._request.is_quick)
        say("one client, live", 0.1)
        alone = loads.alone()
        notes += [alone.note] if alone.note else []
        stages = ask_for_stages(server.address, requests, seconds=plan.stages_s, warm_up=WARM_UP)
        capacity_per_s, levels, cpu_s = None, [], None
        with _unless_missing(notes):
            found = loads.find(
                lambda share: say("rates of live predictions", 0.2 + 0.8 * share),
                [share for share in plan.levels if share != CPU_LEVEL],
            )
            capacity_per_s, levels = found.capacity_per_s, found.levels
            cpu_s, memory_bytes = found.cpu_per_request_s, server.memory_bytes()
            notes += [note] if (note := found.unsteady(self._request.slo_s)) else []
        return RealTimeFound(
            workers=self._request.workers or this_machine().cores,
            start_s=server.start_s,
            memory_bytes=memory_bytes,
            in_process=in_process,
            alone=alone.latency,
            overhead=overhead_of(_median(alone.latency), stages),
            slo_s=self._request.slo_s,
            capacity_per_s=capacity_per_s,
            cpu_per_request_s=alone.cpu_per_request_s if cpu_s is None else cpu_s,
            levels=levels,
        )

    def _in_process(self) -> Latency:
        rows = self._rows.to_pylist()
        predict = self._predictor.predict_one
        calls = ((lambda row=row: predict(row)) for row in itertools.cycle(rows))
        return latency_of(timed(iter(calls), seconds=self._plan.in_process_s, warm_up=WARM_UP))

    def hybrid(self, server: Serving, published: _Published, notes: list[str]) -> HybridFound:
        plan, say = self._plan, self._part("stored")
        say("look-ups in Python", 0.0)
        with answers(
            self.reference, registry=self.registry, store=self.store, policy=AnswerSettings()
        ) as opened:
            calls = ((lambda key=key: opened.get(key)) for key in itertools.cycle(published.some))
            in_process = latency_of(
                timed(iter(calls), seconds=plan.in_process_s / 2, warm_up=WARM_UP)
            )
        host = server.url.rpartition("//")[2]
        requests = answer_requests(published.some, self._predictor.name, host)
        loads = Loads(server, requests, plan, self._request.slo_s, self._request.is_quick)
        say("one client, by key", 0.1)
        alone = loads.alone()
        capacity_per_s, level, cpu_s = None, None, None
        with _unless_missing(notes):
            found = loads.find(
                lambda share: say("rates of stored answers", 0.2 + 0.8 * share), [HALF]
            )
            capacity_per_s, cpu_s = found.capacity_per_s, found.cpu_per_request_s
            level = found.levels[0] if found.levels else None
        return HybridFound(
            keys=published.keys,
            publish_s=published.ended.wall_s,
            publish_cpu_s=published.ended.cpu_s,
            in_process=in_process,
            alone=alone.latency,
            capacity_per_s=capacity_per_s,
            cpu_per_request_s=alone.cpu_per_request_s if cpu_s is None else cpu_s,
            level=level,
            age_at_switch_s=published.age_s,
            scaling=published.scaling,
        )


def _median(latency: Latency) -> float:
    return latency.percentiles_s.get("50", latency.mean_s)


@contextlib.contextmanager
def _unless_missing(notes: list[str]) -> Generator[None]:
    """Go on without what needs the native generator, where there is none."""
    try:
        yield
    except ConfigError as error:
        notes.append(f"Rates and capacity weren't measured: {error}")


@contextlib.contextmanager
def _folder(keep: Path | None) -> Generator[Path]:
    """A folder for all that is made."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="twofold-compare-") as made:
            yield Path(made)
        return
    if keep.exists() and any(keep.iterdir()):
        fix = "Choose another with --keep."
        raise ConfigError(problem(str(keep), "a new or empty folder", "one with files", fix))
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.absolute()
