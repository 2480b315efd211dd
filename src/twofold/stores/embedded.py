"""The store in a folder: no server, for the processes of one machine.

A snapshot is a folder of files that never change; `pointer.json` says which is current, and is
replaced in one step. Readers map the files, and look at two numbers in shared memory to learn of a
switch: no lock, and no system call.
"""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from twofold.durable import make_durably, sync
from twofold.errors import (
    CommitUnknown,
    InvalidInput,
    LeaseHeld,
    StoreUnavailable,
    problem,
)
from twofold.lease import hold_lease
from twofold.model.names import check_name
from twofold.stores.files import SnapshotWriter, verify_files
from twofold.stores.live_log import LiveLog, log_path
from twofold.stores.mapped import MappedSnapshot
from twofold.stores.snapshot import (
    Pointer,
    Snapshot,
    Stored,
    decode_pointer,
    encode_pointer,
)
from twofold.stores.store import Found, Rows
from twofold.stores.values import Origins
from twofold.stores.words import Words

POINTER, WORDS, DRAFT = "pointer.json", "words", "pointer.json.next"
OURS = re.compile(rf"\d{{6,}}-[0-9a-f]{{8}}|{re.escape(DRAFT)}|live-\d+")
"""What is deleted when the pointer doesn't lead to it: snapshots, drafts, live predictions."""
ATTEMPTS = 8
"""At opening a snapshot, of which another one may have taken the place before it was open."""


class EmbeddedStore:
    """The snapshots of all models, in a folder."""

    def __init__(self, folder: Path) -> None:
        """Look at a folder; it is made when the first snapshot is published."""
        self._folder = folder

    def __repr__(self) -> str:
        """Where it is."""
        return str(self._folder)

    @contextlib.contextmanager
    def publishing(self, model: str) -> Generator[EmbeddedPublication]:
        """See `Store`."""
        folder = self._folder / check_name(model)
        with _told(folder):
            make_durably(self._folder, folder)
        with contextlib.ExitStack() as held:
            try:
                with _told(folder):
                    held.enter_context(hold_lease(folder, model))
            except LeaseHeld as error:
                fix = "Wait for it, or stop it; then publish again."
                where = f"{self._folder}: {model}"
                raise LeaseHeld(problem(where, "no other publisher", "one at work", fix)) from error
            yield EmbeddedPublication(folder, model)

    def pointer(self, model: str) -> Pointer:
        """See `Store`."""
        folder = self._folder / check_name(model)
        with _told(folder):
            return read_pointer(folder)

    def reader(self, model: str) -> EmbeddedReader:
        """See `Store`."""
        return EmbeddedReader(self._folder / check_name(model))


def read_pointer(folder: Path) -> Pointer:
    """Read the pointer of a model's folder."""
    path = folder / POINTER
    try:
        return decode_pointer(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Pointer()


@contextlib.contextmanager
def _told(folder: Path) -> Generator[None]:
    """Say what a disk says in our own words."""
    try:
        yield
    except OSError as error:
        fix = "Make room, or mend what is wrong with it; then try again."
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            fix = "Give this user the right to it, or choose another --store."
        got = error.strerror or str(error)
        raise StoreUnavailable(problem(str(folder), "a folder to work in", got, fix)) from error


class EmbeddedPublication:
    """The right to publish into a model's folder."""

    def __init__(self, folder: Path, model: str) -> None:
        """Look at what is there, and end what a publisher who died had begun."""
        self._folder = folder
        self._model = model
        with _told(folder):
            self._pointer = read_pointer(folder)
            # Who moved it there may have died before that was on disk: so long as it isn't, the
            # snapshot before the previous one may still be the previous one after a crash.
            sync(folder)
            self._words = Words(folder / WORDS, make=True)
            self._words.end_switch(self._pointer.switches)
            self._clean()

    @property
    def pointer(self) -> Pointer:
        """See `Publication`."""
        return self._pointer

    def write(self, snapshot: Snapshot, rows: Iterable[Rows]) -> None:
        """See `Publication`."""
        folder = self._folder / snapshot.name
        with _told(folder):
            folder.mkdir()
            with SnapshotWriter(folder, snapshot) as writer:
                writer.write_all(rows)
            sync(self._folder)

    def verify(self, snapshot: Snapshot) -> int:
        """See `Publication`."""
        folder = self._folder / snapshot.name
        with _told(folder):
            return verify_files(folder)

    def find(self, snapshot: Snapshot, keys: Sequence[bytes]) -> list[Stored | None]:
        """See `Publication`."""
        with _told(self._folder):
            opened = MappedSnapshot(self._folder / snapshot.name, snapshot)
        return [opened.find(key, with_features=True) for key in keys]

    def point(self, pointer: Pointer) -> None:
        """See `Publication`."""
        draft = self._folder / DRAFT
        with _told(self._folder):
            if read_pointer(self._folder).switches != pointer.switches - 1:
                fix = "Look at `twofold snapshot list`, and publish again."
                raise LeaseHeld(problem(self._model, "the snapshots as they were", "others", fix))
            draft.write_bytes(encode_pointer(pointer))
            sync(draft)
        self._words.begin_switch(pointer.switches)
        try:
            # Before this the old snapshot is read, after it the new one.
            draft.rename(self._folder / POINTER)
        except OSError:
            self._words.end_switch(self._pointer.switches)
            with _told(self._folder):
                raise
        self._pointer = pointer
        self._words.end_switch(pointer.switches)
        try:
            sync(self._folder)
        except OSError as error:
            fix = "Look at `twofold snapshot list` after the next start of the machine."
            got = f"a switch that may not outlive a crash: {error.strerror}"
            raise CommitUnknown(problem(self._model, "a durable switch", got, fix)) from error
        # It was switched all the same; the next publisher tries again.
        with contextlib.suppress(OSError):
            self._clean()

    def discard(self, snapshot: Snapshot) -> None:
        """See `Publication`."""
        with _told(self._folder):
            if snapshot.name in {item.name for item in read_pointer(self._folder).kept}:
                return
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._folder / snapshot.name)

    def _clean(self) -> None:
        """Delete what the pointer doesn't lead to: who reads it has it mapped, and reads on."""
        kept = {item.name for item in self._pointer.kept}
        kept.add(log_path(self._folder, self._pointer.switches).name)
        for path in self._folder.iterdir():
            # What else lies here isn't ours: the folder may have been meant for something else.
            if path.name in kept or not OURS.fullmatch(path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


class EmbeddedReader:
    """Reads the current snapshot of a model's folder.

    Attributes:
        switches: How often the pointer was moved to what is read; -1 before the first look.
    """

    def __init__(self, folder: Path) -> None:
        """Begin with nothing: what is there is opened when the first key is looked up."""
        self._folder = folder
        self._words: Words | None = None
        self._seen = -1
        self.switches = -1
        self._numbers: Any = (0, 0)
        self._open: MappedSnapshot | None = None
        self._find: Callable[[bytes], Stored | None] = lambda _: None
        self._live: LiveLog | None = None

    def find(self, keys: Sequence[bytes], *, with_features: bool = False) -> Found:
        """See `LocalReader`."""
        words = self._words
        if words is None or words.switches != self._seen:
            with _told(self._folder):
                try:
                    self._look()
                except InvalidInput as error:
                    # What lies here is the operator's to mend, not whoever asks for a key.
                    raise StoreUnavailable(str(error)) from error
        opened, live, words = self._open, self._live, self._words
        if opened is None or live is None or words is None:
            return Found(None, [None] * len(keys))
        if words.live != live.seen:
            live.follow(words)
        if live.read_bytes:
            return Found(
                opened.snapshot,
                [self._find_live(opened, live, key, with_features) for key in keys],
            )
        if with_features:
            return Found(opened.snapshot, [opened.find(key, with_features=True) for key in keys])
        return Found(opened.snapshot, [opened.find(key) for key in keys])

    def find_one(self, key: bytes, /) -> Stored | None:
        """See `LocalReader`."""
        numbers = self._numbers
        if numbers[0] != self._seen or numbers[1]:
            return self.find((key,)).stored[0]
        return self._find(key)

    @staticmethod
    def _find_live(
        opened: MappedSnapshot,
        live: LiveLog,
        key: bytes,
        with_features: bool,  # noqa: FBT001 - as it was given
    ) -> Stored | None:
        stored = opened.find(key, with_features=with_features)
        kept = live.get(key)
        if kept is None:
            return stored
        return msgspec.structs.replace(kept, features=stored and stored.features)

    def keep(self, key: bytes, stored: Stored, snapshot: Snapshot) -> bool:
        """See `LocalReader`."""
        opened, live, words = self._open, self._live, self._words
        if opened is None or live is None or words is None:
            return False
        if opened.snapshot.name != snapshot.name:
            return False
        with _told(self._folder):
            return live.append(key, stored, words)

    def close(self) -> None:
        """See `LocalReader`."""
        if self._words is not None:
            self._words.close()
        self._words = self._open = self._live = None
        self._numbers, self._find = (0, 0), lambda _: None
        self._seen = -1

    def _look(self) -> None:
        """Open the snapshot that is current, unless it is open."""
        if self._words is None:
            if not (self._folder / POINTER).exists():
                return  # nothing was ever published
            # Where they were lost, as when only the rest was copied here, they begin anew.
            self._words = Words(self._folder / WORDS, make=True)
            self._numbers = self._words.numbers
        for _ in range(ATTEMPTS):
            # What comes after this was said is seen the next time.
            seen = self._words.switches
            if self._opened(read_pointer(self._folder)):
                self._seen = seen if seen % 2 == 0 else -1
                return
        fix = "Look at `twofold snapshot list`; publish the run again."
        got = "one that can't be opened"
        raise StoreUnavailable(problem(str(self._folder), "a whole snapshot", got, fix))

    def _current(self) -> Snapshot | None:
        return None if self._open is None else self._open.snapshot

    def _opened(self, pointer: Pointer) -> bool:
        """Open what a pointer leads to; False if it is gone already."""
        current = pointer.current
        if current is None or (pointer.switches == self.switches and current == self._current()):
            return True
        try:
            opened = MappedSnapshot(self._folder / current.name, current)
        except FileNotFoundError:
            return False
        except ValueError as error:
            fix = "Roll back to the previous snapshot, or publish the run again."
            where = str(self._folder / current.name)
            raise InvalidInput(problem(where, "a snapshot", str(error), fix)) from error
        self._open, self.switches = opened, pointer.switches
        self._find = opened.quick
        self._live = LiveLog(self._folder, pointer.switches, Origins(current))
        return True
