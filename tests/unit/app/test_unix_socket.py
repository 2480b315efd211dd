"""Whose a path is: one server's from binding on, and nobody's once that is dead."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Self

import pytest

from twofold.app.unix_socket import LOCK_SUFFIX, UnixSocket

# Binds when it is told to, and keeps what it has until it is killed.
OTHER = """
import sys
from twofold.app.unix_socket import UnixSocket
print("here", flush=True)
sys.stdin.readline()
try:
    listener = UnixSocket.bound_to(sys.argv[1])
except OSError as error:
    print(error.errno, flush=True)
else:
    print("bound", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path() -> Iterator[Path]:
    # Not in the folder of the test: the path of a Unix socket may have about a hundred bytes.
    folder = Path("/tmp") / f"twofold-socket-{os.getpid()}"  # noqa: S108 - made anew, and removed
    folder.mkdir()
    try:
        yield folder / "server.sock"
    finally:
        shutil.rmtree(folder)


def lock_of(path: Path) -> Path:
    return path.with_name(path.name + LOCK_SUFFIX)


def refused(path: Path) -> int | None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is what is asked for
        UnixSocket.bound_to(str(path))
    return caught.value.errno


class Other:
    """Another process that wants the path."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.said() == "here"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


def test_of_processes_that_bind_at_the_same_instant_one_has_the_path(path: Path) -> None:
    # Each of them finds the file of a dead server, which all of them would remove.
    UnixSocket.bound_to(str(path)).close()
    others = [Other(path) for _ in range(4)]
    try:
        for other in others:
            other.go()
        said = sorted(other.said() for other in others)
        assert said == [str(errno.EADDRINUSE)] * 3 + ["bound"]
    finally:
        for other in others:
            other.kill()
    with UnixSocket.bound_to(str(path)) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.listen()
        client.connect(str(path))


def test_path_of_a_process_that_was_killed_is_free(path: Path) -> None:
    with Other(path) as other:
        other.go()
        assert other.said() == "bound"
        assert refused(path) == errno.EADDRINUSE
        other.kill()
    assert path.is_socket()
    UnixSocket.bound_to(str(path)).remove()
    assert list(path.parent.iterdir()) == []


def test_path_of_a_program_that_takes_no_lock_is_its_own_while_it_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert refused(path) == errno.EADDRINUSE
    assert list(path.parent.iterdir()) == [path]


def test_socket_that_is_closed_is_anybodys(path: Path) -> None:
    with UnixSocket.bound_to(str(path)):
        assert refused(path) == errno.EADDRINUSE
    UnixSocket.bound_to(str(path)).close()


def test_process_that_is_given_the_socket_has_it_and_not_the_path(path: Path) -> None:
    with UnixSocket.bound_to(str(path)) as listener, socket.socket(socket.AF_UNIX) as client:
        worker = get_context("spawn").Process(target=socket.socket.listen, args=(listener,))
        worker.start()
        worker.join()
        assert worker.exitcode == 0
        # It listens, though not by this process's doing.
        client.connect(str(path))
    with UnixSocket.bound_to(str(path)) as listener, listener.dup() as copy:
        assert copy.getsockname() == str(path)
    UnixSocket.bound_to(str(path)).close()


@pytest.mark.parametrize("is_link", [False, True])
def test_file_that_is_no_lock_is_left_alone(path: Path, is_link: bool) -> None:
    precious = path.with_name("precious") if is_link else lock_of(path)
    precious.write_text("precious")
    if is_link:
        lock_of(path).symlink_to(precious)
    assert refused(path) == (errno.ELOOP if is_link else errno.EEXIST)
    assert precious.read_text() == "precious"
    assert not path.exists()


def test_lock_that_its_last_owner_removes_meanwhile_is_not_taken_for_the_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = fcntl.flock
    left = [1, 2, 3]

    def flock(descriptor: int, kind: Any) -> None:
        if left:
            left.pop()
            lock_of(path).unlink()
        taken(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    with UnixSocket.bound_to(str(path)):
        assert left == []
        assert lock_of(path).exists()
        assert refused(path) == errno.EADDRINUSE


def test_path_that_can_t_be_bound_to_leaves_no_lock(path: Path) -> None:
    path.mkdir()
    assert refused(path) == errno.EADDRINUSE
    long = path.with_name("x" * 200)
    with pytest.raises(OSError, match="path too long"):
        UnixSocket.bound_to(str(long))
    assert list(path.parent.iterdir()) == [path]
