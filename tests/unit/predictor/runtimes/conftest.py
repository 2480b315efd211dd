"""Opens runtimes from stored models, and compares their two speeds."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twofold.model.columns import check_columns
from twofold.model.infer import Overrides, infer_signature
from twofold.model.record import Artifact
from twofold.model.rows import RowCheck
from twofold.model.signature import Output, Signature
from twofold.model.tables import one_batch, sample_table
from twofold.packing.sources import read_source
from twofold.predictor.parity import same_bits
from twofold.predictor.runtime import Runtime
from twofold.predictor.runtimes import open_runtime

# For `boosters`.
sys.path.insert(0, str(Path(__file__).parent))


@dataclasses.dataclass(frozen=True)
class Opened:
    """A runtime opened from its stored file, and the sample's canonical rows."""

    runtime: Runtime
    artifact: Artifact
    signature: Signature
    output: Output
    rows: pa.RecordBatch

    def many(self) -> list[Any]:
        """Predict all rows at once, and require the same bits of each row alone."""
        columns = self.runtime.predict_columns(self.rows)
        check = RowCheck(self.signature)
        for index, row in enumerate(self.rows.to_pylist()):
            alone = self.runtime.predict_values(check(row))
            for one, column in zip(alone, columns, strict=True):
                assert same_bits(np.array([one], column.dtype), column[index : index + 1])
        return columns


Open = Callable[..., Opened]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Store a model as packing does, and open it as serving does."""

    def store(
        model: Any, sample: Any, *, kind: Any = None, call: Any = "row", trust: bool = False
    ) -> Opened:
        source = read_source(model, output=kind, call=call)
        table = sample_table(sample)
        signature = infer_signature(table, inputs=source.feature_names, overrides=Overrides())
        artifact = source.write_original(tmp_path, signature, trust_pickle=trust)
        declared = source.output
        output = Output(
            kind=declared.kind, type="float64", names=declared.names, classes=declared.classes
        )
        runtime = open_runtime(artifact, tmp_path, signature, output, trust_pickle=trust)
        rows = check_columns(signature, one_batch(table.select(list(signature.names)))).columns
        return Opened(runtime, artifact, signature, output, rows)

    return store
