"""A model's own process: it loads the model, says what it costs, and answers until it is alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from twofold.app.apart import ApartJob, _loaded, predict_apart
from twofold.errors import UnknownModel
from twofold.serving.mailbox import Job, Mailbox, Result, Sender
from twofold.serving.settings import ServeSettings
from twofold.wire.http import Response
from twofold.wire.protocols import Protocol

LIMIT_S = 60
FOREVER_S = 1e9


def apart_job(version: str = "2") -> ApartJob:
    return ApartJob("offer", version, "registry", ServeSettings(max_rows=3))


def request(body: Any, *, kind: Protocol = Protocol.V1, deadline_s: float = FOREVER_S) -> Job:
    headers = {b"content-type": b"application/json"}
    return Job(kind, headers, msgspec.json.encode(body), deadline_s)


def answered(result: Result) -> tuple[str, int, int, Any]:
    """Outcome and rows, and what the caller is told."""
    response = msgspec.msgpack.decode(result.answer, type=Response)
    return result.outcome, result.rows, response.status, msgspec.json.decode(response.body)


GOOD = request({"row": {"spend": 3.0, "plan": "pro"}})


def test_each_request_is_answered_in_its_protocol_with_its_outcome(folder: Path) -> None:
    answerer, _ = _loaded(apart_job())
    results, predict_s = answerer(
        [
            GOOD,
            request({"rows": [[5.0, "pro"], [7.0, "basic"]]}),
            request({"row": {"spend": "x", "plan": "pro"}}),
            request({"rows": [[1.0, "pro"]] * 4}),
            request({"inputs": [{"spend": 9.0, "plan": "pro"}]}, kind=Protocol.MLFLOW),
        ]
    )
    assert predict_s > 0.0
    answers = [answered(result) for result in results]
    tail = {"model": "offer", "version": "2", "source": "live"}
    assert answers[0] == ("ok", 1, 200, {"prediction": 2.0, **tail})
    assert answers[1] == ("ok", 2, 200, {"predictions": [4.0, 6.0], **tail})
    assert answers[2][:3] == ("invalid", 0, 422)
    assert "row.spend" in answers[2][3]["error"]
    assert answers[3][:3] == ("invalid", 0, 413), "the limits are those of the settings"
    assert answers[4][:3] == ("ok", 1, 200)
    assert answers[4][3]["predictions"] == [8.0]


def test_what_nobody_waits_for_is_not_predicted(folder: Path) -> None:
    answerer, _ = _loaded(apart_job())
    late = request({"row": [3.0, "pro"]}, deadline_s=time.monotonic() - 0.001)
    results, _ = answerer([None, late, GOOD])
    assert [result.outcome for result in results] == ["late", "late", "ok"]


def test_model_is_measured(folder: Path) -> None:
    _, hello = _loaded(apart_job())
    assert hello.failure is None
    assert hello.fixed_s + hello.per_row_s > 0.0


def test_version_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(UnknownModel):
        _loaded(apart_job("7"))


class Started:
    """The process, as a worker starts it."""

    def __init__(self, job: ApartJob) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.mailbox = Mailbox()
        self.process = context.Process(
            target=predict_apart, args=(job, theirs, self.mailbox), daemon=True
        )
        self.process.start()
        theirs.close()
        self.sender = Sender(ours, self.mailbox)

    def answer(self, slot: int, *jobs: Job) -> list[tuple[str, int, int, Any]]:
        self.sender.send(slot, list(jobs))
        assert self.sender.pipe.poll(LIMIT_S)
        return [answered(result) for result in self.sender.receive()[1]]


Start = Callable[[ApartJob], Started]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    started: list[Started] = []

    def start(job: ApartJob) -> Started:
        started.append(Started(job))
        assert started[-1].sender.pipe.poll(LIMIT_S)
        return started[-1]

    yield start
    for item in started:
        item.process.kill()
        item.process.join()
        item.mailbox.close()


def test_process_serves_whatever_signals_its_group_gets_until_its_worker_is_gone(
    start: Start,
) -> None:
    started = start(apart_job())
    hello = started.sender.hello()
    assert hello.failure is None
    assert hello.fixed_s + hello.per_row_s > 0.0
    assert started.process.pid is not None
    # Ctrl-C, or a service manager that tells all processes: the worker is to finish first.
    for kind in (signal.SIGTERM, signal.SIGINT):
        os.kill(started.process.pid, kind)
    for slot in (0, 1):
        [(outcome, *_, body)] = started.answer(slot, GOOD)
        assert (outcome, body["prediction"]) == ("ok", 2.0)
    started.sender.pipe.close()
    started.process.join(LIMIT_S)
    assert started.process.exitcode == 0


def test_model_that_can_t_be_loaded_says_why_and_the_process_ends(start: Start) -> None:
    path = Path("registry/offer/2/app_rules.py")
    path.write_text(path.read_text(encoding="utf-8") + "#", encoding="utf-8")
    started = start(apart_job())
    failure = started.sender.hello().failure or ""
    assert failure.startswith(f"{path}: expected the bytes it was packed with"), failure
    started.process.join(LIMIT_S)
    assert started.process.exitcode == 0
