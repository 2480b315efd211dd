"""How long each part of a comparison may take."""

from __future__ import annotations

import dataclasses

LARGE_BY = 4
"""So many times as many rows as the input has are a larger one worth a run."""
FEW_BY = 10
"""The part of a large input that is few rows of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured for how long; seconds unless a name says otherwise.

    Attributes:
        repeats: Batch runs over each input.
        repeats_s: Once runs over one input have taken that long, there are no more.
        large_rows: A small input is also repeated up to so many.
        large_s: More rows than the input has are predicted for that long at most, about.
        run_limit_s: A run that takes longer is given up.
        in_process_s: Calls in Python.
        alone_s: A lone client.
        stages_s: A lone client that asks for the server's times.
        peak_s: The closed loop that tells where to look for the capacity.
        search_s: Each rate tried for it.
        level_s: Each rate reported.
        warm_up_s: Of each load, not counted.
        levels: Rates reported, as shares of the capacity.
        requests: Different rows that are asked for.
        key_rows: Rows that get a key of their own, if the input has none.
        publish_rows: Rows that are published to see what each of them costs.
    """

    repeats: int
    repeats_s: float
    large_rows: int
    large_s: float
    run_limit_s: float = 1_800.0
    in_process_s: float
    alone_s: float
    stages_s: float
    peak_s: float
    search_s: float
    level_s: float
    warm_up_s: float
    levels: tuple[float, ...] = (0.25, 0.5, 0.8, 1.0, 1.5, 3.0)
    requests: int = 1_000
    key_rows: int = 1_000_000
    publish_rows: int

    def for_model(self, row_s: float) -> Plan:
        """The same with no more rows than a model predicts in time, which takes so long for one."""
        most = int(self.large_s / max(row_s, 1e-9))
        return dataclasses.replace(
            self,
            large_rows=min(self.large_rows, most),
            publish_rows=min(self.publish_rows, most),
        )

    def is_large(self, rows: int) -> bool:
        """Whether an input has so many rows that a few of them tell what is fixed of a run."""
        return rows * LARGE_BY >= self.large_rows


FULL = Plan(
    repeats=3,
    repeats_s=30.0,
    large_rows=1_000_000,
    large_s=30.0,
    publish_rows=500_000,
    in_process_s=2.0,
    alone_s=3.0,
    stages_s=2.0,
    peak_s=1.5,
    search_s=1.5,
    level_s=4.0,
    warm_up_s=0.5,
)
QUICK = Plan(
    repeats=1,
    repeats_s=0.0,
    large_rows=300_000,
    large_s=6.0,
    publish_rows=100_000,
    in_process_s=0.3,
    alone_s=0.4,
    stages_s=0.3,
    peak_s=0.4,
    search_s=0.3,
    level_s=0.6,
    warm_up_s=0.1,
)
