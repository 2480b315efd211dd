"""System calls as strace writes them: which ones change an output folder, and their numbers."""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator

TRACED = (
    "open", "openat", "creat",
    "write", "writev", "pwrite64", "pwritev",
    "fsync", "fdatasync", "sync_file_range",
    "rename", "renameat", "renameat2", "link", "linkat",
    "unlink", "unlinkat", "rmdir",
    "truncate", "ftruncate", "fallocate",
    "mkdir", "mkdirat",
    "close",
)  # fmt: skip
OPENS = {"open", "openat", "creat"}
SYNCS = {"fsync", "fdatasync", "sync_file_range"}
INJECTED = "(INJECTED)"

_LINE = re.compile(r"^(?P<thread>\d+)\s+(?P<name>\w+)\((?P<rest>.*)$")
_BY_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_BY_PATH = re.compile(r'"([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Call:
    """One call on a path.

    Attributes:
        name: The system call.
        path: What it is about; of a rename, what is renamed.
        number: Which call of this name on this path its thread makes, from 1: strace counts so.
        writes: Whether it may change something: an open that creates, the close of such a file.
        injected: Whether strace answered in the kernel's place.
    """

    name: str
    path: str
    number: int
    writes: bool
    injected: bool


def read_calls(lines: Iterable[str], under: str) -> list[Call]:
    """Read the calls on a folder and what is in it, in order."""
    counted: Counter[tuple[str, str, str]] = Counter()
    opened_to_write: dict[str, bool] = {}
    calls: list[Call] = []
    for thread, name, path, rest in _parsed(lines):
        if path != under and not path.startswith(under + os.sep):
            continue
        counted[thread, name, path] += 1
        if name in OPENS:
            opened_to_write[path] = "O_CREAT" in rest or "O_WRONLY" in rest or "O_RDWR" in rest
        writes = opened_to_write.get(path, False) if name in {*OPENS, "close"} else True
        calls.append(Call(name, path, counted[thread, name, path], writes, INJECTED in rest))
    return calls


def trusted_after_failed_sync(calls: Iterable[Call], path: str) -> bool:
    """Whether a file is synced or renamed once its fsync failed, without being written anew.

    The kernel may drop the pages it couldn't write and call them clean: the next fsync of the
    same file succeeds, and says nothing.

    Args:
        calls: Those of the disturbed run and of the one that resumes it.
        path: The file whose fsync failed.
    """
    failed = False
    for call in calls:
        if call.path != path:
            continue
        if call.name in SYNCS and call.injected:
            failed = True
        elif call.name in OPENS and call.writes:
            failed = False
        elif failed and (call.name in SYNCS or call.name.startswith(("rename", "link"))):
            return True
    return False


def _parsed(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
    for line in lines:
        # A call that another thread interrupts goes on in a line of its own, which doesn't match.
        match = _LINE.match(line)
        if match is None:
            continue
        rest = match["rest"]
        # openat and its like begin with the descriptor of the current folder.
        path = _BY_DESCRIPTOR.match(rest) or _BY_PATH.search(rest)
        if path is not None:
            yield match["thread"], match["name"], path[1], rest
