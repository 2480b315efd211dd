"""The native parts of the server, where they were built: `src/wire` has their code."""

from __future__ import annotations

import functools
import importlib
from typing import Any


@functools.cache
def native() -> Any:
    """The extension module `twofold._wire`; None where no compiler was there to build it."""
    try:
        return importlib.import_module("twofold._wire")
    except ImportError:
        return None
