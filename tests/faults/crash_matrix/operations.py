"""What a run did to its disk, operation by operation, told from strace's record of it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from crash_matrix.calls import OPENS, Traced, joined

Tree = Mapping[str, bytes | None]
"""A folder: content by path, None for a folder in it; parents before what is in them."""

ROOT = 0
"""Files have the numbers above this one, folders those below it."""
NOTES = 1 << 60
_PATH = re.compile(r"<((?:\\x[0-9a-f]{2})*)>")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclasses.dataclass(frozen=True)
class Entries:
    """Entries of folders that change together: one of a new file, two of a rename.

    Attributes:
        changes: Folder, name, and the file or folder it then names; None if it names none.
    """

    changes: tuple[tuple[int, str, int | None], ...]


@dataclasses.dataclass(frozen=True)
class Data:
    """Bytes written to a file."""

    file: int
    offset: int
    content: bytes


@dataclasses.dataclass(frozen=True)
class Size:
    """A file cut, or made longer with zeros."""

    file: int
    size: int


@dataclasses.dataclass(frozen=True)
class Sync:
    """An fsync that succeeded.

    Attributes:
        file: Of what, a file or a folder.
        name: What it was called then.
    """

    file: int
    name: str


@dataclasses.dataclass(frozen=True)
class Mark:
    """A step that the run reported."""

    step: str


Operation = Entries | Data | Size | Sync | Mark


class Recording:
    """The operations on one folder, over one process or several, one after the other."""

    def __init__(self, root: str, notes: str, tree: Tree | None = None) -> None:
        """Begin with what is in the folder, all of it on disk.

        Args:
            root: The folder, an absolute path.
            notes: The file that steps are noted in.
            tree: What is there.
        """
        self._root = root
        self._notes = notes
        self.operations: list[Operation] = []
        self._entries: dict[int, dict[str, int]] = {ROOT: {}}
        self._sizes: dict[int, int] = {}
        self._descriptors: dict[int, list[int]] = {}
        for path, content in (tree or {}).items():
            file = self._make(os.path.join(root, path), folder=content is None)  # noqa: PTH118
            if content:
                self._write(file, 0, content)
        self.begin = len(self.operations)

    def read(self, lines: Iterable[str]) -> None:
        """Add what one process did, as `strace -f -y -xx` wrote it.

        Raises:
            ValueError: The record has something that isn't understood.
        """
        self._descriptors.clear()
        for call in joined(lines):
            if call.result >= 0:
                self._add(call)

    def _add(self, call: Traced) -> None:
        known: dict[tuple[str, ...], Callable[[Traced], None]] = {
            tuple(OPENS): self._open,
            ("write", "writev", "pwrite64"): self._written,
            ("ftruncate", "truncate"): self._truncated,
            ("fsync", "fdatasync"): self._synced,
            ("mkdir", "mkdirat", "unlink", "rmdir", "unlinkat"): self._made_or_deleted,
            ("rename", "renameat", "renameat2", "link", "linkat"): self._moved,
            ("close", "sync_file_range"): lambda _: None,  # promise nothing
        }
        found = [do for names, do in known.items() if call.name in names]
        (found or [self._refuse])[0](call)

    def _refuse(self, call: Traced) -> None:
        """Raise for a call on the folder that this record can't tell of."""
        paths = [path for given in call.arguments for path in (_text(given), _annotated(given))]
        if any(self._is_below(path) for path in paths):
            raise ValueError(f"{call.name}: what it does to a disk isn't modelled")

    def _open(self, call: Traced) -> None:
        path = _path(call.arguments[:2] if call.name == "openat" else call.arguments[:1])
        if not self._is_below(path) and path not in (self._root, self._notes):
            return
        flags = call.arguments[2 if call.name == "openat" else 1]
        if path == self._notes:
            self._descriptors[call.result] = [NOTES, 0, 0]
            return
        file = self._find(path)
        if file is None:
            file = self._make(path, folder=False)
        elif "O_TRUNC" in flags or call.name == "creat":
            self._cut(file, 0)
        self._descriptors[call.result] = [file, 0, int("O_APPEND" in flags)]

    def _written(self, call: Traced) -> None:
        at = self._at(call.arguments[0])
        if at is None:
            return
        content = b"".join(_bytes(text) for text in _STRING.findall(call.rest))[: call.result]
        file, offset, appends = at
        if file == NOTES:
            self._do(Mark(content.decode().strip()))
        elif call.name == "pwrite64":
            self._write(file, int(call.arguments[-1]), content)
        else:
            offset = self._sizes.get(file, 0) if appends else offset
            self._write(file, offset, content)
            at[1] = offset + len(content)

    def _truncated(self, call: Traced) -> None:
        given = call.arguments
        if call.name == "truncate":
            file = self._find(_text(given[0]))
        else:
            at = self._at(given[0])
            file = at[0] if at else None
        if file is not None:
            self._cut(file, int(given[1]))

    def _synced(self, call: Traced) -> None:
        at = self._at(call.arguments[0])
        if at is not None:
            self._do(Sync(at[0], Path(_annotated(call.arguments[0])).name))

    def _made_or_deleted(self, call: Traced) -> None:
        path = _path(call.arguments[: 2 if call.name.endswith("at") else 1])
        if not self._is_below(path):
            return
        if call.name.startswith("mkdir"):
            self._make(path, folder=True)
        else:
            self._change((path, None))

    def _moved(self, call: Traced) -> None:
        given = call.arguments
        if call.name.endswith(("at", "at2")):
            old, new = _path(given[:2]), _path(given[2:4])
        else:
            old, new = _text(given[0]), _text(given[1])
        if not self._is_below(old) and not self._is_below(new):
            return
        file = self._find(old)
        if file is None or not self._is_below(new):
            raise ValueError(f"{call.name}: {old} to {new} crosses the edge of what is recorded")
        changes = [(new, file)] if "link" in call.name else [(old, None), (new, file)]
        self._change(*changes)

    def _is_below(self, path: str) -> bool:
        return path.startswith(self._root + os.sep)

    def _at(self, descriptor: str) -> list[int] | None:
        path = _annotated(descriptor)
        if path not in (self._root, self._notes) and not self._is_below(path):
            return None
        at = self._descriptors.get(int(descriptor.partition("<")[0]))
        if at is None or at[0] != (NOTES if path == self._notes else self._find(path)):
            raise ValueError(f"a descriptor of {path}: its open isn't in the record")
        return at

    def _find(self, path: str) -> int | None:
        if path == self._root:
            return ROOT
        if not self._is_below(path):
            return None
        found: int | None = ROOT
        for name in Path(path).relative_to(self._root).parts:
            found = None if found is None else self._entries.get(found, {}).get(name)
        return found

    def _make(self, path: str, *, folder: bool) -> int:
        number = len(self.operations) + 1  # of the operation that makes it
        file = -number if folder else number
        if folder:
            self._entries[file] = {}
        self._change((path, file))
        return file

    def _change(self, *changed: tuple[str, int | None]) -> None:
        changes: list[tuple[int, str, int | None]] = []
        for path, file in changed:
            above, name = os.path.split(path)
            parent = self._find(above)
            if parent is None:
                raise ValueError(f"{path}: the folder above it isn't in the record")
            changes.append((parent, name, file))
            if file is None:
                self._entries[parent].pop(name, None)
            else:
                self._entries[parent][name] = file
        self._do(Entries(tuple(changes)))

    def _write(self, file: int, offset: int, content: bytes) -> None:
        self._sizes[file] = max(self._sizes.get(file, 0), offset + len(content))
        self._do(Data(file, offset, content))

    def _cut(self, file: int, size: int) -> None:
        if self._sizes.get(file, 0) != size:
            self._sizes[file] = size
            self._do(Size(file, size))

    def _do(self, operation: Operation) -> None:
        self.operations.append(operation)


def replay(operations: Iterable[Operation]) -> dict[str, bytes | None]:
    """Give the folder that operations make of an empty one."""
    entries: dict[int, dict[str, int]] = {ROOT: {}}
    contents: dict[int, bytearray] = {}
    for operation in operations:
        match operation:
            case Entries(changes):
                for parent, name, file in changes:
                    named = entries.setdefault(parent, {})
                    if file is None:
                        named.pop(name, None)
                    else:
                        named[name] = file
            case Data(file, offset, content):
                held = contents.setdefault(file, bytearray())
                held.extend(bytes(max(0, offset - len(held))))
                held[offset : offset + len(content)] = content
            case Size(file, size):
                held = contents.setdefault(file, bytearray())
                del held[size:]
                held.extend(bytes(size - len(held)))
            case _:
                pass
    tree: dict[str, bytes | None] = {}
    waiting = [("", ROOT)]
    while waiting:
        path, folder = waiting.pop()
        for name, file in sorted(entries.get(folder, {}).items()):
            below = f"{path}{name}"
            if file < ROOT:
                tree[below] = None
                waiting.append((f"{below}/", file))
            else:
                tree[below] = bytes(contents.get(file, b""))
    return tree


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _text(argument: str) -> str:
    found = _STRING.search(argument)
    return _bytes(found[1]).decode() if found else ""


def _path(arguments: list[str]) -> str:
    """The path of a call, against the folder of a descriptor if one is given before it."""
    path = _text(arguments[-1])
    if len(arguments) == 1 or path.startswith(os.sep):
        return path
    return os.path.join(_annotated(arguments[0]), path)  # noqa: PTH118


def _annotated(descriptor: str) -> str:
    """The path that strace writes beside a descriptor."""
    found = _PATH.search(descriptor)
    return _bytes(found[1]).decode() if found else ""
