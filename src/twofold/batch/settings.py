"""The settings of a batch run."""

from __future__ import annotations

import dataclasses

from twofold.settings import setting


@dataclasses.dataclass(frozen=True)
class BatchSettings:
    """How a run uses the machine, and when it gives up.

    Only `partition_rows` shapes what is written; a run may be resumed with any other setting
    changed.
    """

    workers: int = setting(
        0, "Threads that predict; 0 means one per core.", minimum=0, maximum=1024
    )
    batch_rows: int = setting(
        16_384, "Rows the model is given at once.", minimum=1, maximum=1_048_576
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
