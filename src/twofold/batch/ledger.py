"""The ledger: what a run is, and which partitions it has finished, line by line.

Each line is `{"crc32": N, "entry": {...}}`. A line cut short by a crash fails its checksum and
is as if it were never written, and so is all that follows it: what it spoke of is done again.
"""

from __future__ import annotations

import dataclasses
import zlib
from datetime import datetime

import msgspec

from twofold.batch.manifest import FileEntry


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What must be the same for two attempts to belong to one run.

    Attributes:
        run_id: The run.
        model: The model, as `name@version`.
        model_digest: Its content.
        input_fingerprint: The input's content.
        key: The key column.
        keep: The columns copied.
        format: Of the part files.
        partition_rows: How the input is sliced.
        as_of: When the input was true; None in an attempt that doesn't say.
        code: What gives the bytes of the parts: twofold and Arrow, with their versions; None of a
            committed run, which nothing is added to.
    """

    run_id: str
    model: str
    model_digest: str
    input_fingerprint: str
    key: str | None
    keep: tuple[str, ...]
    format: str = "parquet"
    partition_rows: int
    as_of: datetime | None
    code: str | None = None


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The first line: everything a later attempt needs to go on.

    Attributes:
        format: Version of this layout.
        identity: What the run is.
        registry: Where its model was loaded from.
        input: The input that was given, made absolute, without a password.
        started_at: When the run started; also the instant beside every prediction.
        rows_total: Rows of the input, if known before reading.
        query: What its database is asked, if it is one.
        into: Where else it is delivered to once it is committed, without passwords.
    """

    format: int = 1
    identity: Identity
    registry: str
    input: str
    started_at: datetime
    rows_total: int | None
    query: str | None = None
    into: tuple[str, ...] = ()


class Answered(msgspec.Struct, frozen=True, kw_only=True, tag="answered"):
    """A query's answer that is kept and safe: from now on, it is the input.

    Attributes:
        file: Where it is.
        read_at: When the database was asked.
    """

    file: FileEntry
    read_at: datetime


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """A partition whose files are staged and safe.

    Attributes:
        partition: Which.
        first_row: Number of its first row in the input.
        rows_in: Its rows.
        part: Its predictions.
        quarantine: Its rows set aside; None if there are none.
        sketch: What its rows held (see `twofold.batch.statistics`); None if that was left out.
        began_at: When it was its turn: the one before it was predicted, or the run began to.
        finished_at: When its files were safe. Where a run's time goes, is asked of these two; its
            output knows nothing of them.
    """

    partition: int
    first_row: int
    rows_in: int
    part: FileEntry
    quarantine: FileEntry | None
    sketch: bytes | None = None
    began_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def rows_quarantined(self) -> int:
        """Its rows set aside."""
        return self.quarantine.rows if self.quarantine else 0


class _Line(msgspec.Struct, frozen=True):
    crc32: int
    entry: msgspec.Raw


@dataclasses.dataclass(frozen=True)
class Ledger:
    """A ledger as read.

    Attributes:
        started: None if nothing of use was written yet.
        finished: The partitions from the first one on without a gap.
        valid_bytes: Length of the file up to its last sound line.
        answered: The last answer to the run's query; the partitions are of it.
    """

    started: Started | None
    finished: tuple[Finished, ...]
    valid_bytes: int
    answered: Answered | None = None


def render_entry(entry: Started | Answered | Finished) -> bytes:
    """Write an entry as one line."""
    body = msgspec.json.encode(entry)
    return msgspec.json.encode(_Line(zlib.crc32(body), msgspec.Raw(body))) + b"\n"


def parse_ledger(data: bytes) -> Ledger:
    """Read a ledger up to its last sound line."""
    started: Started | None = None
    answered: Answered | None = None
    finished: dict[int, Finished] = {}
    valid = 0
    for line in data.splitlines(keepends=True):
        entry = _entry(line)
        if entry is None or isinstance(entry, Started) != (started is None):
            break
        if isinstance(entry, Started):
            started = entry
        elif isinstance(entry, Answered):
            answered, finished = entry, {}  # those before are of another answer
        else:
            finished[entry.partition] = entry
        valid += len(line)
    return Ledger(started, _without_gap(finished), valid, answered)


def changes(then: Identity, now: Identity) -> list[str]:
    """Say what differs between two attempts at a run, in the reader's words."""
    words = {
        "run_id": "run id",
        "model": "model",
        "model_digest": "model digest",
        "input_fingerprint": "content of the input",
        "key": "key column",
        "keep": "kept columns",
        "format": "format of the parts",
        "partition_rows": "partition_rows",
        "as_of": "as_of",
        "code": "code",
    }
    found: list[str] = []
    for field, word in words.items():
        before, after = getattr(then, field), getattr(now, field)
        is_open = (field == "as_of" and after is None) or (field == "code" and before is None)
        if before != after and not is_open:
            found.append(f"{word} {_shown(after)} (was {_shown(before)})")
    return found


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)[:80]


def _entry(line: bytes) -> Started | Answered | Finished | None:
    if not line.endswith(b"\n"):
        return None
    try:
        sealed = msgspec.json.decode(line, type=_Line)
        if zlib.crc32(bytes(sealed.entry)) != sealed.crc32:
            return None
        return msgspec.json.decode(sealed.entry, type=Started | Answered | Finished)
    except msgspec.DecodeError:
        return None


def _without_gap(finished: dict[int, Finished]) -> tuple[Finished, ...]:
    found: list[Finished] = []
    row = 0
    while (entry := finished.get(len(found))) is not None and entry.first_row == row:
        found.append(entry)
        row += entry.rows_in
    return tuple(found)
