"""What executes a run: it reads and predicts; planning, recording and committing are the run's.

An engine gives what it predicted in the order of the input, from a row on, and nothing that lies
on both sides of the end of a partition. Whatever it does to that end, on however many machines,
the run writes the same bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from functools import partial

from twofold.batch.inputs import read_chunks
from twofold.batch.local import cores, predict_in_order
from twofold.batch.predict import Predicted, predict_chunk
from twofold.batch.settings import BatchSettings
from twofold.batch.work import Work

Engine = Callable[[Work, int], Generator[Predicted]]
"""Predicts from a row on; closed, it stops what it has begun."""


def predict_here(work: Work, first_row: int) -> Generator[Predicted]:
    """Predict in the threads of this process."""
    layout, settings, predictor = work.layout, work.settings, work.predictor
    chunks = read_chunks(
        work.source, layout.read, work.plan, codable=layout.texts, first_row=first_row
    )
    results = predict_in_order(
        chunks,
        partial(
            predict_chunk,
            predictor,
            layout,
            from_text=work.source.format.is_text,
            sketcher=work.sketcher,
        ),
        workers=(settings.workers or cores()) if predictor.concurrent else 1,
        max_waiting=settings.max_waiting_batches,
    )
    with contextlib.closing(chunks), contextlib.closing(results):
        yield from results


def engine_of(settings: BatchSettings) -> Engine:
    """Give the engine that the settings name.

    Raises:
        ConfigError: The extra it needs isn't installed.
    """
    if settings.engine == "ray":
        from twofold.batch.ray import predict_on_ray  # noqa: PLC0415 - it imports Ray

        return predict_on_ray
    return predict_here
