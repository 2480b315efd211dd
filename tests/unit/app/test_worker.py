"""A worker loads each model where it belongs, answers until it is told, and leaves no process."""

from __future__ import annotations

import contextlib
import http.client
import json
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from twofold.app.worker import Job, _Worker, work
from twofold.errors import ConfigError, StoreUnavailable
from twofold.predictor import load as loading
from twofold.serving import measure as measuring
from twofold.serving.clients import Clients
from twofold.serving.cost import Curve
from twofold.serving.measure import Costs
from twofold.serving.metrics import (
    MAX_AGE,
    MAX_CONNECTIONS,
    SNAPSHOT_AS_OF,
    SNAPSHOT_KEYS,
    STORE_REQUESTS,
    WORKERS,
    layout_for,
)
from twofold.serving.quotas import Quotas
from twofold.serving.service import Service
from twofold.serving.settings import ServeSettings
from twofold.serving.shared import SharedArray
from twofold.serving.supervisor import LEAVE, Report
from twofold.stores import open as opening
from twofold.stores.store import Found
from twofold.wire.access import Access
from twofold.wire.statuses import REASONS

LIMIT_S = 30
DIRECT = Costs(0.000002, Curve(0.00001, 0.000002))
TURN = Costs(0.0002, Curve(0.0002, 0.00001))
APART = Costs(0.02, Curve(0.02, 0.0001))


def job(*models: tuple[str, str], **settings: Any) -> Iterator[Job]:
    layout = layout_for(models, sorted(REASONS))
    shared = SharedArray.of_size(layout.size_bytes(2))
    quotas = SharedArray.of_size(Quotas.size_bytes(2))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        clients = SharedArray.of_size(Clients.size_bytes(2))
        chosen = ServeSettings(**settings)
        yield Job(models, models, "registry", chosen, 1, listener, shared, quotas, clients)


class Line:
    """A worker's line to a supervisor that only listens."""

    def __init__(self) -> None:
        self.said: list[Report] = []

    def send(self, report: Report) -> None:
        self.said.append(report)


Costing = Callable[[Costs], "_Worker"]


@pytest.fixture
def worker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Costing]:
    """Make a worker whose models cost what is said."""
    made: list[_Worker] = []
    jobs = job(("offer", "2"))
    given = next(jobs)

    def make(costs: Costs) -> _Worker:
        monkeypatch.setattr(measuring, "measure", lambda *_: costs)
        made.append(_Worker(given, 0, Line()))  # type: ignore[arg-type] - all that is used
        return made[-1]

    yield make
    for item in made:
        item.stop()
        item._loop.close()


def test_cheap_model_is_predicted_as_soon_as_it_is_asked(worker: Costing) -> None:
    served = worker(DIRECT)._served("offer", "2")
    assert served.model is not None
    assert served.turn is None
    assert served.is_ready
    assert served.predict([[3.0, "pro"]]) == [(2.0,)]


def test_model_that_is_cheaper_together_is_predicted_turn_by_turn(worker: Costing) -> None:
    served = worker(TURN)._served("offer", "2")
    assert served.turn is not None
    assert served.turn.cost.curve == TURN.curve
    answers = served.turn._predict([[[3.0, "pro"]], [[5.0, "pro"], [7.0, "basic"]]])
    assert [list(map(list, answer)) for answer in answers] == [[[2.0]], [[4.0, 6.0]]]


def test_loop_is_known_to_be_late_while_a_micro_batch_is_predicted(worker: Costing) -> None:
    found = worker(TURN)
    served = found._served("offer", "2")
    assert served.turn is not None
    assert found._pulse.lag_s(time.monotonic() + 1.0) == 0.0
    served.turn._predict([[[3.0, "pro"]]])
    assert found._pulse.lag_s(time.monotonic() + 1.0) >= 1.0


def test_process_for_large_requests_is_not_started_before_there_is_one(worker: Costing) -> None:
    for costs in (DIRECT, TURN):
        served = worker(costs)._served("offer", "2")
        assert served.apart is not None
        assert not served.apart.is_ready
        assert served.apart._child is None


def test_slow_model_is_loaded_in_a_process_of_its_own(worker: Costing) -> None:
    found = worker(APART)
    served = found._served("offer", "2")
    assert (served.model, served.turn) == (None, None)
    assert served.apart is not None
    assert found._waited == [served.apart]
    served.apart.wait_ready(LIMIT_S)
    assert served.is_ready
    process: Any = served.apart._child and served.apart._child.process
    found.stop()
    assert process.exitcode == -signal.SIGKILL


def test_model_that_was_slow_when_it_was_packed_is_not_loaded_here_at_all(
    worker: Costing, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = worker(DIRECT)

    def load(*_: object, **__: object) -> None:
        raise AssertionError("it was loaded beside the event loop")

    monkeypatch.setattr(loading, "load", load)
    monkeypatch.setattr(measuring, "expected_apart", lambda _: True)
    served = found._served("offer", "2")
    assert served.model is None
    assert found._waited == [served.apart]


@pytest.mark.parametrize("costs", [DIRECT, APART])
def test_example_of_the_documentation_is_the_first_row_of_the_sample(
    worker: Costing, costs: Costs
) -> None:
    served = worker(costs)._served("offer", "2")
    assert served.example == {"spend": 0.0, "plan": "basic"}
    assert served.check(served.example) == [0.0, "basic"]


def test_model_that_may_not_be_loaded_is_an_error(worker: Costing, folder: Path) -> None:
    path = Path("registry/offer/2/app_rules.py")
    path.write_text(path.read_text(encoding="utf-8") + "#", encoding="utf-8")
    with pytest.raises(ConfigError, match="expected the bytes it was packed with"):
        worker(DIRECT)._served("offer", "2")


# The whole of a worker, in a process as a supervisor starts it.


def work_slowly(job: Job, index: int, link: Connection) -> None:
    """Be a worker whose models were all slow when they were packed."""
    measuring.expected_apart = lambda _: True
    work(job, index, link)


def work_unforeseen(job: Job, index: int, link: Connection) -> None:
    """Be a worker in which something is broken."""

    def measure(*_: object) -> None:
        raise ZeroDivisionError("for no reason")

    measuring.measure = measure  # type: ignore[assignment] - that is the point
    work(job, index, link)


Target = Callable[[Job, int, Connection], None]


class Started:
    """A worker's process, and its link."""

    def __init__(self, job: Job, target: Target) -> None:
        context = multiprocessing.get_context("spawn")
        self.link, theirs = context.Pipe()
        self.address = job.listener.getsockname()
        self.process = context.Process(target=target, args=(job, 0, theirs))
        self.process.start()
        theirs.close()

    def report(self) -> Report:
        assert self.link.poll(LIMIT_S)
        report: Report = self.link.recv()
        return report

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(*self.address, timeout=LIMIT_S)
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        found = response.status, json.load(response)
        connection.close()
        return found

    def children(self) -> set[int]:
        """Processes that it has started to load models."""
        task = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = {int(pid) for pid in task.read_text(encoding="utf-8").split()}
        return {pid for pid in found if b"spawn_main" in command_of(pid)}

    def ended(self) -> int | None:
        """Its exit code, once it has ended."""
        self.process.join(LIMIT_S)
        return self.process.exitcode


Start = Callable[..., Started]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[Started] = []
    jobs: list[Iterator[Job]] = []

    def start(*models: tuple[str, str], target: Target = work, **settings: Any) -> Started:
        jobs.append(job(*models, **settings))
        started.append(Started(next(jobs[-1]), target))
        return started[-1]

    yield start
    for item in started:
        item.process.kill()
        item.process.join()


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="Linux only")


# What answers by key


def service_of(found: _Worker) -> Service:
    return Service([found._served("offer", "2")], found._metrics, clock=time.monotonic)


def gauges(found: _Worker) -> tuple[float, float]:
    """When the input of the snapshot was true, and its keys, as the metrics have it."""
    shown = {
        family.name: values[0]
        for family, labels, values in found._metrics.totals()
        if labels[:2] == ("offer", "2")
    }
    return shown[SNAPSHOT_AS_OF], shown[SNAPSHOT_KEYS]


def test_worker_answers_by_key_from_the_folder_of_its_job(
    worker: Costing, publish: Callable[[], None]
) -> None:
    found = worker(DIRECT)
    service = service_of(found)
    hybrids = found._hybrids(service)
    hybrid = hybrids["offer"]
    assert (hybrid.remote, hybrid.snapshot()) == (None, None)
    found._look_at_snapshots(service, hybrids)
    assert gauges(found) == (0.0, 0.0)
    publish()
    found._look_at_snapshots(service, hybrids)
    snapshot = hybrid.snapshot()
    assert snapshot is not None
    assert gauges(found) == (snapshot.as_of.timestamp(), 100.0)


def test_store_on_a_server_is_asked_within_limits_and_counted(
    worker: Costing, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Far:
        def __init__(self) -> None:
            self.fails = True

        async def find(self, keys: Any, *, with_features: bool = False) -> Found:
            if self.fails:
                raise StoreUnavailable("store: expected an answer, got none. Look at it.")
            return Found(None, [None] * len(keys))

    class Store:
        def reader(self, model: str) -> Far:
            assert model == "offer"
            return far

    far = Far()
    monkeypatch.setattr(opening, "is_local", lambda _: False)
    monkeypatch.setattr(opening, "open_store", lambda *_, **__: Store())
    found = worker(DIRECT)
    remote = found._hybrids(service_of(found))["offer"].remote
    assert remote is not None
    for far.fails in (True, False):
        with contextlib.suppress(StoreUnavailable):
            asked = remote.find([b"a"], with_features=False, within_s=1.0)
            found._loop.run_until_complete(asked)
    counted = {
        labels[0]: values[0]
        for family, labels, values in found._metrics.totals()
        if family.name == STORE_REQUESTS
    }
    assert counted == {"answered": 1.0, "failed": 1.0}


def test_worker_answers_by_key_at_once_and_sees_what_is_published_meanwhile(
    start: Start, publish: Callable[..., None]
) -> None:
    started = start(("offer", "2"), drain_s=2.0)
    assert started.report() == Report()
    path, body = "/v1/models/offer/answers", {"key": "c8"}
    assert started.post(path, body)[1]["code"] == "unknown_key"
    publish()
    assert started.post(path, body)[1]["run_id"] == "night"
    publish("day")
    assert started.post(path, body)[1]["run_id"] == "day"
    row = {"spend": 9.0, "plan": "pro"}
    live = started.post(path, {"key": "c8", "row": row})[1]
    assert (live["prediction"], live["source"], live["version"]) == (8.0, "live", "2")
    terminate(started)
    assert started.ended() == 0


def ask_to_leave(started: Started) -> None:
    started.link.send_bytes(LEAVE)


def end_the_link(started: Started) -> None:
    started.link.close()


def terminate(started: Started) -> None:
    started.process.terminate()


@pytest.mark.parametrize("tell", [terminate, ask_to_leave, end_the_link])
def test_worker_answers_until_it_is_told_to_end(
    start: Start, tell: Callable[[Started], None]
) -> None:
    started = start(("offer", "2"), drain_s=2.0)
    assert started.report() == Report()
    status, body = started.post("/v1/models/offer/predict", {"row": [3.0, "pro"]})
    assert (status, body["prediction"]) == (200, 2.0)
    tell(started)
    assert started.ended() == 0


@needs_proc
def test_process_of_a_slow_model_ends_with_its_worker(start: Start) -> None:
    started = start(("offer", "2"), target=work_slowly, drain_s=2.0)
    assert started.report() == Report()
    status, body = started.post("/v1/models/offer/predict", {"row": [3.0, "pro"]})
    assert (status, body["prediction"]) == (200, 2.0)
    [child] = started.children()
    started.process.terminate()
    assert started.ended() == 0
    assert not is_alive(child)


@needs_proc
def test_worker_that_can_t_load_all_its_models_says_why_and_leaves_no_process(start: Start) -> None:
    path = Path("registry/offer/2/app_rules.py")
    path.write_text(path.read_text(encoding="utf-8") + "#", encoding="utf-8")
    # The first one is loaded by then, in a process that minds no signal.
    started = start(("offer", "1"), ("offer", "2"), target=work_slowly)
    children: set[int] = set()
    while not started.link.poll(0.01):
        children |= started.children()
    failure = started.report().failure or ""
    assert failure.startswith(f"{path}: expected the bytes it was packed with")
    assert started.ended() == 0
    assert len(children) == 2
    assert not any(map(is_alive, children))


def test_failure_nobody_foresaw_is_told_with_its_type(start: Start) -> None:
    started = start(("offer", "2"), target=work_unforeseen)
    assert started.report().failure == (
        "worker: expected the models to load, got ZeroDivisionError: for no reason. "
        "Its traceback is on stderr."
    )
    assert started.ended() == 0


@pytest.mark.parametrize("shows", [True, False])
def test_whose_requests_are_refused_is_noted_unless_that_is_not_to_be_shown(
    folder: Path,
    shows: bool,
) -> None:
    for given in job(("offer", "2"), show_clients=shows):
        made = _Worker(given, 0, Line())  # type: ignore[arg-type] - all that is used
        assert (made._refused(Access(), Clients.of_one_process()) is not None) == shows
        made._loop.close()


def test_limits_of_a_worker_are_in_its_metrics(folder: Path) -> None:
    for given in job(("offer", "2"), max_connections=17):
        made = _Worker(given, 0, Line())  # type: ignore[arg-type] - all that is used
        made._note_limits()
        layout, own = given.layout, made._metrics.own
        limits = [own(layout.slot(name)) for name in (WORKERS, MAX_CONNECTIONS, MAX_AGE)]
        assert limits == [1.0, 17.0, given.policy.max_age_s]
        made._loop.close()
