"""Signals as bytes of a pipe, for whoever waits for them beside other things."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator


@contextlib.contextmanager
def caught(*kinds: signal.Signals) -> Generator[int]:
    """Catch signals; must be called from the main thread.

    What writes to the pipe is the handler in C. One in Python runs between two steps of the
    interpreter: for a signal that comes right before a wait has begun, only after that.

    Args:
        kinds: Which; they are handled as before at the end.

    Yields:
        A descriptor that doesn't block; each signal is a byte there, its number. If thousands
        weren't read, further ones are left out.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = {kind: signal.signal(kind, lambda *_: None) for kind in kinds}
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(woken)
        for kind, handler in before.items():
            signal.signal(kind, handler)
        os.close(reader)
        os.close(writer)
