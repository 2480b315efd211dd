"""Memory that several processes see, and that leaves nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from twofold.serving.shared import SharedArray


def fill(shared: SharedArray, link: Connection) -> None:
    """Tell what is there, write, and be killed as soon as the parent has written, too."""
    link.send((len(shared.view), bytes(shared.view[:4])))
    shared.view[4:8] = b"mine"
    link.send(None)
    link.recv()
    link.send(bytes(shared.view[8:12]))
    os.kill(os.getpid(), signal.SIGKILL)


def test_both_sides_see_what_the_other_writes_even_after_it_was_killed() -> None:
    shared = SharedArray.of_size(100)
    shared.view[:4] = b"ours"
    context = multiprocessing.get_context("spawn")
    link, theirs = context.Pipe()
    child = context.Process(target=fill, args=(shared, theirs), daemon=True)
    child.start()
    theirs.close()
    assert link.recv() == (100, b"ours")
    assert link.recv() is None
    assert bytes(shared.view[:8]) == b"oursmine"
    shared.view[8:12] = b"late"
    link.send(None)
    assert link.recv() == b"late"
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert bytes(shared.view[:12]) == b"oursminelate"


@pytest.mark.parametrize("size_bytes", [1, 8, 4_097, 1 << 20])
def test_array_is_exactly_as_long_as_asked_and_all_zeros(size_bytes: int) -> None:
    assert bytes(SharedArray.of_size(size_bytes).view) == bytes(size_bytes)


def test_two_arrays_have_nothing_in_common() -> None:
    one, other = SharedArray.of_size(8), SharedArray.of_size(8)
    one.view[:] = b"\xff" * 8
    assert bytes(other.view) == bytes(8)


def test_memory_has_no_name_in_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared = SharedArray.of_size(8)
    assert list(tmp_path.iterdir()) == []
    shared.view[0] = 1
    assert list(tmp_path.iterdir()) == []


def test_array_stays_as_long_as_it_was_made() -> None:
    shared = SharedArray.of_size(8)
    with pytest.raises(ValueError, match="different structures"):
        shared.view[4:] = b"too long"
    with pytest.raises(IndexError):
        shared.view[8] = 1
