"""Live predictions kept beside a snapshot, until the next switch: a log that all readers follow.

Who appends holds a lock for an instant; who reads takes none: `Words.live_bytes` says how much of
the log is whole. It isn't on disk before that is said: after a loss of power it may be gone, and
the predictions are made once more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from pathlib import Path

from twofold.stores.snapshot import Stored
from twofold.stores.values import Origins, decode_value, encode_live
from twofold.stores.words import Words

MAX_BYTES = 32 << 20
"""Of a log: also what each reader holds in memory, more or less."""
HEAD, LENGTHS = struct.Struct("<I"), struct.Struct("<II")
"""A record: a checksum of the rest and of its place, the lengths of key and value, and these."""


def log_path(folder: Path, switches: int) -> Path:
    """The log of what was kept since the pointer was moved for the so many-th time."""
    return folder / f"live-{switches}"


class LiveLog:
    """What a reader knows of the log.

    Attributes:
        seen: `Words.live` when it was last followed: if that is another by now, there is more.
        read_bytes: So much of the log was read.
    """

    def __init__(self, folder: Path, switches: int, origins: Origins) -> None:
        """Begin with nothing.

        Args:
            folder: The model's.
            switches: How often the pointer was moved.
            origins: Those of the current snapshot.
        """
        self._path = log_path(folder, switches)
        self._switches = switches
        self._origins = origins
        self.read_bytes = self.seen = 0
        self._known: dict[bytes, Stored] = {}
        self.get = self._known.get

    def follow(self, words: Words) -> None:
        """Read what was appended."""
        self.seen = words.live
        whole = words.live_bytes(self._switches)
        if words.switches != 2 * self._switches or not self.read_bytes < whole <= MAX_BYTES:
            return
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            file.seek(self.read_bytes)
            self._take(file.read(whole - self.read_bytes))
        # What isn't there by now was lost, with the power.
        self.read_bytes = whole

    def _take(self, data: bytes) -> None:
        at = 0
        while at + HEAD.size + LENGTHS.size <= len(data):
            (check,) = HEAD.unpack_from(data, at)
            key_bytes, value_bytes = LENGTHS.unpack_from(data, at + HEAD.size)
            ends = at + HEAD.size + LENGTHS.size + key_bytes + value_bytes
            record = data[at + HEAD.size : ends]
            # What a loss of power took out of the middle is no record, nor is what comes after.
            if check != _check(record, self.read_bytes + at):
                return
            value_at = LENGTHS.size + key_bytes
            key, value = record[LENGTHS.size : value_at], record[value_at:]
            self._known[key] = decode_value(value, self._origins)
            at = ends

    def append(self, key: bytes, stored: Stored, words: Words) -> bool:
        """Keep a live prediction.

        Returns:
            Whether it was kept: not if somebody else appends just now, there is no room, or
            another snapshot by now.
        """
        value = encode_live(stored)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            whole = words.live_bytes(self._switches)
            record = LENGTHS.pack(len(key), len(value)) + key + value
            record = HEAD.pack(_check(record, whole)) + record
            if words.switches != 2 * self._switches or whole + len(record) > MAX_BYTES:
                return False
            # Behind what is whole there may be what somebody who died had begun.
            if os.pwrite(descriptor, record, whole) != len(record):
                return False
            words.set_live_bytes(self._switches, whole + len(record))
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True


def _check(record: bytes, place: int) -> int:
    """A checksum that neither zeros have nor a record that was written for another place."""
    return zlib.crc32(record, place + 1)
