"""The signature told from a sample, and what overrides change."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

from twofold.errors import DeclarationError
from twofold.model.infer import Overrides, infer_signature
from twofold.model.signature import Field, Signature
from twofold.model.tables import sample_table

SAMPLE = pa.table(
    {
        "tenure": pa.array([1, 2, 3], pa.int32()),
        "charge": [1.5, None, 2.5],
        "small": pa.array([1.0, 2.0, 3.0], pa.float32()),
        "senior": [True, False, True],
        "contract": ["One year", "Two year", "One year"],
        "since": pa.array([datetime(2026, 1, 1)] * 3, pa.timestamp("us")),
        "vector": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float64(), 2)),
    }
)


def test_every_type_nullability_and_the_strings_seen_are_told() -> None:
    assert infer_signature(SAMPLE) == Signature(
        fields=(
            Field(name="tenure", type="int64"),
            Field(name="charge", type="float64", nullable=True),
            Field(name="small", type="float32"),
            Field(name="senior", type="bool"),
            Field(name="contract", type="string", categories=("One year", "Two year")),
            Field(name="since", type="timestamp"),
            Field(name="vector", type="tensor", length=2),
        )
    )


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ([Decimal("1.5")], "float64"),
        ([date(2026, 1, 1)], "timestamp"),
        ([[1.0, 2.0], [3.0, 4.0]], "tensor"),
    ],
)
def test_near_types_fit_too(values: list[Any], type_: str) -> None:
    assert infer_signature(pa.table({"x": values})).fields[0].type == type_


def test_ids_and_comments_are_free_text() -> None:
    table = pa.table({"id": [f"customer {number}" for number in range(100)]})
    assert infer_signature(table).fields[0].categories is None


def test_categoricals_keep_their_order_of_values() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is an extra")
    frame = pd.DataFrame({"size": pd.Categorical(["S", "L"], categories=["S", "M", "L"])})
    field = infer_signature(sample_table(frame)).fields[0]
    assert (field.categorical, field.categories) == (True, ("S", "M", "L"))


def test_nan_in_the_sample_makes_a_field_nullable() -> None:
    assert infer_signature(pa.table({"x": [1.0, float("nan")]})).fields[0].nullable


def test_dropped_columns_are_remembered_as_ignored() -> None:
    signature = infer_signature(SAMPLE, overrides=Overrides(drop=["senior"]))
    assert "senior" not in signature.names
    assert signature.ignored == ("senior",)


def test_the_models_own_inputs_decide_names_and_order() -> None:
    signature = infer_signature(SAMPLE, inputs=["charge", "tenure"])
    assert signature.names == ("charge", "tenure")
    assert "contract" in signature.ignored


def test_overrides_change_type_nullability_and_policies() -> None:
    signature = infer_signature(
        SAMPLE,
        overrides=Overrides(
            types={"tenure": "float64"},
            nullable=["tenure"],
            unknown_categories="allow",
            extra_fields="ignore",
        ),
    )
    assert signature.fields[0] == Field(name="tenure", type="float64", nullable=True)
    assert signature.fields[4].unknown_categories == "allow"
    assert signature.extra_fields == "ignore"


@pytest.mark.parametrize(
    ("table", "overrides", "inputs", "words"),
    [
        (pa.table({"x": [{"a": 1}]}), Overrides(), None, "sample.x: expected a type that fits"),
        (pa.table({"x": [[1.0], [1.0, 2.0]]}), Overrides(), None, "expected lists of one length"),
        (SAMPLE, Overrides(drop=["nope"]), None, "--drop nope: expected one of tenure"),
        (SAMPLE, Overrides(types={"nope": "int64"}), None, "--type nope"),
        (SAMPLE, Overrides(), ["age"], "the model's inputs, among them age"),
        (pa.table({"x": [1]}), Overrides(drop=["x"]), None, "expected at least one input"),
        (pa.table([[1], [2]], names=["x", "x"]), Overrides(), None, "expected distinct columns"),
    ],
)
def test_contradictions_are_refused(
    table: pa.Table, overrides: Overrides, inputs: list[str] | None, words: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        infer_signature(table, inputs=inputs, overrides=overrides)
    assert words in str(caught.value)


def test_samples_of_all_kinds_tell_the_same_signature(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas", reason="pandas is an extra")
    pl = pytest.importorskip("polars", reason="polars is an extra")
    rows = [{"n": 1, "x": 1.5, "s": "No"}, {"n": 2, "x": 2.5, "s": "Yes"}]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "s.parquet")
    pcsv.write_csv(table, tmp_path / "s.csv")
    with pa.ipc.new_file(tmp_path / "s.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table)
    samples = [
        rows,
        table,
        pd.DataFrame(rows),
        pd.DataFrame(rows, index=["a", "b"]),
        pl.DataFrame(rows),
        *(tmp_path / name for name in ("s.parquet", "s.csv", "s.arrow", "stream.arrow")),
    ]
    signatures = {infer_signature(sample_table(sample)) for sample in samples}
    assert signatures == {infer_signature(table)}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.xlsx", b"", "expected a .parquet, .csv or .arrow file"),
        ("s.parquet", b"no parquet", "expected a readable .parquet file"),
        ("s.csv", b"a,b\n", "expected at least one row"),
        ("missing.csv", None, "expected a file, got nothing there"),
    ],
)
def test_a_bad_sample_file_is_named(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DeclarationError) as caught:
        sample_table(tmp_path / name)
    assert words in str(caught.value)
    assert name in str(caught.value)
