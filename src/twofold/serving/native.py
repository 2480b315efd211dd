"""The native parts of the server, where they were built: `src/wire` has their code."""

from __future__ import annotations

import functools
import importlib
from typing import Any, Protocol


class Gate(Protocol):
    """What `twofold._wire.Gate` has: the refusal that was given last, for the next requests."""

    def close(
        self, until_s: float, least_bytes: int, allowed_s: float, before: bytes, after: bytes, /
    ) -> None:
        """Refuse requests of so many bytes of body, or more, that may take so long, or shorter.

        Until then, or until it is opened.
        """
        ...

    def open(self) -> None:
        """Refuse nobody: it depends."""
        ...


@functools.cache
def native() -> Any:
    """The extension module `twofold._wire`; None where no compiler was there to build it."""
    try:
        return importlib.import_module("twofold._wire")
    except ImportError:
        return None


def new_gate() -> Gate | None:
    """Make an open gate; None where there is no native part."""
    built = native()
    return None if built is None else built.Gate()
