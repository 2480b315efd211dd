"""The record of a packed version, for tests that need one and care about little of it."""

from __future__ import annotations

from typing import Any

import msgspec

from twofold.model.record import Artifact, ModelVersion, Modes, Parity
from twofold.model.signature import Field, Output, Signature

ONE_NUMBER = Signature(fields=(Field(name="amount", type="float64"),))
VALUE = Output(kind="value", type="float64")


def record_of(
    name: str = "churn",
    version: str = "3",
    signature: Signature = ONE_NUMBER,
    output: Output = VALUE,
    **facts: Any,
) -> ModelVersion:
    """Make the record of a function in Python, packed in January; `facts` are what differs."""
    file = Artifact(file="model.py", format="python-source", sha256="0", size_bytes=1)
    record = ModelVersion(
        name=name,
        version=version,
        digest="d1g3st",
        framework="python",
        libraries={},
        signature=signature,
        output=output,
        runtimes=Modes(batch="original", real_time="original"),
        artifacts={"original": file},
        sample=file,
        parity=Parity(sample_rows=1, edge_rows=0, tolerance=0.0, same_bits=True, candidates=()),
        created_at="2026-01-31T12:00:00+00:00",
    )
    return msgspec.structs.replace(record, **facts)
