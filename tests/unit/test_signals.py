from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
import time

import pytest

from twofold.signals import caught


def is_readable(descriptor: int, wait_s: float = 0.0) -> bool:
    return bool(select.select([descriptor], [], [], wait_s)[0])


def test_each_signal_is_a_byte() -> None:
    with caught(signal.SIGTERM, signal.SIGCHLD) as signals:
        assert not is_readable(signals)
        for kind in (signal.SIGTERM, signal.SIGCHLD, signal.SIGTERM):
            signal.raise_signal(kind)
        assert os.read(signals, 16) == bytes([signal.SIGTERM, signal.SIGCHLD, signal.SIGTERM])
        with pytest.raises(BlockingIOError):
            os.read(signals, 1)


def test_signals_are_handled_as_before_at_the_end() -> None:
    def own(*_: object) -> None:
        pass

    before = signal.signal(signal.SIGTERM, own)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    woken = signal.set_wakeup_fd(writer)
    try:
        with pytest.raises(KeyError), caught(signal.SIGTERM):
            raise KeyError
        assert signal.getsignal(signal.SIGTERM) is own
        assert signal.set_wakeup_fd(woken) == writer
    finally:
        signal.signal(signal.SIGTERM, before)
        os.close(reader)
        os.close(writer)


def test_more_signals_than_a_pipe_holds_do_no_harm() -> None:
    with caught(signal.SIGTERM) as signals:
        for _ in range(70_000):
            signal.raise_signal(signal.SIGTERM)
        assert os.read(signals, 100_000).strip(bytes([signal.SIGTERM])) == b""


def test_signal_is_seen_before_the_main_thread_has_run_any_python() -> None:
    """As one that comes between the last step of the interpreter and the wait."""
    seen: list[bool] = []

    def send(signals: int) -> None:
        time.sleep(0.1)  # until the main thread is in C
        os.kill(os.getpid(), signal.SIGTERM)
        seen.append(is_readable(signals, 0.2))

    with caught(signal.SIGTERM) as signals:
        thread = threading.Thread(target=send, args=[signals])
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        try:
            thread.start()
            # The other thread takes the signal, and this one is in C for longer than it looks.
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
            ctypes.CDLL(None).usleep(500_000)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        thread.join()
    assert seen == [True]
