"""The settings of a batch run."""

from __future__ import annotations

import dataclasses

from twofold.settings import setting


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """How a run uses the machine, and when it gives up.

    Only `partition_rows` shapes the parts; a run may be resumed with any other setting changed.
    Statistics are those of all rows or none: without them in one attempt, the run has none.
    """

    workers: int = setting(
        0, "Threads that predict; 0 means one per core.", minimum=0, maximum=1024
    )
    batch_rows: int = setting(
        32_768, "Rows the model is given at once.", minimum=1, maximum=1_048_576
    )
    partition_rows: int = setting(
        131_072,
        "Rows of the input behind each part file, the unit of resuming.",
        minimum=1,
        maximum=16_777_216,
    )
    max_waiting_batches: int = setting(
        4,
        "Batches read ahead of those being predicted; with workers and batch_rows, this bounds "
        "memory.",
        minimum=1,
        maximum=4096,
    )
    engine: str = setting(
        "local",
        "What reads and predicts: the threads of this process, or a Ray cluster. A run may be "
        "resumed by another one.",
        choices=("local", "ray"),
    )
    ray_address: str = setting(
        "",
        "Address of the Ray cluster; without one, Ray is started on this machine for the run.",
    )
    max_quarantined_ratio: float = setting(
        0.5,
        "Share of the input's rows that may be set aside before the run is given up. One bad row "
        "among few never stops a run; beyond half, the input is more likely the wrong one than a "
        "dirty one.",
        minimum=0.0,
        maximum=1.0,
    )
    max_quarantined_rows: int = setting(
        1_000_000, "Rows that may be set aside before the run is given up.", minimum=0
    )
    statistics: bool = setting(
        True,
        "Whether the manifest says what fields and predictions held, and how far they have "
        "drifted from the model's sample.",
    )
    max_psi: float = setting(
        0.2,
        "Population stability index of a field or prediction against the sample beyond which "
        "the run ends with a warning. Below 0.1 is usually taken for stable, above 0.2 for a "
        "shift.",
        minimum=0.0,
    )
    max_null_ratio_change: float = setting(
        0.05,
        "Difference between a field's shares of nulls in the run and in the sample beyond which "
        "the run ends with a warning.",
        minimum=0.0,
        maximum=1.0,
    )
    max_unseen_ratio: float = setting(
        0.01,
        "Share of a field's rows with a text that the sample doesn't have beyond which the run "
        "ends with a warning.",
        minimum=0.0,
        maximum=1.0,
    )
