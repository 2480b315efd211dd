"""twofold: one model, two speeds. Pack a model once, predict in batch and in real time.

Importing this package loads nothing but the names below; each is fetched on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from twofold.version import VERSION

if TYPE_CHECKING:
    from twofold.app.answers import Answers, answers
    from twofold.app.load import load
    from twofold.app.pack import pack
    from twofold.errors import (
        ConfigError,
        DeadlineExceeded,
        DeclarationError,
        InvalidInput,
        PredictionFailed,
        Refused,
        TwofoldError,
        UnknownKey,
        UnknownModel,
    )
    from twofold.model.signature import Field, Output, Signature
    from twofold.predictor.door import Predictor
    from twofold.predictor.functions import batch_predict, real_time_predict

__version__ = VERSION

__all__ = [
    "Answers",
    "ConfigError",
    "DeadlineExceeded",
    "DeclarationError",
    "Field",
    "InvalidInput",
    "Output",
    "PredictionFailed",
    "Predictor",
    "Refused",
    "Signature",
    "TwofoldError",
    "UnknownKey",
    "UnknownModel",
    "answers",
    "batch_predict",
    "load",
    "pack",
    "real_time_predict",
]

_HOMES = {
    "Answers": "twofold.app.answers",
    "answers": "twofold.app.answers",
    "batch_predict": "twofold.predictor.functions",
    "real_time_predict": "twofold.predictor.functions",
    "load": "twofold.app.load",
    "pack": "twofold.app.pack",
    "Predictor": "twofold.predictor.door",
    "Field": "twofold.model.signature",
    "Output": "twofold.model.signature",
    "Signature": "twofold.model.signature",
}


def __getattr__(name: str) -> Any:
    """Fetch a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'twofold' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "twofold.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return [*__all__, "__version__"]
