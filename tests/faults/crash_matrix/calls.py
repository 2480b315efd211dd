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
NEVER_RETURNED = "?"

_LINE = re.compile(r"^(?P<thread>\d+)\s+(?P<name>\w+)\((?P<rest>.*)$")
_UNFINISHED = re.compile(r"^(?P<thread>\d+)\s+(?P<begun>.*?)\s*<unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(?P<thread>\d+)\s+<\.\.\. \w+ resumed>(?P<rest>.*)$")
_RESULT = re.compile(r"^(?P<arguments>.*)\)\s+= (?P<result>-?\d+|\?)")
_BY_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_BY_PATH = re.compile(r'"([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Traced:
    """A call as strace writes it, put together where another thread's interrupted it.

    Attributes:
        thread: Who made it.
        name: The system call.
        rest: Its arguments and what it returned, as written.
    """

    thread: str
    name: str
    rest: str

    @property
    def arguments(self) -> list[str]:
        """Its arguments; their strings must be in hex, or a comma in one would divide it."""
        match = _RESULT.match(self.rest)
        return match["arguments"].split(", ") if match else []

    @property
    def returned(self) -> str:
        """What it returned, as written; `?` if its process died in it."""
        match = _RESULT.match(self.rest)
        return match["result"] if match else NEVER_RETURNED

    @property
    def result(self) -> int:
        """What it returned; -1 for an error, or if it never did."""
        return -1 if self.returned == NEVER_RETURNED else int(self.returned)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call on a path.

    Attributes:
        name: The system call.
        path: What it is about; of a rename, what is renamed.
        number: Which call of this name on this path its thread makes, from 1: strace counts so.
        writes: Whether it may change something: an open that creates, the close of such a file.
        injected: Whether strace answered in the kernel's place.
        died: Whether its process ended in it.
        in_main: Whether the main thread makes it.
    """

    name: str
    path: str
    number: int
    writes: bool
    injected: bool
    died: bool = False
    in_main: bool = True


def joined(lines: Iterable[str]) -> Iterator[Traced]:
    """Read the calls of all threads, in the order in which they returned."""
    begun: dict[str, str] = {}
    for line in lines:
        if unfinished := _UNFINISHED.match(line):
            begun[unfinished["thread"]] = f"{unfinished['thread']} {unfinished['begun']}"
            continue
        whole = line
        if resumed := _RESUMED.match(line):
            whole = begun.pop(resumed["thread"], "") + resumed["rest"]
        if match := _LINE.match(whole):
            yield Traced(match["thread"], match["name"], match["rest"])
    for text in begun.values():
        if match := _LINE.match(text):
            yield Traced(match["thread"], match["name"], f"{match['rest']}) = {NEVER_RETURNED}")


def read_calls(lines: Iterable[str], under: str) -> list[Call]:
    """Read the calls on a folder and what is in it, in order."""
    counted: Counter[tuple[str, str, str]] = Counter()
    opened_to_write: dict[str, bool] = {}
    calls: list[Call] = []
    lines = list(lines)
    # Of the threads of a process, the main one has the lowest number.
    main = min((int(line.split(None, 1)[0]) for line in lines if line[:1].isdigit()), default=0)
    for call in joined(lines):
        # openat and its like begin with the descriptor of the current folder.
        found = _BY_DESCRIPTOR.match(call.rest) or _BY_PATH.search(call.rest)
        path = found[1] if found else ""
        if path != under and not path.startswith(under + os.sep):
            continue
        name = call.name
        counted[call.thread, name, path] += 1
        if name in OPENS:
            opened_to_write[path] = any(
                flag in call.rest for flag in ("O_CREAT", "O_WRONLY", "O_RDWR")
            )
        writes = opened_to_write.get(path, False) if name in {*OPENS, "close"} else True
        number = counted[call.thread, name, path]
        died = call.returned == NEVER_RETURNED
        in_main = int(call.thread) == main
        calls.append(Call(name, path, number, writes, INJECTED in call.rest, died, in_main))
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
