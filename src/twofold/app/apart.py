"""A model in a process of its own: it loads the model, says what it costs, answers batches."""

from __future__ import annotations

import ctypes
import gc
import logging
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from twofold.app.logs import set_up
from twofold.errors import TwofoldError, problem
from twofold.serving.mailbox import Hello, Mailbox, answer_batches, say_hello
from twofold.serving.settings import ServeSettings

if TYPE_CHECKING:
    from twofold.wire.answer import Answerer

PR_SET_PDEATHSIG = 1
"""See prctl(2)."""

log = logging.getLogger("twofold.serving")


@dataclass(frozen=True)
class ApartJob:
    """What the process needs to know; passed to it."""

    name: str
    version: str
    registry: str
    settings: ServeSettings


def predict_apart(job: ApartJob, pipe: Connection, mailbox: Mailbox) -> None:
    """Be the process: until the worker at the other end of the pipe is gone."""
    # A signal for all processes of the server is for the supervisor: this one ends with its pipe.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    set_up(f"model {job.name}", job.settings)
    try:
        answerer, hello = _loaded(job)
    except TwofoldError as error:
        say_hello(pipe, Hello(failure=str(error)))
        return
    except Exception as error:
        log.exception("%s can't be loaded", job.name)
        got = f"{type(error).__name__}: {error}"
        failure = problem(job.name, "the model to load", got, "Its traceback is on stderr.")
        say_hello(pipe, Hello(failure=failure))
        return
    gc.collect()
    gc.freeze()
    say_hello(pipe, hello)
    answer_batches(pipe, mailbox, answerer, clock=time.monotonic)


def _end_with_parent() -> None:
    """Be ended with the worker even in the middle of a prediction, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _loaded(job: ApartJob) -> tuple[Answerer, Hello]:
    """Load and measure the model."""
    # The worker that starts this process imports this module, too, and none of these.
    from twofold.model.registry import Registry  # noqa: PLC0415
    from twofold.predictor.load import SELF_TEST_ROWS, load, read_sample  # noqa: PLC0415
    from twofold.serving.measure import measure  # noqa: PLC0415
    from twofold.serving.service import Contract  # noqa: PLC0415
    from twofold.wire.answer import Answerer  # noqa: PLC0415
    from twofold.wire.protocols import readers  # noqa: PLC0415

    model = load(f"{job.name}@{job.version}", registry=job.registry)
    contract = Contract(model.record)
    sample = read_sample(Registry(job.registry), model.record).first(SELF_TEST_ROWS)
    costs = measure(model, [contract.check(row) for row in sample.rows.to_pylist()])
    one_by_one = costs.one_by_one
    answerer = Answerer(
        readers(contract, max_rows=job.settings.max_rows),
        lambda rows: model.predict_checked(rows, one_by_one=one_by_one),
        clock=time.monotonic,
    )
    return answerer, Hello(costs.curve.fixed_s, costs.curve.per_row_s)
