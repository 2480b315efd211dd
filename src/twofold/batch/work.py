"""What is to be predicted, and with what."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from twofold.batch.inputs import Input
from twofold.batch.layout import Layout
from twofold.batch.plan import Plan
from twofold.batch.settings import BatchSettings
from twofold.batch.sketch import Sketcher

if TYPE_CHECKING:
    from twofold.predictor.door import Predictor


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of an engine.

    Attributes:
        predictor: The model.
        registry: Where others can load the model from.
        source: The input.
        layout: Which columns go where.
        settings: How.
        sketcher: Sketches what the model saw and predicted; None leaves that out.
    """

    predictor: Predictor
    registry: Path
    source: Input
    layout: Layout
    settings: BatchSettings
    sketcher: Sketcher | None = None

    @property
    def plan(self) -> Plan:
        """How the input is sliced."""
        return Plan(self.settings.partition_rows, self.settings.batch_rows)
