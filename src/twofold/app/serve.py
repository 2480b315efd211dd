"""The server: its supervisor here, its workers in processes of their own."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import ipaddress
import json
import logging
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twofold.errors import ConfigError, TwofoldError, problem
from twofold.model.registry import Registry
from twofold.serving.metrics import CONNECTIONS, RESTARTS, Layout, Metrics, layout_for
from twofold.serving.restarts import Restarts
from twofold.serving.settings import ServeSettings
from twofold.serving.shared import SharedArray
from twofold.serving.supervisor import STOP_MARGIN_S, Link, Report, supervise
from twofold.settings import declared_in
from twofold.wire.statuses import REASONS

START_S = 120.0
"""How long a server in the background may take to get ready."""

log = logging.getLogger("twofold.serving")


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know; passed to its process."""

    models: tuple[tuple[str, str], ...]
    registry: str
    settings: ServeSettings
    listener: socket.socket
    shared: SharedArray

    @property
    def layout(self) -> Layout:
        return layout_for(self.models, sorted(REASONS))


def serve(
    references: Sequence[str],
    *,
    registry: Path,
    settings: ServeSettings,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Serve models over HTTP until SIGTERM or SIGINT.

    References are resolved once: all workers serve the same versions until the server ends.

    Args:
        references: `churn`, `churn@3` or `churn:canary`; of several versions of a model, the
            first answers requests that name none.
        registry: The registry's folder.
        settings: Where to listen, and the limits.
        ready: Called with the server's URL once every worker accepts requests.

    Returns:
        The exit code: 0, once the requests in flight are answered.

    Raises:
        UnknownModel: No such model, version or alias.
        ConfigError: The address can't be listened on, or a worker couldn't load a model.
    """
    models = _resolve(references, registry)
    workers = settings.workers or _cores()
    size_bytes = layout_for(models, sorted(REASONS)).size_bytes(workers)
    with _bound(settings) as listener:
        shared = SharedArray.of_size(size_bytes)
        job = _Job(models, str(registry), settings, listener, shared)
        metrics = Metrics(job.layout, shared.view, region=workers)
        slot = metrics.layout.slot(RESTARTS)
        url = _url(listener)
        supervise(
            functools.partial(_work, job),
            workers=workers,
            drain_s=settings.drain_s,
            restarts=Restarts(max_per_min=settings.max_restarts_per_min),
            ready=lambda: ready(url) if ready is not None else None,
            restarted=lambda: metrics.add(slot),
            # While it is open here, the system takes connections that nobody would answer.
            stopping=listener.close,
        )
    return 0


@contextlib.contextmanager
def running_server(
    references: Sequence[str], *, registry: Path, settings: ServeSettings
) -> Generator[str]:
    """Run a server in the background, as a child process; stop it at the end.

    Args:
        references: See `serve`.
        registry: The registry's folder.
        settings: Where to listen, and the limits; port 0 takes a free one.

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
    command += ["--registry", str(registry), "--json"]
    # The command is this Python with the arguments made above.
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        try:
            yield _announced(process)
        finally:
            process.terminate()
            try:
                process.wait(settings.drain_s + 2 * STOP_MARGIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _announced(process: subprocess.Popen[bytes]) -> str:
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
    return tuple(dict.fromkeys((item.name, item.version or "") for item in found))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores this process may use
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _bound(settings: ServeSettings) -> socket.socket:
    """Bind the one socket that all workers listen on; nobody listens before a worker is ready."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        fix = "Give an address of this machine with --host."
        raise ConfigError(problem("serve.host", "an address", f"{host}: {error}", fix)) from error
    try:
        # Else the port stays taken for a minute after a server on it has ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            fix = "Give an address of this machine with --host."
            raise ConfigError(
                problem("serve.host", "an address of this machine", host, fix)
            ) from error
        where = f"{host}:{port}"
        fix = "Choose another with --port, or --port 0 for any free one."
        raise ConfigError(
            problem("serve.port", "a free port", f"{where}: {error.strerror}", fix)
        ) from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")  # noqa: PLR2004
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"  # noqa: PLR2004


def _work(job: _Job, index: int, link: Link) -> None:
    """Be a worker process: load, answer, drain."""
    # What a model prints is talk: the server's own output is for machines.
    os.dup2(sys.stderr.fileno(), 1)
    logging.basicConfig(
        stream=sys.stderr, format=f"%(asctime)s worker {index} %(levelname)s: %(message)s"
    )
    try:
        listen = _loaded(job, index, link)
    except TwofoldError as error:
        link.send(Report(failure=str(error)))
        return
    except Exception as error:
        log.exception("worker %d can't start", index)
        got = f"{type(error).__name__}: {error}"
        fix = "Its traceback is on stderr."
        link.send(Report(failure=problem("worker", "the models to load", got, fix)))
        return
    listen()


def _loaded(job: _Job, index: int, link: Link) -> Callable[[], None]:
    """Load and test the models; give what then answers for them until the end."""
    # The supervisor imports this module, too, and none of these.
    from twofold import __version__  # noqa: PLC0415
    from twofold.predictor.load import load  # noqa: PLC0415
    from twofold.serving.service import Served, Service  # noqa: PLC0415
    from twofold.wire.connection import Connections  # noqa: PLC0415
    from twofold.wire.listen import listen  # noqa: PLC0415
    from twofold.wire.routes import Routes  # noqa: PLC0415

    metrics = Metrics(job.layout, job.shared.view, region=index)
    registry = Registry(job.registry)
    served: list[Served] = []
    for name, version in job.models:
        predictor = load(f"{name}@{version}", registry=job.registry)
        example = _example(registry, predictor)
        served.append(Served(predictor, metrics, example=example))
    service = Service(served, metrics, clock=time.monotonic)
    slot = metrics.layout.slot(CONNECTIONS)
    connections = Connections(
        Routes(service, job.settings, version=__version__),
        job.settings,
        clock=time.monotonic,
        changed=lambda count: metrics.add(slot, count),
    )

    def ready() -> None:
        service.ready()
        link.send(Report())

    # What was loaded stays to the end: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    return functools.partial(
        listen,
        job.listener,
        connections,
        parent=link.fileno(),
        ready=ready,
        drain=service.drain,
    )


def _example(registry: Registry, predictor: Any) -> Mapping[str, Any] | None:
    """The first row of the version's sample, for the documentation."""
    from twofold.predictor.load import read_sample  # noqa: PLC0415 - as in `_loaded`

    rows = read_sample(registry, predictor.record).rows.slice(0, 1).to_pylist()
    return rows[0] if rows else None
