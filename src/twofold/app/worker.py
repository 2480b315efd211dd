"""A worker process of the server: it loads models, or has them loaded in processes of their own.

The supervisor imports this module, too: what a worker needs beyond it is imported in here.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twofold.app.apart import ApartJob, predict_apart
from twofold.app.logs import set_up
from twofold.errors import TwofoldError, problem
from twofold.hybrid.settings import AnswerSettings
from twofold.model.registry import Registry
from twofold.serving.metrics import (
    CONNECTIONS,
    DEATHS,
    DIED_AT,
    MAX_AGE,
    MAX_CONNECTIONS,
    STORE_AWAY_SINCE,
    STORE_DURATION,
    STORE_REQUESTS,
    STORE_TIMEOUT,
    WORKERS,
    Layout,
    Metrics,
    layout_for,
)
from twofold.serving.restarts import Restarts
from twofold.serving.settings import ServeSettings
from twofold.serving.shared import SharedArray
from twofold.serving.supervisor import Link, Report
from twofold.wire.statuses import REASONS

if TYPE_CHECKING:
    from twofold.model.record import ModelVersion
    from twofold.serving.apart import Apart, Child
    from twofold.serving.clients import Clients
    from twofold.serving.service import Served, Service
    from twofold.wire.access import Access
    from twofold.wire.answers import Hybrid
    from twofold.wire.connection import Refused
    from twofold.wire.routes import Routes
    from twofold.wire.watched import Watch

START_S = 100.0
"""How long a model may take to load in a process of its own."""
APART_START_S, HERE_START_S = 3.0, 0.7
"""About how long a process takes to start: with a model's library, and without."""
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

log = logging.getLogger("twofold.serving")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker needs to know; passed to its process.

    Attributes:
        models: Name and version of what is served.
        counted: Name and version of everything that was served, which metrics go on showing.
        registry: The registry's folder.
        settings: Where to listen, and the limits.
        workers: How many serve.
        listener: The socket of all workers.
        shared: The metrics of all workers.
        quotas: What the API keys have used, of all workers.
        clients: Who is refused, of all workers.
        store: Where the snapshots are.
        policy: When what is stored is an answer.
    """

    models: tuple[tuple[str, str], ...]
    counted: tuple[tuple[str, str], ...]
    registry: str
    settings: ServeSettings
    workers: int
    listener: socket.socket
    shared: SharedArray
    quotas: SharedArray
    clients: SharedArray
    store: str = "store"
    policy: AnswerSettings = dataclasses.field(default_factory=AnswerSettings)

    @property
    def layout(self) -> Layout:
        """What the slots of the shared metrics mean."""
        return layout_for(self.counted, sorted(REASONS))


def work(job: Job, index: int, link: Link) -> None:
    """Be a worker process: load, answer, drain."""
    # What a model prints is talk: the server's own output is for machines.
    os.dup2(sys.stderr.fileno(), 1)
    set_up(f"worker {index}", job.settings)
    # Each worker predicts by itself: libraries that use all cores for one row would only be in
    # each other's way.
    for name in THREAD_LIMITS:
        os.environ.setdefault(name, str(max(1, (os.cpu_count() or 1) // job.workers)))
    worker = _Worker(job, index, link)
    try:
        listen = worker.loaded()
    except TwofoldError as error:
        worker.stop()
        link.send(Report(failure=str(error)))
        return
    except Exception as error:
        log.exception("worker %d can't start", index)
        worker.stop()
        got = f"{type(error).__name__}: {error}"
        fix = "Its traceback is on stderr."
        link.send(Report(failure=problem("worker", "the models to load", got, fix)))
        return
    listen()


class _Worker:
    """Loads the models of one worker."""

    def __init__(self, job: Job, index: int, link: Link) -> None:
        from twofold.serving.pulse import Pulse  # noqa: PLC0415 - see the module
        from twofold.wire.listen import new_loop  # noqa: PLC0415

        self._job = job
        self._number = index
        self._link = link
        self._registry = Registry(job.registry)
        self._metrics = Metrics(job.layout, job.shared.view, region=index)
        self._loop = new_loop()
        self._pulse = Pulse(clock=time.monotonic, soon=self._loop.call_soon)
        self._apart: list[Apart] = []
        self._waited: list[Apart] = []
        self._closing: list[Callable[[], None]] = []

    def loaded(self) -> Callable[[], None]:
        """Load and test the models; give what then answers for them until the end."""
        from twofold.app.listener import tls_of  # noqa: PLC0415 - see the module
        from twofold.serving.clients import Clients  # noqa: PLC0415
        from twofold.serving.service import Service  # noqa: PLC0415
        from twofold.wire.connection import Connections  # noqa: PLC0415
        from twofold.wire.listen import Hooks, listen  # noqa: PLC0415

        job, metrics = self._job, self._metrics
        served = [self._served(name, version) for name, version in job.models]
        for lane in self._waited:
            lane.wait_ready(START_S)
        service = Service(served, metrics, clock=time.monotonic, lag_s=self._pulse.lag_s)
        tls = tls_of(job.settings)
        clients = Clients(
            job.clients.view, regions=2 * job.workers, region=self._number, now_s=time.monotonic()
        )
        access = self._access()
        slot = metrics.layout.slot(CONNECTIONS)
        hybrids = self._hybrids(service)
        answers = self._answers(service, access, hybrids, clients)
        connections = Connections(
            answers,
            job.settings,
            clock=time.monotonic,
            touch=self._pulse.touch,
            changed=lambda count: metrics.add(slot, count),
            common=answers.common(),
            keyed=answers.keyed(),
            tally=metrics.tally,
            refused=self._refused(access, clients),
        )
        note = self._noting(service, hybrids)

        def ready() -> None:
            service.ready()
            self._note_limits()
            self._link.send(Report())

        def lag_s() -> float:
            return self._pulse.lag_s(time.monotonic())

        def tick() -> None:
            note()
            clients.fade(time.monotonic())
            access.renew()
            if tls is not None:
                tls.renew()

        def run() -> None:
            try:
                listen(
                    self._loop,
                    job.listener,
                    connections,
                    tls=tls.context if tls else None,
                    parent=self._link,
                    how=Hooks(ready, service.drain, lag_s, tick),
                )
            finally:
                self.stop()
                metrics.clear_gauges()
                clients.clear()

        # What was loaded stays to the end: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        return run

    def _access(self) -> Access:
        """Who may ask."""
        from twofold.serving.keys import KeysFile  # noqa: PLC0415 - see the module
        from twofold.serving.quotas import Quotas  # noqa: PLC0415
        from twofold.wire.access import Access  # noqa: PLC0415

        job = self._job
        keys = KeysFile(Path(job.settings.api_keys)) if job.settings.api_keys else None
        return Access(keys, Quotas(job.quotas.view, regions=2 * job.workers, region=self._number))

    def _refused(self, access: Access, clients: Clients) -> Refused | None:
        """What is told of each refusal; None if whose it is isn't to be shown."""
        from twofold.wire.askers import Askers  # noqa: PLC0415 - see the module

        return Askers(access, clients).refused if self._job.settings.show_clients else None

    def _noting(self, service: Service, hybrids: Mapping[str, Hybrid]) -> Callable[[], None]:
        """What notes several times a second how this worker is."""
        from twofold.serving.vitals import Vitals  # noqa: PLC0415 - see the module
        from twofold.wire.listen import CHECK_S  # noqa: PLC0415

        vitals = Vitals(service, longest_block_s=self._pulse.longest_s, every_s=CHECK_S)

        def note() -> None:
            service.sample()
            vitals.note()
            self._look_at_snapshots(service, hybrids)

        return note

    def stop(self) -> None:
        """End what was started: the models' processes would wait for this one, and it for them."""
        for lane in self._apart:
            lane.stop()
        for close in self._closing:
            close()

    def _hybrids(self, service: Service) -> dict[str, Hybrid]:
        """What answers by key, for each model."""
        from twofold.hybrid.ask import Asking  # noqa: PLC0415 - see the module
        from twofold.hybrid.lookup import Lookup  # noqa: PLC0415
        from twofold.stores.open import is_local, open_store  # noqa: PLC0415
        from twofold.wire.answers import Hybrid  # noqa: PLC0415

        job, metrics, found = self._job, self._metrics, {}
        slots = {
            outcome: metrics.layout.slot(STORE_REQUESTS, outcome)
            for outcome in ("answered", "failed")
        }
        duration = metrics.layout.slot(STORE_DURATION)

        def tell(outcome: str, took_s: float) -> None:
            metrics.add(slots[outcome])
            metrics.observe(duration, took_s)

        store = open_store(job.store, timeout_s=job.policy.store_timeout_s)
        if not is_local(job.store):
            metrics.set(metrics.layout.slot(STORE_TIMEOUT), job.policy.store_timeout_s)
        for name in service.versions:
            served = service.default(name)
            asking = Asking(name, served.version, served.output.names, served.check, job.policy)
            reader: Any = store.reader(name)
            if is_local(job.store):
                found[name] = Hybrid(reader, None, asking, job.policy)
                continue
            remote = Lookup(reader, job.policy, clock=time.monotonic, tell=tell)
            found[name] = Hybrid(None, remote, asking, job.policy)
        return found

    def _look_at_snapshots(self, service: Service, hybrids: Mapping[str, Hybrid]) -> None:
        """Note what each model is answered from, and since when that can't be reached."""
        now_s = time.monotonic()
        remotes = [hybrid.remote for hybrid in hybrids.values() if hybrid.remote is not None]
        away_s = [item.away_since_s for item in remotes if item.away_since_s is not None]
        since = time.time() - (now_s - min(away_s)) if away_s else 0.0
        self._metrics.set(self._metrics.layout.slot(STORE_AWAY_SINCE), since)
        for name, hybrid in hybrids.items():
            snapshot, served = hybrid.snapshot(), service.default(name)
            if snapshot is not None:
                self._metrics.set(served.as_of_slot, snapshot.as_of.timestamp())
                self._metrics.set(served.keys_slot, snapshot.rows)

    def _note_limits(self) -> None:
        """Note what can be told from its settings."""
        job, metrics = self._job, self._metrics
        for family, value in (
            (WORKERS, 1.0),
            (MAX_CONNECTIONS, float(job.settings.max_connections)),
            (MAX_AGE, job.policy.max_age_s),
        ):
            metrics.set(metrics.layout.slot(family), value)

    def _answers(
        self, service: Service, access: Access, hybrids: Mapping[str, Hybrid], clients: Clients
    ) -> Routes:
        """What answers requests; watched, if somebody wants to know how."""
        from twofold import __version__  # noqa: PLC0415 - see the module
        from twofold.wire.routes import Routes  # noqa: PLC0415
        from twofold.wire.tracing import check  # noqa: PLC0415

        settings = self._job.settings
        watches: list[Watch] = []
        if settings.log_requests:
            from twofold.wire.request_log import log_request  # noqa: PLC0415 - few want it

            watches.append(log_request)
        exporters = check(os.environ)
        if exporters:
            from twofold.wire.opentelemetry import open_tracing  # noqa: PLC0415 - as above

            scheme = "https" if settings.tls_cert else "http"
            tracing = open_tracing(exporters, version=__version__, scheme=scheme)
            watches.append(tracing.watch)
            self._closing.append(tracing.close)
        how: dict[str, Any] = {
            "access": access, "version": __version__, "hybrids": hybrids, "clients": clients.rates,
        }  # fmt: skip
        if not watches:
            return Routes(service, settings, **how)
        from twofold.wire.watched import WatchedRoutes  # noqa: PLC0415 - as above

        return WatchedRoutes(service, settings, watches=watches, **how)

    def _served(self, name: str, version: str) -> Served:
        """Load a version here, or have it loaded in a process of its own."""
        from twofold.serving.measure import expected_apart  # noqa: PLC0415 - see the module
        from twofold.serving.service import Served  # noqa: PLC0415

        record = self._registry.read(name, version)
        if not expected_apart(record):
            served = self._loaded_here(record)
            if served is not None:
                return served
        lane = self._lane_apart(record, APART_START_S)
        lane.start()
        self._waited.append(lane)
        return Served(record, self._metrics, apart=lane, example=self._example(record))

    def _loaded_here(self, record: ModelVersion) -> Served | None:
        """Load a version in this process; None if it turns out to be too slow for it."""
        from twofold.predictor.load import SELF_TEST_ROWS, load, read_sample  # noqa: PLC0415
        from twofold.serving.cost import Cost  # noqa: PLC0415
        from twofold.serving.measure import Where, measure  # noqa: PLC0415
        from twofold.serving.service import Contract, Served  # noqa: PLC0415
        from twofold.serving.together import predict_together  # noqa: PLC0415
        from twofold.serving.turn import Turn  # noqa: PLC0415

        model = load(f"{record.name}@{record.version}", registry=self._job.registry)
        rows = read_sample(self._registry, record).first(SELF_TEST_ROWS).rows.to_pylist()
        check = Contract(record).check
        costs = measure(model, [check(row) for row in rows])
        if costs.where is Where.APART:
            return None

        def together(groups: Sequence[Any]) -> Sequence[Any]:
            # What comes meanwhile waits as long as this takes.
            self._pulse.touch(time.monotonic())
            return predict_together(groups, served.predict)

        turn = None
        if costs.where is Where.TURN:
            turn = Turn(
                together,
                self._loop.call_soon,
                cost=Cost(costs.curve, now_s=time.monotonic()),
                max_rows=self._job.settings.max_batch_rows,
                max_tasks=self._job.settings.max_queued_requests,
                clock=time.monotonic,
                lag_s=self._pulse.lag_s,
            )
        served = Served(
            record,
            self._metrics,
            model=model,
            turn=turn,
            # For requests of so many rows that the loop would stand still; started by the first.
            apart=self._lane_apart(record, HERE_START_S),
            one_by_one=costs.one_by_one,
            rows_here=costs.rows_here,
            example=rows[0] if rows else None,
        )
        return served

    def _lane_apart(self, record: ModelVersion, start_s: float) -> Apart:
        from twofold.serving.apart import Apart  # noqa: PLC0415 - see the module
        from twofold.serving.cost import Cost, Curve  # noqa: PLC0415

        settings, metrics = self._job.settings, self._metrics
        deaths, died_at = metrics.layout.slot(DEATHS), metrics.layout.slot(DIED_AT)

        def died() -> None:
            metrics.add(deaths)
            metrics.set(died_at, time.time())

        lane = Apart(
            lambda: self._spawn(record),
            self._loop,
            start_s=start_s,
            name=f"{record.name}@{record.version}",
            restarts=Restarts(max_per_min=settings.max_restarts_per_min),
            died=died,
            max_predict_s=settings.max_predict_s,
            max_batch_bytes=settings.max_body_bytes,
            cost=Cost(Curve(0.0, 0.001), now_s=time.monotonic()),
            max_rows=settings.max_batch_rows,
            max_tasks=settings.max_queued_requests,
            clock=time.monotonic,
            lag_s=self._pulse.lag_s,
        )
        self._apart.append(lane)
        return lane

    def _spawn(self, record: ModelVersion) -> Child:
        from twofold.serving.apart import Child  # noqa: PLC0415 - see the module
        from twofold.serving.mailbox import Mailbox, Sender  # noqa: PLC0415

        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        mailbox = Mailbox()
        started_s = time.monotonic()
        job = ApartJob(record.name, record.version, self._job.registry, self._job.settings)
        process = context.Process(
            target=predict_apart,
            args=(job, theirs, mailbox),
            name=f"twofold-model-{record.name}",
            daemon=True,
        )
        process.start()
        theirs.close()
        return Child(process, Sender(ours, mailbox), mailbox, started_s)

    def _example(self, record: ModelVersion) -> Mapping[str, Any] | None:
        """The first row of the version's sample, for the documentation."""
        from twofold.predictor.load import read_sample  # noqa: PLC0415 - see the module

        rows = read_sample(self._registry, record).rows.slice(0, 1).to_pylist()
        return rows[0] if rows else None
