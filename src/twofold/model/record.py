"""The record of one packed version: what stands in `model.json`."""

from __future__ import annotations

from typing import Literal

import msgspec

from twofold.model.signature import Output, Signature

Framework = Literal["scikit-learn", "lightgbm", "xgboost", "onnx", "python"]
RuntimeName = Literal["original", "onnx", "compiled"]
ArtifactFormat = Literal[
    "skops",
    "joblib",
    "pickle",
    "lightgbm-text",
    "xgboost-ubj",
    "onnx",
    "program",
    "python-source",
    "arrow",
]
PICKLED: frozenset[ArtifactFormat] = frozenset({"joblib", "pickle"})
"""The formats whose loading runs code that the file brings."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One file a runtime loads, and how that runtime calls what is in it.

    Attributes:
        file: Path inside the version's folder.
        format: How the file is read.
        sha256: Digest of the file's bytes, hexadecimal; checked before every load.
        size_bytes: Length of the file.
        call: The method or function called: `predict_proba`, `predict`, `run`, `row`
            (a callable that takes one row as a dict) or `batch` (one that takes a table).
        input: What the call is given: a pandas `frame`, a NumPy `matrix`, ONNX `columns` (one
            input per field), or `rows` (plain Python values).
        attribute: For Python source: the attribute of the module that predicts.
        class_index: For one probability of a classifier: its column in the call's result.
    """

    file: str
    format: ArtifactFormat
    sha256: str
    size_bytes: int
    call: str = ""
    input: Literal["frame", "matrix", "columns", "rows", ""] = ""
    attribute: str | None = None
    class_index: int | None = None


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One runtime that was tried at pack time, and how it did.

    Attributes:
        runtime: Which.
        passed: Whether it may be used.
        reason: Why not, or what was proven, in one sentence.
        exact: Whether every checked prediction had the original's bits.
        checked_rows: Rows compared with the original.
        one_by_one_rows: Of these, rows also predicted one by one and compared bit for bit.
        max_difference: Largest absolute difference from the original; None if not comparable.
        label_flips: Rows whose label differs from the original's.
        rows_per_call: 0 if any number of rows may be predicted in a call; else every call is
            padded to this many, because the last bits would depend on it.
        one_row_s: Median time of one row, seconds.
        batch_rows_per_s: Rows a second, many rows at once, one thread.
    """

    runtime: RuntimeName
    passed: bool
    reason: str
    exact: bool = False
    checked_rows: int = 0
    one_by_one_rows: int = 0
    max_difference: float | None = None
    label_flips: int = 0
    rows_per_call: int = 0
    one_row_s: float | None = None
    batch_rows_per_s: float | None = None


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a version: what was compared, and how each runtime did.

    Attributes:
        sample_rows: Rows of the sample that were compared.
        edge_rows: Rows made from the sample: nulls, extremes, values next to thresholds.
        tolerance: Largest difference from the original that was allowed, relative to
            `max(1, |original|)`.
        same_bits: Batch and real-time predictions were equal bit for bit on every row checked.
        candidates: The runtimes tried.
    """

    sample_rows: int
    edge_rows: int
    tolerance: float
    same_bits: bool
    candidates: tuple[Candidate, ...]


class Modes(msgspec.Struct, frozen=True, kw_only=True):
    """The runtime chosen for each mode."""

    batch: RuntimeName
    real_time: RuntimeName


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable packing of a model.

    Attributes:
        format: Version of this record's own layout.
        name: The model.
        version: Its version, "1", "2", ...
        digest: SHA-256 over everything that decides a prediction: signature, output, artifacts,
            chosen runtimes. Equal digests predict equal bits on equal machines.
        framework: The library the model was made with.
        libraries: Library name to the version that packed it.
        signature: Inputs.
        output: Outputs.
        runtimes: The runtime of each mode.
        rows_per_call: See `Candidate.rows_per_call`, of the chosen runtimes.
        artifacts: Runtime name to its file.
        sample: The rows kept for warm-up and self-test.
        parity: The proof.
        created_at: ISO 8601, UTC.
        trust_pickle: Whether loading may run a pickle.
    """

    format: int = 1
    name: str
    version: str
    digest: str
    framework: Framework
    libraries: dict[str, str]
    signature: Signature
    output: Output
    runtimes: Modes
    rows_per_call: int = 0
    artifacts: dict[RuntimeName, Artifact]
    sample: Artifact
    parity: Parity
    created_at: str
    trust_pickle: bool = False
