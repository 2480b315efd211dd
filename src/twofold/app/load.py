"""Loading a packed model, as Python callers do it."""

from __future__ import annotations

from pathlib import Path

from twofold.app.settings import read
from twofold.predictor import load as loading
from twofold.predictor.door import Predictor


def load(reference: str, *, registry: Path | str | None = None) -> Predictor:
    """Load a packed model.

    Args:
        reference: `churn` (alias champion, else the newest), `churn@3` or `churn:canary`.
        registry: The registry's folder; by default the settings' (`./registry`).

    Returns:
        The version's door, self-tested.

    Raises:
        UnknownModel: No such model, version or alias.
        ConfigError: A file of the version was changed, or a library it needs is missing.
    """
    return loading.load(reference, registry=registry or read().registry)
