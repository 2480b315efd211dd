"""The sight of a run: what its batches are sketched with, and what its manifest tells of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from twofold.batch.ledger import Finished
from twofold.batch.quarantine import SetAside
from twofold.batch.settings import BatchSettings
from twofold.batch.sketch import BatchSketch, Sketcher, sketcher_of
from twofold.batch.statistics import (
    Sketch,
    Statistics,
    added_up,
    decode_sketch,
    encode_sketch,
)
from twofold.batch.summary import summarise

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor
    from twofold.predictor.load import Sample


ADDED_AT_ONCE = 16
"""Partitions whose sketches are held: unpacked, they are large."""


@dataclasses.dataclass(frozen=True)
class Sight:
    """What is seen of a run's rows.

    Attributes:
        sketcher: For its batches and partitions.
        outputs: How many of the columns are predictions.
        sample: What the model's sample holds; None if there is none to compare with.
    """

    sketcher: Sketcher
    outputs: int
    sample: Sketch | None

    def partition(self, batches: Sequence[BatchSketch], set_aside: Sequence[SetAside]) -> bytes:
        """What the ledger keeps of a partition."""
        pairs = ((row.field, row.reason) for row in set_aside)
        return encode_sketch(self.sketcher.partition(batches, pairs))

    def summary(self, finished: Sequence[Finished], limits: BatchSettings) -> Statistics | None:
        """The statistics of a whole run; None if they lack for some of its partitions."""
        columns = self.sketcher.columns
        held: list[Sketch] = []
        for entry in finished:
            sketch = decode_sketch(entry.sketch) if entry.sketch else None
            if sketch is None or len(sketch.columns) != len(columns):
                return None
            held.append(sketch)
            if len(held) == ADDED_AT_ONCE:
                held = [added_up(held)]
        if not held:
            return None
        return summarise(columns, self.outputs, added_up(held), self.sample, limits)


def sight_of(predictor: Predictor, sample: Sample | None) -> Sight:
    """Prepare to see what a model is given and predicts.

    Args:
        predictor: The model.
        sample: Rows it was packed with, and what the original predicted for them.
    """
    columns: list[pa.Array] | None = None
    if sample is not None:
        columns = [*sample.rows.columns, *sample.expected.columns]
    sketcher = sketcher_of(predictor.signature, predictor.output, columns)
    seen = None if columns is None else sketcher.partition([sketcher.sketch(columns)], ())
    return Sight(sketcher, len(predictor.output.names), seen)
