"""A disk that loses power: which states of a folder are possible then.

The disk promises no more than POSIX does and journaling file systems keep:

- what was written to a file is there once an fsync of that file returned;
- an entry of a folder (of a new file or folder, a renamed or a deleted one) is there once an fsync
  of that folder returned; that of a file does nothing for its entry;
- a rename happens or doesn't, in both folders at once; it is there once the folder it leads to was
  synced.

All else may or may not have come to the disk, each by itself: entries without what their files
hold, later ones without earlier ones, any part of what was written, or zeros in its place. See
Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import itertools
import random
from collections.abc import Iterator, Mapping, Sequence

from crash_matrix.operations import Data, Entries, Operation, Size, Sync, Tree, replay

SECTOR_BYTES = 512
MAX_SUBSETS = 32
"""Of entries that can be there or not, all combinations are tried up to this many."""
CHANCES = 8
"""States of each kind that are left to chance, at each instant."""


class Loss(enum.StrEnum):
    """What a power loss does to that which was not synced."""

    ALL = "nothing unsynced is kept"
    NONE = "everything is kept"
    LATER = "later entries of folders are lost"
    ENTRIES = "some entries of folders are lost, in any order"
    DATA = "entries are kept, data is lost"
    ZEROS = "entries are kept, data is zeros"
    TORN = "one file ends early"
    SECTORS = "some sectors are lost or zeros"
    MIXED = "anything of this at once"


Kept = Mapping[int, tuple[Operation, ...]]
"""What comes to the disk of operations that weren't synced, by their place; nothing of the rest."""


@dataclasses.dataclass(frozen=True)
class State:
    """A folder after a power loss.

    Attributes:
        loss: What happened.
        after: After how many operations.
        tree: What is there.
    """

    loss: Loss
    after: int
    tree: Tree

    @property
    def key(self) -> bytes:
        """Equal for equal folders."""
        digest = hashlib.sha256()
        for path, content in sorted(self.tree.items()):
            held = b"folder" if content is None else hashlib.sha256(content).digest()
            digest.update(path.encode() + b"\0" + held)
        return digest.digest()


def unsynced(operations: Sequence[Operation], begin: int) -> list[int]:
    """Give the places of the operations that may not be on disk, in their order.

    Args:
        operations: Up to the power loss.
        begin: How many of them were on disk before.
    """
    last: dict[int, int] = {}
    for place, operation in enumerate(operations):
        if isinstance(operation, Sync):
            last[operation.file] = place

    def is_safe(place: int, operation: Operation) -> bool:
        match operation:
            case Data() | Size():
                return last.get(operation.file, -1) > place
            case Entries(changes):
                leads_to = [parent for parent, _, file in changes if file is not None]
                parents = leads_to or [parent for parent, _, _ in changes]
                return all(last.get(parent, -1) > place for parent in parents)
            case _:
                return True

    return [
        place
        for place, operation in enumerate(operations)
        if place >= begin and not is_safe(place, operation)
    ]


def states(operations: Sequence[Operation], begin: int, after: int, seed: int) -> Iterator[State]:
    """Make the states that a power loss after some operations may leave, with repetitions.

    Args:
        operations: All of a recording.
        begin: How many of them were on disk before it.
        after: How many have happened.
        seed: Of what is left to chance.
    """
    done = operations[:after]
    pending = unsynced(done, begin)
    chance = random.Random(f"{seed} {after}")  # noqa: S311 - no secret
    for loss, kept in _losses(done, pending, chance):
        lost = set(pending)
        on_disk = itertools.chain.from_iterable(
            kept.get(place, ()) if place in lost else (operation,)
            for place, operation in enumerate(done)
        )
        yield State(loss, after, replay(on_disk))


def _losses(
    done: Sequence[Operation], pending: Sequence[int], chance: random.Random
) -> Iterator[tuple[Loss, Kept]]:
    entries = [place for place in pending if isinstance(done[place], Entries)]
    data = [place for place in pending if place not in entries]
    all_entries = _whole(done, entries)
    all_data = _whole(done, data)
    yield Loss.ALL, {}
    yield Loss.NONE, {**all_entries, **all_data}
    for count in range(len(entries)):
        yield Loss.LATER, {**_whole(done, entries[:count]), **all_data}
    if data:
        yield Loss.DATA, all_entries
        yield Loss.ZEROS, {**all_entries, **{place: _zeros(done[place]) for place in data}}
    for kept in _subsets(entries, chance):
        yield Loss.ENTRIES, {**_whole(done, kept), **all_data}
        if data:
            yield Loss.ENTRIES, _whole(done, kept)
    for file in dict.fromkeys(_file(done[place]) for place in data):
        own = [place for place in data if _file(done[place]) == file]
        others = {**all_entries, **_whole(done, [place for place in data if place not in own])}
        yield Loss.DATA, others
        yield Loss.ZEROS, {**others, **{place: _zeros(done[place]) for place in own}}
        for torn in _torn(done, own, chance):
            yield Loss.TORN, {**others, **torn}
        for _ in range(CHANCES):
            yield (
                Loss.SECTORS,
                {**others, **{place: _sectors(done[place], chance) for place in own}},
            )
    if len(pending) > 1:
        for _ in range(CHANCES):
            mixed = _whole(done, [place for place in entries if chance.random() < 0.6])
            yield Loss.MIXED, {**mixed, **{place: _any(done[place], chance) for place in data}}


def _whole(done: Sequence[Operation], places: Sequence[int]) -> dict[int, tuple[Operation, ...]]:
    return {place: (done[place],) for place in places}


def _subsets(entries: Sequence[int], chance: random.Random) -> Iterator[Sequence[int]]:
    if 2 ** len(entries) <= MAX_SUBSETS:
        for count in range(len(entries)):
            yield from itertools.combinations(entries, count)
        return
    for place in entries:
        yield [other for other in entries if other != place]
        yield [place]
    for _ in range(MAX_SUBSETS - 2 * len(entries)):
        yield [place for place in entries if chance.random() < 0.5]


def _torn(
    done: Sequence[Operation], own: Sequence[int], chance: random.Random
) -> Iterator[dict[int, tuple[Operation, ...]]]:
    """All that was written to a file up to some byte: of an operation, of a sector, or any."""
    for index, place in enumerate(own):
        before = _whole(done, own[:index])
        yield before
        operation = done[place]
        if not isinstance(operation, Data) or len(operation.content) < 2:
            continue
        length = len(operation.content)
        sectors = range(SECTOR_BYTES - operation.offset % SECTOR_BYTES, length, SECTOR_BYTES)
        anywhere = (chance.randrange(1, length) for _ in range(CHANCES))
        cuts = {1, length - 1, *anywhere, *sectors}
        for cut in sorted(cuts & set(range(length))):
            part = dataclasses.replace(operation, content=operation.content[:cut])
            yield {**before, place: (part,)}


def _sectors(operation: Operation, chance: random.Random) -> tuple[Operation, ...]:
    if not isinstance(operation, Data):
        return (operation,) * chance.randrange(2)
    kept: list[Operation] = []
    at = 0
    while at < len(operation.content):
        offset = operation.offset + at
        length = SECTOR_BYTES - offset % SECTOR_BYTES
        content = operation.content[at : at + length]
        match chance.randrange(3):
            case 0:
                kept.append(Data(operation.file, offset, content))
            case 1:
                kept.append(Data(operation.file, offset, bytes(len(content))))
            case _:
                pass
        at += length
    return tuple(kept)


def _any(operation: Operation, chance: random.Random) -> tuple[Operation, ...]:
    match chance.randrange(4):
        case 0:
            return ()
        case 1:
            return _zeros(operation)
        case 2:
            return _sectors(operation, chance)
        case _:
            return (operation,)


def _zeros(operation: Operation) -> tuple[Operation, ...]:
    if isinstance(operation, Data):
        return (dataclasses.replace(operation, content=bytes(len(operation.content))),)
    return (operation,)


def _file(operation: Operation) -> int:
    assert isinstance(operation, Data | Size)
    return operation.file
