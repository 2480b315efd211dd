"""Memory that several processes see: a file without a name, mapped into each of them.

It is passed as an argument of a `multiprocessing` process. The file has no name, so nothing is
left behind, however the processes end.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any

PAGE_BYTES = 65_536


def nameless_file(size_bytes: int) -> int:
    """Open a new file without a name, all zeros; give its descriptor."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("twofold", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size_bytes)
    return descriptor


class SharedArray:
    """A fixed number of bytes, zero at first, shared with every process it is passed to.

    Attributes:
        view: The bytes.
    """

    def __init__(self, descriptor: int) -> None:
        """Map an open file whole."""
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)
        self.view = memoryview(self._map)

    @classmethod
    def of_size(cls, size_bytes: int) -> SharedArray:
        """Make a new one."""
        return cls(nameless_file(size_bytes))

    def close(self) -> None:
        """Give the memory back; nothing may look at `view` any more."""
        self.view.release()
        self._map.close()
        os.close(self._descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pass the open file to the process being started."""
        return _array, (reduction.DupFd(self._descriptor),)


def _array(handle: Any) -> SharedArray:
    return SharedArray(handle.detach())


class SharedBytes:
    """One message at a time from one process to another; it grows with the longest.

    Writer and reader take turns, which they arrange by other means.
    """

    def __init__(self, descriptor: int) -> None:
        """Map an open file whole."""
        self._descriptor = descriptor
        self._map = mmap.mmap(descriptor, 0)

    @classmethod
    def new(cls) -> SharedBytes:
        """Make an empty one."""
        return cls(nameless_file(PAGE_BYTES))

    def put(self, message: bytes) -> int:
        """Write a message over the one before; give its length, which the reader must be told."""
        size = len(message)
        if size > len(self._map):
            os.ftruncate(self._descriptor, -(-size // PAGE_BYTES) * PAGE_BYTES)
            self._remap()
        self._map[:size] = message
        return size

    def get(self, size: int) -> bytes:
        """Read the message of that length."""
        if size > len(self._map):
            self._remap()
        return self._map[:size]

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()
        os.close(self._descriptor)

    def _remap(self) -> None:
        self._map.close()
        self._map = mmap.mmap(self._descriptor, 0)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pass the open file to the process being started."""
        return _bytes, (reduction.DupFd(self._descriptor),)


def _bytes(handle: Any) -> SharedBytes:
    return SharedBytes(handle.detach())
