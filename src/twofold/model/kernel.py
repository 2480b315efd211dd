"""The native kernel, where it was built: `src/kernel` has its code."""

from __future__ import annotations

import functools
import importlib
from typing import Any


@functools.cache
def kernel() -> Any:
    """The extension module `twofold._kernel`; None where no compiler was there to build it."""
    try:
        return importlib.import_module("twofold._kernel")
    except ImportError:
        return None
