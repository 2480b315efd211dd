"""A Unix socket at a path, and whose the path is.

The file of a socket doesn't say whether anybody has it: one that a killed server left refuses
connections, and so does one whose server is still loading its models. So whoever has a path holds
a lock on a file beside it. The system lets go of a lock when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Self

LOCK_SUFFIX = ".lock"
ATTEMPTS = 100
"""How often a lock may be removed by its last owner just as it is taken."""


class UnixSocket(socket.socket):
    """A socket bound to a path; until it is closed no other server takes the path for free."""

    _path = ""
    _lock: int | None = None

    @classmethod
    def bound_to(cls, path: str) -> Self:
        """Bind a socket to a free path, or to one that a dead server left.

        Raises:
            OSError: The path is somebody's, or nobody may bind to it; nothing was changed.
        """
        listener = cls(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener._path, listener._lock = path, _locked(path)
            _remove_dead(path)
            listener.bind(path)
        except OSError:
            if listener._lock is not None:
                Path(path + LOCK_SUFFIX).unlink(missing_ok=True)
            listener.close()
            raise
        return listener

    def remove(self) -> None:
        """Close it, and leave no file behind."""
        # While the lock is held: afterwards the path, and the lock, may be another server's.
        for file in (self._path, self._path + LOCK_SUFFIX):
            Path(file).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close it; its file stays, and anybody may replace it."""
        super().close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def __reduce__(self) -> tuple[Callable[..., socket.socket], tuple[Any, ...]]:
        """Let a worker process have the socket; the lock stays here."""
        return _rebuilt, (DupFd(self.fileno()), self.family, self.type, self.proto)


def _rebuilt(duplicate: Any, family: int, kind: int, protocol: int) -> socket.socket:
    return socket.socket(family, kind, protocol, fileno=duplicate.detach())


def _locked(path: str) -> int:
    """Take the lock of a path; give its descriptor."""
    file = path + LOCK_SUFFIX
    for _ in range(ATTEMPTS):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(file, flags, 0o600)
        try:
            is_taken = _take(lock, file)
        except OSError:
            os.close(lock)
            raise
        if is_taken:
            return lock
        os.close(lock)
    raise _in_use()


def _take(lock: int, file: str) -> bool:
    """Lock an open file; False if it isn't the one that the others see."""
    state = os.fstat(lock)
    if state.st_size or not stat.S_ISREG(state.st_mode):
        raise FileExistsError(errno.EEXIST, f"{file} is there, and is no lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use() from None
    try:
        return os.path.samestat(state, Path(file).lstat())
    except FileNotFoundError:
        return False


def _in_use() -> OSError:
    return OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove_dead(path: str) -> None:
    """Remove the file of a socket that nobody answers on; the caller has the path's lock."""
    try:
        if stat.S_ISSOCK(Path(path).stat().st_mode) and not _answers(path):
            Path(path).unlink()
    except FileNotFoundError:
        pass


def _answers(path: str) -> bool:
    # Not every program takes a lock, and the workers of a killed server drain without one.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.0)
        # Whatever else comes of it, it is somebody's: of a server whose queue is full, or of a
        # program that speaks another way.
        return probe.connect_ex(path) != errno.ECONNREFUSED
