"""The server: its supervisor here, its workers in processes of their own."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import select
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from twofold.app.listener import bound, tls_of, unbound, url_of
from twofold.app.logs import set_up
from twofold.app.worker import Job, work
from twofold.errors import ConfigError, TwofoldError, problem
from twofold.hybrid.settings import AnswerSettings
from twofold.model.registry import Registry
from twofold.serving.keys import KeysFile
from twofold.serving.metrics import MAX_VERSIONS, RELOADS, RESTARTS, Metrics, layout_for
from twofold.serving.quotas import Quotas
from twofold.serving.restarts import Restarts
from twofold.serving.settings import ServeSettings
from twofold.serving.shared import SharedArray
from twofold.serving.supervisor import STOP_MARGIN_S, Changes, Work, supervise
from twofold.settings import declared_in
from twofold.stores.open import open_store
from twofold.wire.statuses import REASONS
from twofold.wire.tracing import check

START_S = 120.0
"""How long a server in the background may take to get ready."""

log = logging.getLogger("twofold.serving")


def serve(
    references: Sequence[str],
    *,
    registry: Path,
    settings: ServeSettings,
    store: str = "store",
    policy: AnswerSettings | None = None,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Serve models over HTTP until SIGTERM or SIGINT.

    References are resolved again and again: a new version, or an alias that was moved, is loaded
    and warmed up beside what is served, and takes over without a request lost. What can't be
    loaded changes nothing.

    Args:
        references: `churn`, `churn@3` or `churn:canary`; of several versions of a model, the
            first answers requests that name none.
        registry: The registry's folder.
        settings: Where to listen, and the limits.
        store: Where the snapshots of batch runs are; there needn't be any yet.
        policy: When what is stored there is an answer.
        ready: Called with the server's URL once every worker accepts requests.

    Returns:
        The exit code: 0, once the requests in flight are answered.

    Raises:
        UnknownModel: No such model, version or alias.
        ConfigError: The address can't be listened on, or a worker couldn't load a model.
    """
    set_up("supervisor", settings)
    models = _resolve(references, registry)
    _check(settings, store)
    workers = settings.workers or _cores()
    with bound(settings) as listener:
        shared, quotas = _shared(models, workers)
        job = Job(
            models, models, str(registry), settings, workers, listener, shared, quotas,
            store, policy or AnswerSettings(),
        )  # fmt: skip
        versions = _Versions(references, registry, job)
        url = url_of(listener, is_secure=bool(settings.tls_cert))
        supervise(
            functools.partial(work, job),
            workers=workers,
            drain_s=settings.drain_s,
            restarts=Restarts(max_per_min=settings.max_restarts_per_min),
            ready=lambda: ready(url) if ready is not None else None,
            restarted=lambda: versions.count(RESTARTS),
            # While it is open here, the system takes connections that nobody would answer.
            stopping=functools.partial(unbound, listener, settings),
            changes=Changes(
                versions.look, versions.switched, versions.refused, settings.watch_registry_s
            )
            if settings.watch_registry_s > 0.0
            else None,
        )
    return 0


def _shared(models: tuple[tuple[str, str], ...], workers: int) -> tuple[SharedArray, SharedArray]:
    """The metrics, and what the API keys have used, of all workers."""
    # Two generations of workers, and the supervisor.
    regions = 2 * workers + 1
    size_bytes = layout_for(models, sorted(REASONS)).size_bytes(regions)
    return SharedArray.of_size(size_bytes), SharedArray.of_size(Quotas.size_bytes(2 * workers))


def _check(settings: ServeSettings, store: str) -> None:
    """Say what is wrong with the files of the settings, or with tracing, before it is needed."""
    check(os.environ)
    open_store(store, timeout_s=1.0)
    tls_of(settings)
    if settings.api_keys:
        KeysFile(Path(settings.api_keys))


class _Versions:
    """Which versions are served, which are next, and what the supervisor counts."""

    def __init__(self, references: Sequence[str], registry: Path, job: Job) -> None:
        self._references = references
        self._registry = registry
        self._job = job
        self._next = job
        self._refused: tuple[tuple[str, str], ...] = ()
        self._problem = ""

    def count(self, family: str, *labels: str) -> None:
        """Add to one of the supervisor's own counters."""
        metrics = Metrics(self._job.layout, self._job.shared.view, region=2 * self._job.workers)
        metrics.add(metrics.layout.slot(family, *labels))

    def look(self) -> Work | None:
        """Give the work of a new generation if the references mean other versions by now."""
        try:
            models = _resolve(self._references, self._registry)
        except (TwofoldError, OSError) as error:
            # Whatever it is, what is served goes on; it is said once.
            if str(error) != self._problem:
                self._problem = str(error)
                log.error("the registry can't be read; serving on as before: %s", error)  # noqa: TRY400
            return None
        self._problem = ""
        if models in (self._job.models, self._refused):
            return None
        self._next = dataclasses.replace(self._job, models=models, counted=self._counted(models))
        log.warning("loading %s", _named(models))
        return functools.partial(work, self._next)

    def switched(self) -> None:
        """The new generation serves."""
        self._job, self._refused = self._next, ()
        self.count(RELOADS, "switched")
        log.warning("serving %s", _named(self._job.models))

    def refused(self, reason: str) -> None:
        """The new generation couldn't be loaded: it isn't tried again until something changes."""
        self._refused = self._next.models
        self.count(RELOADS, "refused")
        log.error(
            "serving %s on; refused %s: %s",
            _named(self._job.models), _named(self._refused), reason,
        )  # fmt: skip

    def _counted(self, models: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        """Give each new version a block of the metrics; the oldest retired ones give theirs up."""
        counted = list(self._job.counted)
        retired = [item for item in counted if item not in (*models, *self._job.models)]
        for model in models:
            if model in counted:
                continue
            if len(counted) < MAX_VERSIONS:
                counted.append(model)
                continue
            place = counted.index(retired.pop(0))
            counted[place] = model
            self._job.layout.clear_version(self._job.shared.view, place)
        return tuple(counted)


def _named(models: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name}@{version}" for name, version in models)


@contextlib.contextmanager
def running_server(
    references: Sequence[str], *, registry: Path, settings: ServeSettings, store: str = "store"
) -> Generator[str]:
    """Run a server in the background, as a child process; stop it at the end.

    Args:
        references: See `serve`.
        registry: The registry's folder.
        settings: Where to listen, and the limits; port 0 takes a free one.
        store: Where the snapshots of batch runs are.

    Yields:
        The server's URL, once it is ready.

    Raises:
        ConfigError: The server couldn't start; the message is its own.
    """
    flags = [
        f"{item.flag}={getattr(settings, item.name)}"
        for item in declared_in(ServeSettings, "serve")
    ]
    command = [sys.executable, "-m", "twofold", "serve", *references, *flags]
    command += ["--registry", str(registry), "--store", store, "--json"]
    # The command is this Python with the arguments made above.
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        try:
            yield announced(process)
        finally:
            process.terminate()
            try:
                process.wait(settings.drain_s + 2 * STOP_MARGIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def announced(process: subprocess.Popen[bytes]) -> str:
    """Wait until a process of `twofold serve --json` is ready, and give its URL.

    Raises:
        ConfigError: It couldn't start; the message is its own.
    """
    output = process.stdout
    if output is None or not select.select([output], [], [], START_S)[0]:
        fix = "Look at what it wrote to stderr."
        raise ConfigError(problem("server", f"it to be ready in {START_S:g} s", "nothing", fix))
    line = output.readline()
    said: dict[str, Any] = json.loads(line) if line else {}
    if "url" not in said:
        raise ConfigError(said.get("error", "server: it ended before it was ready. See stderr."))
    return said["url"]


def _resolve(references: Sequence[str], registry: Path) -> tuple[tuple[str, str], ...]:
    opened = Registry(registry)
    found = [opened.resolve(reference) for reference in references]
    models = tuple(dict.fromkeys((item.name, item.version or "") for item in found))
    if len(models) > MAX_VERSIONS // 2:
        most = MAX_VERSIONS // 2
        fix = "Start several servers."
        raise ConfigError(problem("serve", f"at most {most} models", str(len(models)), fix))
    return models


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
