"""Exchanging two folders in one step, which the standard library can't."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""Of renameat2(2), Linux; RENAME_SWAP of renamex_np(2), macOS, has the same value."""


def exchange(one: Path, other: Path) -> None:
    """Give each of two existing paths the name of the other; no reader finds either missing.

    Raises:
        OSError: They are on two file systems, or on one that can't do it (ENOTSUP, EINVAL).
    """
    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin" and hasattr(library, "renamex_np"):
        failed = library.renamex_np(first, second, RENAME_EXCHANGE)
    elif hasattr(library, "renameat2"):
        failed = library.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)
    else:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), str(one))
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))
