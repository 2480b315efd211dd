"""An object of a store as a file: read in few and large pieces, of which few are held.

Who knows what it will read says so (`plan`), and gets it in as few requests as can be. For who
doesn't, pieces double in size as long as they are read one after the other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twofold.batch.parallel import in_parallel

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST_PIECE_BYTES = 256 << 10
MAX_PIECE_BYTES = 8 << 20
"""Fetched by one request."""
MAX_HELD_BYTES = 64 << 20
"""Held of one object at a time; more only where the parts planned are more than 256."""
MAX_GAP_BYTES = 64 << 10
"""Fetched without need rather than by two requests."""
TAIL_BYTES = 64 << 10
"""Fetched at once of an object's end, where the footers of Parquet and Arrow files are."""
MAX_PARALLEL = 8

Span = tuple[int, int]
"""From a byte to another (exclusive)."""


class ObjectReader(io.RawIOBase):
    """Reads one object. Not for several threads at a time."""

    def __init__(self, size_bytes: int, fetch: Callable[[Span], bytes]) -> None:
        """Read nothing yet.

        Args:
            size_bytes: Length of the object.
            fetch: Gets a part of it; may be called from several threads at a time.
        """
        super().__init__()
        self._size_bytes = size_bytes
        self._fetch = fetch
        self._at = 0
        self._piece_bytes = FIRST_PIECE_BYTES
        self._planned: list[Span] = []
        self._held: dict[int, tuple[Span, bytes]] = {}

    def plan(self, parts: Sequence[Span]) -> None:
        """Let go of what is held; from now on these parts are read, each from start to end.

        Where they are small enough all of them are fetched now, else piece by piece.
        """
        self._planned, self._held = [], {}
        if sum(stop - start for start, stop in parts) > MAX_HELD_BYTES:
            self._planned = sorted(parts)
            return
        spans = [piece for span in joined(parts) for piece in pieces(span)]
        found = in_parallel(self._fetch, spans, limit=MAX_PARALLEL)
        self._held = dict(enumerate(zip(spans, found, strict=True)))

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; nothing is fetched."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer; it is left unfilled only at the end of the object."""
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._at < self._size_bytes:
            (start, stop), data = self._piece(self._at, len(target) - filled)
            count = min(stop - self._at, len(target) - filled)
            target[filled : filled + count] = data[self._at - start : self._at - start + count]
            self._at += count
            filled += count
        return filled

    def _piece(self, at: int, wanted_bytes: int) -> tuple[Span, bytes]:
        for held in self._held.values():
            if held[0][0] <= at < held[0][1]:
                return held
        for index, (start, stop) in enumerate(self._planned):
            if start <= at < stop:
                share_bytes = max(FIRST_PIECE_BYTES, MAX_HELD_BYTES // len(self._planned))
                # Of each part the last piece is held, because they are read in turns.
                return self._hold(index, (at, min(stop, at + min(share_bytes, MAX_PIECE_BYTES))))
        start = at
        if self._size_bytes - at <= TAIL_BYTES:
            start = max(0, self._size_bytes - TAIL_BYTES)
        elif any(span[1] == at for span, _ in self._held.values()):
            self._piece_bytes = min(2 * self._piece_bytes, MAX_PIECE_BYTES)
        else:
            self._piece_bytes = FIRST_PIECE_BYTES
        size_bytes = max(self._piece_bytes, min(wanted_bytes, MAX_PIECE_BYTES))
        if not self._planned:
            self._held.clear()
        return self._hold(-1, (start, min(self._size_bytes, start + size_bytes)))

    def _hold(self, index: int, span: Span) -> tuple[Span, bytes]:
        self._held.pop(index, None)  # or both would be in memory
        data = self._fetch(span)
        if len(data) != span[1] - span[0]:
            raise OSError(f"{span[1] - span[0]} bytes were asked for, {len(data)} came")
        self._held[index] = (span, data)
        return self._held[index]


def joined(parts: Sequence[Span]) -> list[Span]:
    """Put parts together that lie close to each other, in order."""
    found: list[Span] = []
    for start, stop in sorted(parts):
        if found and start - found[-1][1] <= MAX_GAP_BYTES:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def pieces(span: Span) -> list[Span]:
    """Cut a part into what one request fetches."""
    start, stop = span
    return [(at, min(stop, at + MAX_PIECE_BYTES)) for at in range(start, stop, MAX_PIECE_BYTES)]
