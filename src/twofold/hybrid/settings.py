"""The settings of snapshots and of answers."""

from __future__ import annotations

import dataclasses

from twofold.settings import setting


@dataclasses.dataclass(frozen=True)
class SnapshotSettings:
    """The gates that a snapshot passes before it is switched to."""

    min_rows_ratio: float = setting(
        0.9,
        "Keys a snapshot must have, as a share of those of the one before.",
        minimum=0.0,
        maximum=1_000.0,
    )
    max_quarantined_ratio: float = setting(
        0.05,
        "Share of the run's rows that may be in quarantine, and have no prediction.",
        minimum=0.0,
        maximum=1.0,
    )
    max_prediction_psi: float = setting(
        0.25,
        "How far predictions may drift from those of the snapshot before: population stability "
        "index of any output, beyond what chance explains.",
        minimum=0.0,
        maximum=1_000.0,
    )


@dataclasses.dataclass(frozen=True)
class AnswerSettings:
    """When a stored prediction is an answer, and what is done when it isn't."""

    max_age_s: float = setting(
        86_400.0,
        "Age in seconds, since the batch's input was true, up to which a stored prediction is "
        "fresh, unless a request says otherwise.",
        minimum=0.0,
        maximum=3_155_760_000.0,
    )
    on_stale: str = setting(
        "mark",
        "What is done with a stale prediction when there is nothing to predict a new one from: "
        "mark it as not fresh, or refuse it.",
        choices=("mark", "refuse"),
    )
    on_other_version: str = setting(
        "stored",
        "What is done with a prediction stored by another version than the one that serves: "
        "stored answers with it all the same, live predicts anew where features are known, and "
        "takes it for stale where they aren't.",
        choices=("stored", "live"),
    )
    max_skew_s: float = setting(
        60.0,
        "Seconds that a batch's as_of may lie in the future, for clocks that differ; beyond, its "
        "predictions aren't taken for fresh.",
        minimum=0.0,
        maximum=86_400.0,
    )
    max_keys: int = setting(1_000, "Keys one request may ask for.", minimum=1, maximum=100_000)
    store_timeout_s: float = setting(
        0.1,
        "Seconds a server that has the snapshots may take to answer, before predictions are "
        "live, or what is remembered is marked as not fresh.",
        minimum=0.001,
        maximum=60.0,
    )
    max_store_failures: int = setting(
        3,
        "Failures of the store in a row after which it isn't asked for a while.",
        minimum=1,
        maximum=1_000,
    )
    store_retry_s: float = setting(
        1.0,
        "How long that is, in seconds, before it is tried again.",
        minimum=0.01,
        maximum=3_600.0,
    )
    max_remembered_keys: int = setting(
        10_000,
        "Predictions a worker remembers of a store on a server, to answer with while that is away.",
        minimum=0,
        maximum=10_000_000,
    )
