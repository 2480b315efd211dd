"""Snapshots: committed runs, readable by key, of which one is current and one the previous.

Values only: how a pointer moves is decided here, and moved by a store.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from twofold.errors import InvalidInput, problem
from twofold.model.signature import OutputType


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate said of a snapshot before it was switched to.

    Attributes:
        gate: Its name, which is that of its limit.
        limit: What it expected, in words.
        got: What it saw.
        passed: Whether that is within the limit.
    """

    gate: str
    limit: str
    got: str
    passed: bool


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """How the predictions of one output are spread, for the next snapshot to be compared with.

    Attributes:
        edges: Of numbers: the upper ends of all bins but the last.
        labels: Of texts and booleans: what each bin but the last has; that has the others.
        rows: The predictions in each bin.
    """

    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """One committed run, readable by key: what is known of it.

    Attributes:
        name: Tells it from every other of the store: its number, and letters made by chance.
        number: 1, and 1 more for each; also for those that were never switched to.
        model: The model's name.
        version: The version that predicted.
        digest: Of that version.
        run_id: The run.
        run: What the run shares with no other, also none of its name; repairs change it.
        as_of: When the run's input was true.
        predicted_at: When it was predicted; of rows repaired later, they have their own instant.
        published_at: When the snapshot was switched to.
        rows: Its keys.
        outputs: Names of the predictions of a row.
        type: The type of each.
        features: Names of the input's fields that lie beside the predictions, if they do.
        gates: What was looked at before it was switched to.
        is_forced: Whether it was switched to although a gate was shut.
        spreads: How each output is spread.
        is_rolled_back: Whether it was switched away from, because it was found wanting.
    """

    name: str
    number: int
    model: str
    version: str
    digest: str
    run_id: str
    run: str
    as_of: datetime
    predicted_at: datetime
    published_at: datetime
    rows: int
    outputs: tuple[str, ...]
    type: OutputType
    features: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()
    is_forced: bool = False
    spreads: tuple[Spread, ...] = ()
    is_rolled_back: bool = False


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """Which snapshot of a model is read; one document in every store, replaced as a whole.

    Attributes:
        format: Version of this layout.
        switches: How often it was moved, which tells apart what it was at any two instants.
        current: What is read; None before the first.
        previous: What was read before, and can be again.
    """

    format: int = 1
    switches: int = 0
    current: Snapshot | None = None
    previous: Snapshot | None = None

    @property
    def kept(self) -> tuple[Snapshot, ...]:
        """The snapshots there are, the current one first."""
        return tuple(item for item in (self.current, self.previous) if item is not None)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stored prediction comes from: most of a snapshot share one.

    Attributes:
        source: `batch`, or `live` if it was written back when somebody asked.
        model: The model's name.
        version: The version that predicted.
        run_id: The run; empty if it is live.
        as_of: When the input was true.
        predicted_at: When it was predicted.
        outputs: Names of the predictions, which another version may call otherwise.
    """

    source: str
    model: str
    version: str
    run_id: str
    as_of: datetime
    predicted_at: datetime
    outputs: tuple[str, ...] = ("prediction",)


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What a store has for a key.

    Attributes:
        predictions: One plain Python value per output.
        origin: Where they come from.
        features: The row that was predicted, by field, if it was asked for and lies beside them.
    """

    predictions: tuple[Any, ...]
    origin: Origin
    features: dict[str, Any] | None = None


def switched(pointer: Pointer, snapshot: Snapshot) -> Pointer:
    """Move a pointer to a new snapshot; what was rolled back is not come back to."""
    previous = pointer.current if pointer.current is not None else pointer.previous
    return Pointer(switches=pointer.switches + 1, current=snapshot, previous=previous)


def rolled_back(pointer: Pointer, model: str) -> Pointer:
    """Move a pointer back to the previous snapshot; once more, and it is where it was.

    Raises:
        InvalidInput: There is none.
    """
    if pointer.current is None or pointer.previous is None:
        got = "one" if pointer.current else "none"
        fix = "Publish another run instead."
        raise InvalidInput(problem(model, "a snapshot before the current one", got, fix))
    return Pointer(
        switches=pointer.switches + 1,
        current=msgspec.structs.replace(pointer.previous, is_rolled_back=False),
        previous=msgspec.structs.replace(pointer.current, is_rolled_back=True),
    )


def next_number(pointer: Pointer) -> int:
    """The number of the next snapshot."""
    return 1 + max((item.number for item in pointer.kept), default=0)


def encode_pointer(pointer: Pointer) -> bytes:
    """Write a pointer as JSON."""
    return msgspec.json.encode(pointer)


def decode_pointer(data: bytes, where: str) -> Pointer:
    """Read a pointer.

    Args:
        data: What `encode_pointer` wrote.
        where: The place it was read from, for the message.

    Raises:
        InvalidInput: It is none.
    """
    try:
        return msgspec.json.decode(data, type=Pointer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fix = "Take it away, and publish the run again."
        raise InvalidInput(problem(where, "a pointer to snapshots", str(error), fix)) from error


def key_of(key: Any) -> bytes:
    """The bytes of a key: of a text its UTF-8, of a whole number its decimal digits.

    So the key 17 of a column of numbers is found as 17 and as "17".

    Raises:
        InvalidInput: It is neither.
    """
    if isinstance(key, str):
        try:
            return key.encode()
        except UnicodeEncodeError as error:  # a lone surrogate, as JSON may have
            fix = "Send text that can be written in UTF-8."
            raise InvalidInput(problem("key", "text in UTF-8", str(error), fix)) from error
    if isinstance(key, bytes):
        return key
    if isinstance(key, int) and not isinstance(key, bool):
        try:
            return str(key).encode()
        except ValueError as error:  # Python writes no longer ones
            fix = "Send it as a text."
            raise InvalidInput(
                problem("key", "a shorter number", "one too long to write", fix)
            ) from error
    fix = 'Send {"key": "7590-VHVEG"}, or a whole number.'
    raise InvalidInput(problem("key", "a text or a whole number", type(key).__name__, fix))
