"""Compiled models in files: what is written is read back, and crafted files are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from twofold.errors import ConfigError
from twofold.model.signature import Field, Signature
from twofold.predictor.program import (
    COLUMN,
    LEAF_CODE,
    NO_CODES,
    NODE,
    STEP,
    TERM,
    Header,
    Input,
    Program,
    edges_of,
    open_program,
    read_program,
    write_program,
)
from twofold.predictor.runtimes.compiled import open_compiled

INPUTS = (Input(field=0, kind="float64"), Input(field=1, kind="string", categories=("a", "b")))
FOREST = Program(
    Header(inputs=INPUTS),
    {
        "columns": np.array(
            [(0, 0, 0, 2, NO_CODES, 0, 0, 0), (1, 1, 0, 2, NO_CODES, 1, 1, 0)], COLUMN
        ),
        "edges": np.array([0.5, 1.5]),
        "codes": np.array([0, 1], np.uint16),
        "nodes": np.array(
            [(1, 0, 1), (LEAF_CODE, 0, 1), (0, 1, 3), (LEAF_CODE, 0, 3), (LEAF_CODE, 0, 4)], NODE
        ),
        "values": np.array([0.0, 10.0, 0.0, 20.0, 30.0]),
        "roots": np.array([0, 5], np.uint32),
        "outputs": np.array([0], np.uint32),
        "bases": np.array([0.25]),
    },
)
LINEAR = Program(
    Header(kind="linear", inputs=INPUTS),
    {
        "terms": np.array([(0, 0, 0, 1, 0, 0), (1, 2, 0, 2, 1, 0)], TERM),
        "steps": np.array([(2, 0, 4.0, 0.0)], STEP),
        "edges": np.array([]),
        "weights": np.array([2.0, 1.0, 5.0, -1.0, -2.0]),
        "bases": np.array([0.5]),
    },
)


def changed(program: Program, name: str, index: Any, value: Any) -> Program:
    arrays = {key: array.copy() for key, array in program.arrays.items()}
    if index is None:
        arrays[name] = np.array(value, arrays[name].dtype)
    elif isinstance(index, tuple):
        arrays[name][index[0]][index[1]] = value
    else:
        arrays[name][index] = value
    return dataclasses.replace(program, arrays=arrays)


@pytest.mark.parametrize("program", [FOREST, LINEAR])
def test_what_is_written_is_read_back(program: Program, tmp_path: Path) -> None:
    write_program(program, tmp_path / "m")
    found = read_program(tmp_path / "m")
    counts = tuple(len(array) for array in program.arrays.values())
    assert found.header == msgspec.structs.replace(program.header, counts=counts)
    for name, array in program.arrays.items():
        assert found.arrays[name].tobytes() == array.tobytes()


def test_a_forest_predicts() -> None:
    forest = open_program(FOREST, 2)
    rows = [[1.5, "b"], [1.6, "a"], [1.6, "b"], [1.6, "other"], [None, "a"]]
    assert [forest.predict_one(row) for row in rows] == [10.25, 20.25, 30.25, 30.25, 10.25]


def test_a_linear_model_predicts() -> None:
    linear = open_program(LINEAR, 2)
    rows = [[4.0, "a"], [8.0, "b"], [0.0, "other"], [0.0, None]]
    assert [linear.predict_one(row) for row in rows] == [3.5, 9.5, -0.5, -1.5]


def test_the_edges_of_a_program_come_with_their_inputs() -> None:
    assert [(at, cuts.tolist()) for at, cuts in edges_of(FOREST)] == [(0, [0.5, 1.5])]
    assert list(edges_of(LINEAR)) == []


@pytest.mark.parametrize(
    ("name", "index", "value", "reason"),
    [
        ("columns", (0, "input"), 2, "a column's input is out of range"),
        ("columns", (0, "kind"), 7, "a column's kind is unknown"),
        ("columns", (0, "kind"), 1, "doesn't fit its input"),
        ("columns", (0, "count"), 3, "edges are out of range"),
        ("columns", (0, "first"), 2**32 - 1, "edges are out of range"),
        ("columns", (0, "codes"), 0, "codes are out of range"),
        ("columns", (0, "missing"), 65_536, "code is out of range"),
        ("columns", (1, "count"), 3, "table is out of range"),
        ("edges", 1, 0.5, "edges don't ascend"),
        ("edges", 0, np.nan, "edges don't ascend"),
        ("nodes", (0, "left"), 4, "child is out of range"),
        ("nodes", (2, "left"), 1, "child is out of range"),
        ("nodes", (0, "left"), 2**32 - 1, "child is out of range"),
        ("nodes", (0, "column"), 2, "column is out of range"),
        ("nodes", (1, "code"), 3, "a leaf has a test"),
        ("nodes", (0, "left"), 3, "no parent"),
        ("roots", None, [0, 4], "roots don't fit"),
        ("roots", None, [0, 0, 5], "roots don't fit"),
        ("roots", None, [1, 5], "roots don't fit"),
        ("outputs", 0, 1, "output is out of range"),
        ("outputs", None, [], "roots don't fit"),
        ("values", None, [0.0], "values don't fit"),
        ("bases", None, [], "number of outputs"),
    ],
)
def test_a_forest_with_a_number_out_of_range_is_refused(
    name: str, index: Any, value: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        open_program(changed(FOREST, name, index, value), 2)


@pytest.mark.parametrize(
    ("name", "index", "value", "reason"),
    [
        ("terms", (0, "input"), 2, "input is out of range"),
        ("terms", (0, "kind"), 3, "kind is unknown"),
        ("terms", (0, "kind"), 2, "doesn't fit its input"),
        ("terms", (0, "count"), 2, "steps are out of range"),
        ("terms", (0, "kind"), 1, "edges are out of range"),
        ("terms", (1, "count"), 3, "weights are out of range"),
        ("terms", (1, "weights"), 2**32 - 1, "weights are out of range"),
        ("steps", (0, "name"), 15, "a step is unknown"),
        ("bases", None, [], "number of outputs"),
    ],
)
def test_a_linear_model_with_a_number_out_of_range_is_refused(
    name: str, index: Any, value: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        open_program(changed(LINEAR, name, index, value), 2)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"only": 1}, "is wanted is out of range"),
        ({"only": -1}, "is wanted is out of range"),
        ({"labels": "argmax"}, "fewer classes"),
        ({"labels": "above", "classes": ("no",)}, "fewer classes"),
        ({"labels": "from", "classes": ("no",)}, "fewer classes"),
    ],
)
def test_outputs_and_classes_that_are_not_there_are_refused(
    header: dict[str, Any], reason: str
) -> None:
    broken = msgspec.structs.replace(FOREST.header, **header)
    with pytest.raises(ValueError, match=reason):
        open_program(Program(broken, FOREST.arrays), 2)


def test_an_input_of_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="field is out of range"):
        open_program(FOREST, 1)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [(0, "not a compiled model"), (7, "not a compiled model"), (60, "header"), (-1, "cut off")],
)
def test_a_file_that_is_cut_off_is_refused(cut: int, reason: str, tmp_path: Path) -> None:
    write_program(FOREST, tmp_path / "m")
    (tmp_path / "m").write_bytes((tmp_path / "m").read_bytes()[:cut])
    with pytest.raises(ValueError, match=reason):
        read_program(tmp_path / "m")


def test_a_crafted_file_is_refused_in_the_words_of_the_operator(tmp_path: Path) -> None:
    write_program(changed(FOREST, "nodes", (0, "left"), 4), tmp_path / "m")
    fields = (Field(name="x", type="float64"), Field(name="s", type="string"))
    with pytest.raises(ConfigError, match=r"expected a compiled model, got a node's child"):
        open_compiled(tmp_path / "m", Signature(fields=fields))


def test_a_model_that_was_refused_can_not_be_used() -> None:
    from twofold.model.kernel import kernel

    broken = kernel().Forest.__new__(kernel().Forest)
    with pytest.raises(ValueError, match="was refused"):
        broken.predict_one([1.0, "a"])
    with pytest.raises(ValueError, match="was refused"):
        broken.predict((), 0, bytearray())
