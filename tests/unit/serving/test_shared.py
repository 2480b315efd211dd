"""Memory that several processes see, and that leaves nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.serving.shared import PAGE_BYTES, SharedArray, SharedBytes

SIZES = st.integers(0, 5 * PAGE_BYTES) | st.sampled_from(
    [0, 1, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 2 * PAGE_BYTES]
)


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


def open_files() -> int:
    gc.collect()  # what other tests have left
    return len(list(Path("/dev/fd").iterdir()))


def test_closed_memory_is_given_back() -> None:
    files = open_files()
    array, message = SharedArray.of_size(8), SharedBytes.new()
    array.close()
    message.put(bytes(3 * PAGE_BYTES))
    message.close()
    assert open_files() == files


def twice(message: SharedBytes) -> tuple[SharedBytes, SharedBytes]:
    """The two sides of one memory, each with a map of its own, as two processes have them."""
    return message, SharedBytes(os.dup(message._descriptor))


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=8))
def test_messages_of_any_sizes_come_over_whichever_side_writes(
    messages: list[tuple[int, bool]],
) -> None:
    sides = twice(SharedBytes.new())
    for number, (size, is_first) in enumerate(messages):
        writer, reader = sides if is_first else sides[::-1]
        message = (b"%d," % number * size)[:size]
        told = writer.put(message)
        assert told == size
        assert reader.get(told) == message
        assert writer.get(told) == message
    for side in sides:
        side.close()


def test_memory_of_messages_grows_with_the_longest_and_no_further() -> None:
    message = SharedBytes.new()
    for size, expected in [(10, 1), (PAGE_BYTES, 1), (PAGE_BYTES + 1, 2), (5, 2)]:
        message.put(bytes(size))
        assert os.fstat(message._descriptor).st_size == expected * PAGE_BYTES
    message.close()


def answer(message: SharedBytes, link: Connection) -> None:
    """Send every message back in the same memory, doubled, until the parent is gone."""
    try:
        while True:
            link.send(message.put(2 * message.get(link.recv())))
    except EOFError:
        message.close()


def test_messages_come_over_between_processes() -> None:
    message = SharedBytes.new()
    context = multiprocessing.get_context("spawn")
    link, theirs = context.Pipe()
    child = context.Process(target=answer, args=(message, theirs), daemon=True)
    child.start()
    theirs.close()
    for size in (1, PAGE_BYTES, 10, 10 * PAGE_BYTES, 0):
        link.send(message.put(b"x" * size))
        assert link.poll(30)
        assert message.get(link.recv()) == b"x" * 2 * size
    link.close()
    child.join(30)
    assert child.exitcode == 0
    message.close()
