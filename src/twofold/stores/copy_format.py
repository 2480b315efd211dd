"""Keys and values as PostgreSQL takes them in its binary formats: of a COPY, and of an array.

Also how a key is written there: an index can't hold long ones.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)
MAX_KEY_BYTES = 1024
"""A key up to this length is written as it is. An entry of an index may have about 2,700."""

ARRAY_OID, BYTES_OID = 1001, 17
"""Of the types bytea[] and bytea, in every database."""

_array_head = struct.Struct(">5i").pack
_key_head = struct.Struct(">hi").pack
_value_head = struct.Struct(">i").pack


def stored_key(key: bytes) -> bytes:
    """How a key is written: a long one as its beginning and the SHA-256 of all of it.

    That is longer than any key that is written as it is; so no two keys are written alike.
    """
    if len(key) <= MAX_KEY_BYTES:
        return key
    return key[:MAX_KEY_BYTES] + hashlib.sha256(key).digest()


def shown_key(stored: bytes) -> str:
    """A written key as a message shows it."""
    return repr(stored[:80].decode("utf-8", "replace"))


def stored_keys(keys: Sequence[bytes]) -> Sequence[bytes]:
    """How keys are written."""
    if max(map(len, keys), default=0) <= MAX_KEY_BYTES:
        return keys
    return [stored_key(key) for key in keys]


def key_array(keys: Sequence[bytes]) -> bytes:
    """Keys as one value of the type bytea[]."""
    parts = [b""] * (2 * len(keys) + 1)
    # One dimension, no nulls, and the first has the number 1.
    parts[0] = _array_head(1, 0, BYTES_OID, len(keys), 1)
    parts[1::2] = map(_value_head, map(len, keys))
    parts[2::2] = keys
    return b"".join(parts)


def checksum(keys: Sequence[bytes], values: Iterable[bytes]) -> int:
    """The checksum of rows as `postgresql_sql.COUNT` has it; that of all rows is the sum."""
    return sum(
        int.from_bytes(hashlib.sha256(_value_head(len(key)) + key + value).digest()[:8], "big") >> 4
        for key, value in zip(keys, values, strict=True)
    )


def copy_rows(keys: Sequence[bytes], values: Iterable[bytes]) -> bytes:
    """Rows of a COPY, between its `HEADER` and its `TRAILER`.

    Nothing here is done row by row in Python; that alone would take longer than the server does.

    Args:
        keys: As they are written.
        values: One for each.
    """
    values = list(values)
    key_bytes, value_bytes = list(map(len, keys)), list(map(len, values))
    # There are few different lengths.
    key_heads = {count: _key_head(2, count) for count in set(key_bytes)}
    value_heads = {count: _value_head(count) for count in set(value_bytes)}
    parts: list[bytes] = [b""] * (4 * len(keys))
    parts[0::4] = map(key_heads.__getitem__, key_bytes)
    parts[1::4] = keys
    parts[2::4] = map(value_heads.__getitem__, value_bytes)
    parts[3::4] = values
    return b"".join(parts)
