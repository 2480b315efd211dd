"""The protocols of infer requests, in the order in which processes refer to them."""

from __future__ import annotations

import enum

from twofold.serving.service import Contract
from twofold.wire.call import Reader
from twofold.wire.mlflow import Invocations
from twofold.wire.v1 import V1
from twofold.wire.v2 import V2


class Protocol(enum.IntEnum):
    """Which protocol a request speaks."""

    V1 = 0
    V2 = 1
    MLFLOW = 2


def readers(served: Contract, *, max_rows: int) -> tuple[Reader, Reader, Reader]:
    """The reader of each protocol for a version, in the order of `Protocol`."""
    return (
        V1(served, max_rows=max_rows),
        V2(served, max_rows=max_rows),
        Invocations(served, max_rows=max_rows),
    )
