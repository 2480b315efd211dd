"""The Ray engine: partitions predicted by the workers of a cluster.

Where the input says how many rows its files have (Parquet, Arrow, Delta), a worker is told which
rows to read, and reads them itself; of text, whose rows are counted only in reading, this process
reads, and sends. What comes back is what a thread of this process would have given. A worker that
dies costs its partition, which is predicted again elsewhere; this process alone writes and
records, so that its end is that of any run, and any engine can resume it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pyarrow as pa

from twofold.batch.chunks import Broken, Chunk, Rows
from twofold.batch.formats import SQL
from twofold.batch.inputs import Input, read_chunks
from twofold.batch.layout import Layout
from twofold.batch.local import cores
from twofold.batch.plan import Plan
from twofold.batch.predict import Predicted, predict_chunk
from twofold.batch.quarantine import SetAside
from twofold.batch.sketch import BatchSketch, Sketcher
from twofold.batch.work import Work
from twofold.errors import ConfigError, InvalidInput, PredictionFailed, problem
from twofold.predictor.door import Predictor
from twofold.predictor.load import load

try:
    import ray
    from ray import exceptions
except ImportError as error:
    raise ConfigError(
        problem("--engine ray", "Ray", "none", "Install it: pip install 'twofold[ray]'.")
    ) from error

MAX_RETRIES = 10
"""Times a partition is tried again after its worker died."""
CONNECT_TIMEOUT_S = 10
TASKS_PER_CORE = 2
"""Partitions under way or done and not yet taken, for each core of the cluster."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a worker needs to do as the run does.

    Attributes:
        registry: Where the model is, as all machines see it.
        model: Its name and version.
        digest: Its content.
        source: The input, its files as all machines see them.
        layout: Which columns go where.
        plan: How the input is sliced.
        sketcher: Sketches what the model saw and predicted; None leaves that out.
    """

    registry: str
    model: str
    digest: str
    source: Input
    layout: Layout
    plan: Plan
    sketcher: Sketcher | None


Packed = tuple[int, int, bytes, list[SetAside], BatchSketch | None]
"""A `Predicted` on its way: its columns as an Arrow stream, which holds none but its own rows."""
Sent = tuple[int, bytes, tuple[Broken, ...]]
"""A `Chunk` on its way."""


def predict_on_ray(work: Work, first_row: int) -> Generator[Predicted]:
    """Predict on a Ray cluster: that of `ray_address`, or one of this machine's cores.

    Raises:
        ConfigError: There is no cluster at that address.
        InvalidInput: A worker sees another input or model.
        PredictionFailed: Workers died again and again over one partition.
    """
    with _cluster(work) as cluster_cores:
        recipe = ray.put(recipe_of(work))
        limit = max(1, cluster_cores) * TASKS_PER_CORE
        tasks = _tasks(work, recipe, first_row)
        with contextlib.closing(tasks):
            for packed in _in_order(tasks, limit):
                yield from map(_unpacked, packed)


def recipe_of(work: Work) -> Recipe:
    """Say what a worker needs."""
    predictor = work.predictor
    return Recipe(
        registry=str(work.registry.absolute()),
        model=f"{predictor.name}@{predictor.version}",
        digest=predictor.digest,
        source=work.source,
        layout=work.layout,
        plan=work.plan,
        sketcher=work.sketcher,
    )


def predict_place(recipe: Recipe, first_row: int, end_row: int) -> list[Packed]:
    """Read some rows and predict them, in a worker.

    Args:
        recipe: With what.
        first_row: The first of them, in the whole input.
        end_row: The row after the last one; both are of one partition.
    """
    layout = recipe.layout
    chunks = read_chunks(
        recipe.source, layout.read, recipe.plan, codable=layout.texts, first_row=first_row
    )
    with contextlib.closing(chunks):
        here = itertools.takewhile(lambda chunk: chunk.first_row < end_row, chunks)
        return [_predicted(recipe, chunk) for chunk in here]


def predict_sent(recipe: Recipe, sent: list[Sent]) -> list[Packed]:
    """Predict rows that were read elsewhere, in a worker."""
    chunks = (
        Chunk(first_row, Rows(_batch_of(stream), broken)) for first_row, stream, broken in sent
    )
    return [_predicted(recipe, chunk) for chunk in chunks]


def _predicted(recipe: Recipe, chunk: Chunk) -> Packed:
    predictor = _loaded(recipe.registry, recipe.model)
    if predictor.digest != recipe.digest:
        fix = "Give all machines one registry."
        raise InvalidInput(problem(recipe.model, "the run's model", "another", fix))
    found = predict_chunk(
        predictor,
        recipe.layout,
        chunk,
        from_text=recipe.source.format.is_text,
        sketcher=recipe.sketcher,
    )
    stream = _stream_of(found.columns)
    return found.first_row, found.rows_in, stream, found.set_aside, found.sketch


@functools.lru_cache(maxsize=4)
def _loaded(registry: str, model: str) -> Predictor:
    """The model, once for each worker."""
    return load(model, registry=registry)


def _unpacked(packed: Packed) -> Predicted:
    first_row, rows_in, stream, set_aside, sketch = packed
    return Predicted(first_row, rows_in, _batch_of(stream), set_aside, sketch)


def _tasks(work: Work, recipe: Any, first_row: int) -> Generator[Callable[[], Any]]:
    """Give the starters of tasks, one for each partition, in their order."""
    size, total = work.plan.partition_rows, work.source.rows_total
    # The answer to a query lies in the staging folder, which other machines need not see.
    if total is not None and work.source.format is not SQL:
        place = _remote(predict_place)
        for start in range(first_row, total, size):
            yield functools.partial(place, recipe, start, min(start + size, total))
        return
    layout, here = work.layout, _remote(predict_sent)
    chunks = read_chunks(
        work.source, layout.read, work.plan, codable=layout.texts, first_row=first_row
    )
    with contextlib.closing(chunks):
        for _, group in itertools.groupby(chunks, lambda chunk: chunk.first_row // size):
            sent = [
                (chunk.first_row, _stream_of(chunk.rows.columns), chunk.rows.broken)
                for chunk in group
            ]
            yield functools.partial(here, recipe, sent)


def _remote(function: Callable[..., Any]) -> Callable[..., Any]:
    return ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(function).remote


def _in_order(tasks: Iterable[Callable[[], Any]], limit: int) -> Iterator[list[Packed]]:
    """Run tasks, a bounded number at a time, and give their results in order."""
    held: deque[Any] = deque()
    try:
        for start in tasks:
            held.append(start())
            if len(held) >= limit:
                yield _result(held.popleft())
        while held:
            yield _result(held.popleft())
    finally:
        for reference in held:
            ray.cancel(reference, force=True)


def _result(reference: Any) -> list[Packed]:
    try:
        return ray.get(reference)
    except exceptions.RayTaskError as error:
        raise error.cause from error
    except exceptions.RayError as error:
        fix = "See Ray's logs; then run the same command again, it goes on from here."
        got = " ".join(str(error).split())[:300]
        raise PredictionFailed(problem("ray", "a partition predicted", got, fix)) from error


@contextlib.contextmanager
def _cluster(work: Work) -> Generator[int]:
    """Be connected to a cluster; give its cores."""
    settings, address = work.settings, work.settings.ray_address
    quiet: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
    try:
        if address:
            _check_answers(address)
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=settings.workers or cores(),
                include_dashboard=False,
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        got = " ".join(str(error).split())[:300]
        where, fix = "ray_address", "Mend it, or leave it out to use this machine alone."
        raise ConfigError(problem(where, "a Ray cluster", got, fix)) from error
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise OSError at once where Ray, told to connect to nobody, would wait for many minutes."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()


def _stream_of(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _batch_of(stream: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_next_batch()
