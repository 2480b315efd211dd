"""What a server keeps for a key: the predictions of a row, packed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa

from twofold.stores.snapshot import Origin, Snapshot, Stored
from twofold.stores.store import Rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAX_ORIGINS = 1024
"""Origins that are held; there is one for each repair."""


class _Value(msgspec.Struct, array_like=True):
    """Of a row.

    Attributes:
        predictions: One per output.
        predicted_at: Microseconds since 1970.
        features: By field; None if they aren't published.
        live: Of a live prediction: its version, when its input was true, in microseconds, and the
            names of its outputs.
    """

    predictions: tuple[Any, ...]
    predicted_at: int
    features: dict[str, Any] | None = None
    live: tuple[str, int, tuple[str, ...]] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Value).decode


def encode_rows(rows: Rows) -> Iterator[bytes]:
    """Pack what stands beside each key, in the order of the keys."""
    predictions = zip(*(column.to_pylist() for column in rows.predictions), strict=True)
    instants = rows.predicted_at.cast(pa.int64()).to_pylist()
    if rows.features is None:
        for values, instant in zip(predictions, instants, strict=True):
            yield _encode(_Value(values, instant))
        return
    features = rows.features.to_pylist()
    for values, instant, row in zip(predictions, instants, features, strict=True):
        yield _encode(_Value(values, instant, row))


def encode_live(stored: Stored) -> bytes:
    """Pack a live prediction."""
    origin = stored.origin
    live = (origin.version, to_micros(origin.as_of), origin.outputs)
    return _encode(_Value(stored.predictions, to_micros(origin.predicted_at), None, live))


class Origins:
    """The origins of a snapshot's predictions: but for those of repaired rows it is one."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Begin with none."""
        self._snapshot = snapshot
        self._known: dict[int, Origin] = {}

    def at(self, predicted_at: int) -> Origin:
        """The origin of what was predicted at an instant, in microseconds since 1970."""
        found = self._known.get(predicted_at)
        if found is None:
            snapshot = self._snapshot
            found = Origin(
                source="batch",
                model=snapshot.model,
                version=snapshot.version,
                run_id=snapshot.run_id,
                as_of=snapshot.as_of,
                predicted_at=_instant(predicted_at),
                outputs=snapshot.outputs,
            )
            if len(self._known) < MAX_ORIGINS:
                self._known[predicted_at] = found
        return found

    def live(self, version: str, as_of: int, outputs: tuple[str, ...], predicted_at: int) -> Origin:
        """The origin of a live prediction; instants as above."""
        return Origin(
            source="live",
            model=self._snapshot.model,
            version=version,
            run_id="",
            as_of=_instant(as_of),
            predicted_at=_instant(predicted_at),
            outputs=outputs,
        )


def decode_value(data: bytes, origins: Origins, *, with_features: bool = False) -> Stored:
    """Unpack what stands beside a key.

    Args:
        data: It.
        origins: Those of the snapshot that it was found in.
        with_features: Whether the features are wanted.

    Raises:
        msgspec.DecodeError: It is something else.
    """
    value = _decode(data)
    if value.live is None:
        origin = origins.at(value.predicted_at)
    else:
        origin = origins.live(*value.live, value.predicted_at)
    return Stored(value.predictions, origin, value.features if with_features else None)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 of an instant (aware)."""
    return (instant - EPOCH) // MICROSECOND


def _instant(micros: int) -> datetime:
    return EPOCH + micros * MICROSECOND
