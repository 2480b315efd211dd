"""LightGBM boosters, read from LightGBM's own text format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twofold.errors import missing_extra
from twofold.model.record import Artifact
from twofold.model.signature import Output, Signature
from twofold.predictor.runtimes.labels import label_step
from twofold.predictor.runtimes.tabular import TabularRuntime


def open_lightgbm(
    path: Path, artifact: Artifact, signature: Signature, output: Output
) -> TabularRuntime:
    """Open a stored booster.

    Raises:
        ConfigError: LightGBM isn't installed.
    """
    try:
        import lightgbm  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise missing_extra("lightgbm", "lightgbm", "this model's original runtime") from error
    booster = lightgbm.Booster(model_file=str(path))
    step = label_step(artifact, output)

    def predict(rows: Any) -> Any:
        # One thread: the caller brings its own, for batch and for requests alike.
        return step(booster.predict(rows, num_threads=1))

    return TabularRuntime(predict, artifact, signature)
