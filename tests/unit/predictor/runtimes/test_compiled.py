"""The compiled runtime: Arrow columns of every kind and cut, and one row, with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twofold.model.rows import RowCheck
from twofold.model.signature import Field, Signature
from twofold.predictor.program import (
    COLUMN,
    LEAF_CODE,
    NO_CODES,
    NODE,
    Header,
    Input,
    Program,
    write_program,
)
from twofold.predictor.runtimes.compiled import CompiledRuntime, open_compiled

KINDS = ("float64", "float32", "int64", "bool")
SIGNATURE = Signature(
    fields=(
        *(Field(name=kind, type=kind, nullable=True) for kind in KINDS),
        Field(name="text", type="string", nullable=True),
        Field(name="tensor", type="tensor", length=3, nullable=True),
    )
)


def stumps(**header: Any) -> Program:
    """A tree of one test for each input; the trees add powers of ten."""
    inputs = (
        *(Input(field=index, kind=kind) for index, kind in enumerate(KINDS)),
        Input(field=4, kind="string", categories=("a", "b")),
        *(Input(field=5, position=position, kind="tensor") for position in range(3)),
    )
    columns = [
        (at, 1, 0, 2, NO_CODES, 0, 0, 0)
        if item.kind == "string"
        else (at, 0, 0, 1, NO_CODES, 0, 0, 0)
        for at, item in enumerate(inputs)
    ]
    nodes = [
        node
        for at in range(len(inputs))
        for node in ((0, at, 1), (LEAF_CODE, 0, 1), (LEAF_CODE, 0, 2))
    ]
    count = len(inputs)
    arrays = {
        "columns": np.array(columns, COLUMN),
        "edges": np.array([0.5]),
        "codes": np.array([0, 1], np.uint16),
        "nodes": np.array(nodes, NODE),
        "values": np.array([v for at in range(count) for v in (0.0, 0.0, 10.0**at)]),
        "roots": np.arange(0, 3 * count + 1, 3, np.uint32),
        "outputs": np.zeros(count, np.uint32),
        "bases": np.zeros(1),
    }
    return Program(Header(inputs=inputs, **header), arrays)


def opened(program: Program, folder: Path) -> CompiledRuntime:
    write_program(program, folder / "m")
    return open_compiled(folder / "m", SIGNATURE)


def rows(count: int) -> pa.RecordBatch:
    random = np.random.default_rng(0)

    def column(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([None if random.random() < 0.2 else value for value in values], kind)

    numbers = random.integers(0, 2, (count, 4)).astype(float)
    tensors = random.integers(0, 2, (count, 3)).astype(float).tolist()
    texts = [("a", "b", "c")[index] for index in random.integers(0, 3, count)]
    return pa.RecordBatch.from_arrays(
        [
            column(numbers[:, 0].tolist(), pa.float64()),
            column(numbers[:, 1].tolist(), pa.float32()),
            column(numbers[:, 2].astype(int).tolist(), pa.int64()),
            column(numbers[:, 3].astype(bool).tolist(), pa.bool_()),
            column(texts, pa.string()),
            column(tensors, pa.list_(pa.float64(), 3)),
        ],
        names=list(SIGNATURE.names),
    )


def wanted(row: dict[str, Any]) -> float:
    values = [*(row[kind] for kind in KINDS), row["text"] == "b", *(row["tensor"] or [0] * 3)]
    return float(sum(10**at for at, value in enumerate(values) if value))


def test_columns_of_every_kind_with_nulls(tmp_path: Path) -> None:
    runtime = opened(stumps(), tmp_path)
    batch = rows(200)
    (found,) = runtime.predict_columns(batch)
    assert found.tolist() == [wanted(row) for row in batch.to_pylist()]


@pytest.mark.parametrize("start", [0, 1, 7, 8, 63, 64, 65])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 130])
def test_any_slice_of_the_columns(start: int, size: int, tmp_path: Path) -> None:
    runtime = opened(stumps(), tmp_path)
    batch = rows(200).slice(start, size)
    (found,) = runtime.predict_columns(batch)
    assert found.tolist() == [wanted(row) for row in batch.to_pylist()]


def test_one_row_of_values(tmp_path: Path) -> None:
    runtime = opened(stumps(), tmp_path)
    for row in rows(50).to_pylist():
        assert runtime.predict_values(list(row.values())) == (wanted(row),)
        assert runtime.predict_values(tuple(row.values())) == (wanted(row),)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ({"labels": "above", "threshold": 10.0, "classes": ("no", "yes")}, "no"),
        ({"labels": "from", "threshold": 10.0, "classes": ("no", "yes")}, "yes"),
        ({"labels": "argmax", "classes": (7,)}, 7),
        ({"finish": "exp"}, float(np.exp(10.0))),
    ],
)
def test_what_is_left_to_numpy(header: dict[str, Any], value: Any, tmp_path: Path) -> None:
    runtime = opened(stumps(**header), tmp_path)
    row = {"float64": 0.0, "float32": 1.0, "int64": 0, "bool": False, "text": "a", "tensor": None}
    batch = pa.RecordBatch.from_pylist([row], rows(1).schema)
    (found,) = runtime.predict_columns(batch)
    assert found.tolist() == [value]
    assert runtime.predict_values(list(row.values())) == (value,)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1.0], "one value per field"),
        (["1", 1.0, 1, True, "a", [0.0] * 3], "expected a number, got str"),
        ([1.0, 1.0, 1, True, 5, [0.0] * 3], "expected text, got int"),
        ([1.0, 1.0, 1, True, "a", [0.0]], "a list of a tensor's length"),
        ([1.0, 1.0, 1, True, "a", 1.0], "a list of a tensor's length"),
    ],
)
def test_values_that_are_not_canonical_raise(row: list[Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=reason):
        opened(stumps(), tmp_path)._model.predict_one(row)


@pytest.mark.parametrize(
    "entry",
    [
        (np.zeros(9), 0, 1, None, None),
        (np.zeros(10), 1, 1, None, None),
        (np.zeros(10), -1, 1, None, None),
        (np.zeros(10), 0, 0, None, None),
        (np.zeros(10), 0, 1, b"\x00", None),
        (np.zeros(10), 2**62, 1, None, None),
        (np.zeros(10), 0, 2**40, None, None),
    ],
)
def test_buffers_that_are_too_short_are_refused(entry: Any, tmp_path: Path) -> None:
    model = opened(stumps(), tmp_path)._model
    with pytest.raises(ValueError, match=r"fewer values than rows|out of range"):
        model.predict((entry,) * 8, 10, np.empty(10))


def test_an_output_that_is_too_short_is_refused(tmp_path: Path) -> None:
    model = opened(stumps(), tmp_path)._model
    with pytest.raises(ValueError, match="the output has fewer values than rows"):
        model.predict(((np.zeros(10), 0, 1, None, None),) * 8, 10, np.empty(9))
    with pytest.raises(TypeError, match="read-write"):
        model.predict(((np.zeros(10), 0, 1, None, None),) * 8, 10, bytes(80))


def test_the_quick_way_gives_the_same_or_nothing(tmp_path: Path) -> None:
    fields = tuple(Field(name=name, type="float64") for name in ("a", "b"))
    check = RowCheck(Signature(fields=fields))
    program = Program(
        Header(inputs=(Input(field=0, kind="float64"), Input(field=1, kind="float64"))),
        {
            "columns": np.array([(0, 0, 0, 1, NO_CODES, 0, 0, 0)], COLUMN),
            "edges": np.array([0.5]),
            "codes": np.array([], np.uint16),
            "nodes": np.array([(0, 0, 1), (LEAF_CODE, 0, 1), (LEAF_CODE, 0, 2)], NODE),
            "values": np.array([0.0, 0.1, np.inf]),
            "roots": np.array([0, 3], np.uint32),
            "outputs": np.array([0], np.uint32),
            "bases": np.zeros(1),
        },
    )
    write_program(program, tmp_path / "m")
    runtime = open_compiled(tmp_path / "m", Signature(fields=fields))
    wide, narrow = runtime.quick(check.reader, "float64"), runtime.quick(check.reader, "float32")
    assert wide is not None
    assert narrow is not None
    assert wide({"a": 0.5, "b": 1.0}) == wide([0.5, 1]) == 0.1
    assert narrow({"a": 0.5, "b": 1.0}) == float(np.float32(0.1))
    for row in ({"a": 0.6, "b": 1.0}, {"a": "x", "b": 1.0}, [0.5], {"a": 0.5}, None):
        assert wide(row) is None
    assert runtime.quick(check.reader, "int64") is None
    of_another = RowCheck(Signature(fields=fields[:1]))
    with pytest.raises(ValueError, match="the model's reader"):
        runtime.quick(of_another.reader, "float64")
