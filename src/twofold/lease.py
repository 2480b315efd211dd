"""The lease: at most one process works on a run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Generator
from pathlib import Path

from twofold.errors import LeaseHeld, problem

LEASE_FILE = "lease"
ATTEMPTS = 5
RETRY_S = 0.02
"""A reader of the run's state holds the lease for an instant; only a runner keeps it."""


@contextlib.contextmanager
def hold_lease(folder: Path, run_id: str) -> Generator[None]:
    """Keep other processes off a run; the lease ends with the process, however that ends.

    Raises:
        LeaseHeld: Another process works on this run.
    """
    descriptor = os.open(folder / LEASE_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        for attempt in range(ATTEMPTS):
            if _locked(descriptor, fcntl.LOCK_EX):
                break
            if attempt == ATTEMPTS - 1:
                fix = "Wait for it, or stop it; then run the same command again."
                raise LeaseHeld(problem(run_id, "no other process on this run", "one at work", fix))
            time.sleep(RETRY_S)
        yield
    finally:
        # Nothing was written to it, and it is let go of even if closing it fails.
        with contextlib.suppress(OSError):
            os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether a process works on the run."""
    try:
        descriptor = os.open(folder / LEASE_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
