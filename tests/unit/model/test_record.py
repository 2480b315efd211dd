"""What stands in `model.json`: read back whole, and refused where it breaks its form."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from twofold.model.record import (
    PICKLED,
    Artifact,
    ArtifactFormat,
    Candidate,
    ModelVersion,
    Modes,
    Parity,
)
from twofold.model.signature import Field, Output, Signature

BOOSTER = Artifact(
    file="model.txt",
    format="lightgbm-text",
    sha256="ab" * 32,
    size_bytes=12,
    call="predict",
    input="matrix",
    class_index=1,
)
SAMPLE = Artifact(file="sample.arrow", format="arrow", sha256="cd" * 32, size_bytes=34)
RECORD = ModelVersion(
    name="churn",
    version="3",
    digest="ef" * 32,
    framework="lightgbm",
    libraries={"lightgbm": "4.6.0"},
    signature=Signature(fields=(Field(name="plan", type="string", categories=("a", "b")),)),
    output=Output(kind="probability", type="float64", names=("no", "yes"), classes=("0", "1")),
    runtimes=Modes(batch="compiled", real_time="original"),
    rows_per_call=64,
    artifacts={"original": BOOSTER, "compiled": BOOSTER},
    sample=SAMPLE,
    parity=Parity(
        sample_rows=100,
        edge_rows=20,
        tolerance=1e-6,
        same_bits=True,
        candidates=(
            Candidate(runtime="original", passed=True, reason="it is the original", exact=True),
            Candidate(
                runtime="onnx",
                passed=False,
                reason="2 labels differ",
                checked_rows=120,
                one_by_one_rows=60,
                max_difference=0.1 + 0.2,
                label_flips=2,
                rows_per_call=64,
                one_row_s=2.4e-06,
                batch_rows_per_s=1_000_000.5,
            ),
        ),
    ),
    created_at="2026-01-31T12:00:00Z",
    trust_pickle=True,
)


def stored(**changes: Any) -> dict[str, Any]:
    """The record as plain values, some of them changed."""
    return msgspec.to_builtins(RECORD) | changes


def read(plain: dict[str, Any]) -> ModelVersion:
    return msgspec.json.decode(msgspec.json.encode(plain), type=ModelVersion)


def test_a_record_is_stored_and_read_back_whole() -> None:
    assert read(stored()) == RECORD


def test_what_is_not_known_of_a_candidate_stays_unknown() -> None:
    original = read(stored()).parity.candidates[0]
    assert (original.max_difference, original.one_row_s, original.batch_rows_per_s) == (None,) * 3


def test_a_record_says_nothing_it_need_not_say() -> None:
    plain = stored()
    for name in ("format", "rows_per_call", "trust_pickle"):
        del plain[name]
    record = read(plain)
    assert (record.format, record.rows_per_call, record.trust_pickle) == (1, 0, False)


def test_what_a_later_twofold_adds_is_no_obstacle() -> None:
    assert read(stored(added_later={"x": 1})) == RECORD


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "version",
        "digest",
        "framework",
        "libraries",
        "signature",
        "output",
        "runtimes",
        "artifacts",
        "sample",
        "parity",
        "created_at",
    ],
)
def test_all_else_must_be_there(name: str) -> None:
    plain = stored()
    del plain[name]
    with pytest.raises(msgspec.ValidationError, match=f"missing required field `{name}`"):
        read(plain)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"framework": "torch"}, "$.framework"),
        ({"version": 3}, "$.version"),
        ({"runtimes": {"batch": "native", "real_time": "onnx"}}, "$.runtimes.batch"),
        ({"runtimes": {"batch": "onnx"}}, "$.runtimes"),
        ({"artifacts": {"native": msgspec.to_builtins(BOOSTER)}}, "$.artifacts"),
        ({"sample": msgspec.to_builtins(SAMPLE) | {"format": "zip"}}, "$.sample.format"),
        ({"sample": msgspec.to_builtins(SAMPLE) | {"input": "tensor"}}, "$.sample.input"),
        ({"sample": msgspec.to_builtins(SAMPLE) | {"size_bytes": "34"}}, "$.sample.size_bytes"),
        ({"libraries": ["lightgbm"]}, "$.libraries"),
        ({"trust_pickle": "no"}, "$.trust_pickle"),
        ({"trust_pickle": 1}, "$.trust_pickle"),
    ],
)
def test_a_record_that_breaks_its_form_is_refused_at_its_place(
    changes: dict[str, Any], place: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        read(stored(**changes))
    assert place in str(caught.value)


def test_a_version_does_not_change_after_it_is_made() -> None:
    parts = (RECORD, RECORD.sample, RECORD.parity, RECORD.parity.candidates[0], RECORD.runtimes)
    for part in parts:
        first = part.__struct_fields__[0]
        with pytest.raises(AttributeError, match="immutable"):
            setattr(part, first, getattr(part, first))


def test_only_pickles_and_joblib_files_wait_for_trust() -> None:
    assert {"joblib", "pickle"} == PICKLED
    assert set(get_args(ArtifactFormat)) >= PICKLED
