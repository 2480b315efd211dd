"""Two numbers that all processes of a machine see at once: how readers learn of a switch.

They lie in a mapped file. What they say is also in files that outlive a crash; they only say it
without a system call. While a switch is under way the first of them is odd, and readers look at
the files themselves: so it is also for those that come after a publisher who died there.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

SIZE = 16
LIVE_OF = 2**32
"""The second number is a count of bytes, and times this the move of the pointer it belongs to."""


class Words:
    """The two numbers, mapped."""

    def __init__(self, path: Path, *, make: bool = False) -> None:
        """Map them; who may only read there sees them all the same.

        Args:
            path: Where they lie.
            make: Whether to make the file if it lacks.

        Raises:
            FileNotFoundError: It lacks.
            OSError: It can't be mapped.
        """
        descriptor, access = _opened(path, make=make)
        try:
            if access == mmap.ACCESS_WRITE and make and os.fstat(descriptor).st_size < SIZE:
                os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE, access=access)
        except ValueError as error:  # it is shorter: somebody is making it just now
            raise FileNotFoundError(path) from error
        finally:
            os.close(descriptor)
        # A number of 8 bytes, aligned, is written and read in one piece.
        self.numbers = memoryview(self._map).cast("Q")

    @property
    def switches(self) -> int:
        """Twice the switches there were; 1 more or less while one is under way."""
        return self.numbers[0]

    @property
    def live(self) -> int:
        """What was said last of the live predictions that are kept; see `live_bytes`."""
        return self.numbers[1]

    def live_bytes(self, switches: int) -> int:
        """Bytes of the live predictions kept since the pointer was moved for the so many-th time.

        None, if what was said last is of another move: who kept it was late.
        """
        of, count = divmod(self.numbers[1], LIVE_OF)
        return count if of == switches % LIVE_OF else 0

    def begin_switch(self, switches: int) -> None:
        """Say that the pointer is about to be moved for the so many-th time."""
        self.numbers[0] = 2 * switches - 1

    def end_switch(self, switches: int) -> None:
        """Say that it was moved so many times."""
        if self.numbers[0] == 2 * switches:
            return
        if self.numbers[0] != 2 * switches + 1:  # else it was to be moved once more, and wasn't
            self.numbers[1] = 0
        self.numbers[0] = 2 * switches

    def set_live_bytes(self, switches: int, count: int) -> None:
        """Say how many bytes of live predictions there are since the so many-th move."""
        self.numbers[1] = switches % LIVE_OF * LIVE_OF + count

    def close(self) -> None:
        """Unmap them."""
        self.numbers.release()
        self._map.close()


def _opened(path: Path, *, make: bool) -> tuple[int, int]:
    try:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0)
        return os.open(path, flags, 0o644), mmap.ACCESS_WRITE
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), mmap.ACCESS_READ
