"""Memory that several processes see: a file without a name, mapped into each of them."""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any


class SharedArray:
    """A fixed number of bytes, zero at first, shared with every process it is passed to.

    It is passed as an argument of a `multiprocessing` process. The file has no name, so nothing
    is left behind, however the processes end.

    Attributes:
        view: The bytes.
    """

    def __init__(self, descriptor: int) -> None:
        """Map an open file whole."""
        self._descriptor = descriptor
        self.view = memoryview(mmap.mmap(descriptor, 0))

    @classmethod
    def of_size(cls, size_bytes: int) -> SharedArray:
        """Make a new one."""
        with tempfile.TemporaryFile() as file:
            file.truncate(size_bytes)
            return cls(os.dup(file.fileno()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pass the open file to the process being started."""
        return _attach, (reduction.DupFd(self._descriptor),)


def _attach(handle: Any) -> SharedArray:
    return SharedArray(handle.detach())
