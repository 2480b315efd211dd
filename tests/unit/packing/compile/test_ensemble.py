"""Any trees over any features: the kernel walks as a plain reading of the tests does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.model.kernel import kernel
from twofold.model.signature import Field, Signature
from twofold.packing.compile.ensemble import READS, ZERO, Ensemble, Members, Tests, Tree, assemble
from twofold.packing.compile.features import (
    Constant,
    Feature,
    Levels,
    NotCompilable,
    Number,
    Step,
    Text,
)
from twofold.predictor.program import Header, Input, Program, write_program
from twofold.predictor.runtimes.compiled import CompiledRuntime, open_compiled

INPUTS = [
    Input(field=0, kind="float64"),
    Input(field=1, kind="float32"),
    Input(field=2, kind="int64"),
    Input(field=3, kind="bool"),
    Input(field=4, kind="string", categories=("a", "b", "c")),
]
SIGNATURE = Signature(
    fields=(
        Field(name="d", type="float64", nullable=True),
        Field(name="f", type="float32", nullable=True),
        Field(name="i", type="int64", nullable=True),
        Field(name="b", type="bool", nullable=True),
        Field(name="s", type="string", nullable=True),
    )
)
TYPES = [pa.float64(), pa.float32(), pa.int64(), pa.bool_(), pa.string()]
FEATURES: list[Feature] = [
    Number(0),
    Number(0, (Step("subtract", 0.5), Step("divide", 3.0))),
    Number(1),
    Number(2),
    Number(2, (Step("fill", 2.0),)),
    Number(3),
    Levels(0, (-1.0, 1.0), (5.0, -5.0, 0.0), 1.0),
    Text(4, {"a": 0.0, "b": 1.0, "c": 2.0}, np.nan, -1.0),
    Text(4, {"b": 1.0}, 0.0, np.nan),
    Constant(0.25),
]
VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, -0.0, 0.25, 1e-35, -1e-35, 1.0, 2.0, 3.0])
ROW = st.tuples(
    st.none() | VALUES | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | VALUES.map(lambda x: float(np.float32(x))),
    st.none() | st.integers(-5, 5) | st.integers(-(2**53), 2**53),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["a", "b", "c", "other"]),
)
MISSING = st.sampled_from(["left", "right", "zero", "zero_left", "zero_right"])


@st.composite
def trees(draw: Any, dimensions: int, outputs: int) -> Tree:
    splits = draw(st.integers(0, 6) | st.integers(60, 70))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    left, right = [-1], [-1]
    for _ in range(splits):
        leaves = [node for node, child in enumerate(left) if child < 0]
        node = leaves[random.integers(len(leaves))]
        left[node], right[node] = len(left), len(left) + 1
        left += [-1, -1]
        right += [-1, -1]
    count = len(left)
    kinds = ["left", "right", "zero", "zero_left", "zero_right"]
    members: list[Members | None] = [None] * count
    missing = [kinds[random.integers(5)] for _ in range(count)]
    for node in range(count):
        if random.random() < 0.2:
            chosen = frozenset(random.integers(0, 6, 3).tolist())
            members[node] = Members(chosen, "left" if random.random() < 0.5 else "right")
            missing[node] = kinds[random.integers(2)]
    tests = Tests(
        random.integers(0, len(FEATURES), count),
        random.choice([-1.0, -1e-35, 0.0, 0.1, 0.25, 0.5, 1.0, 2.0], count),
        missing,
        members,
    )
    values = random.normal(size=(count, dimensions))
    output = int(random.integers(outputs)) if dimensions == 1 else 0
    return Tree(tests, np.array(left), np.array(right), values, output)


@st.composite
def ensembles(draw: Any) -> Ensemble:
    outputs = draw(st.sampled_from([1, 3]))
    dimensions = draw(st.sampled_from([1, outputs]))
    several = draw(st.lists(trees(dimensions, outputs), min_size=0, max_size=12))
    header = Header(dimensions=dimensions, single=draw(st.booleans()))
    bases = np.float32(draw(st.sampled_from([0.0, 0.5])))
    read = draw(st.sampled_from(["float64", "float32", "snapped"]))
    return Ensemble(several, np.full(outputs, bases, np.float64), header, read)


def feature_of(feature: Feature, row: Any) -> float:
    """A feature of one row, read plainly."""
    if isinstance(feature, Constant):
        return feature.value
    value = row[feature.input]
    if isinstance(feature, Text):
        if value is None:
            return float(feature.missing or 0.0)
        unknown = float(feature.unknown or 0.0)
        return feature.values.get(value, unknown)
    if isinstance(feature, Levels):
        if value is None:
            return feature.missing
        return feature.values[int(np.searchsorted(feature.edges, value))]
    return float(feature.of([np.nan if value is None else float(value)])[0])


def goes_right(tree: Tree, node: int, value: float) -> bool:
    """One test, as the docstrings of `Tests`, `Members` and `Missing` have it."""
    missing, members = tree.tests.missing[node], tree.tests.members[node]
    if members is not None:
        if np.isnan(value):
            return missing == "right"
        is_member = -1.0 < value < 1e6 and int(value) in members.categories
        return is_member == (members.to == "right")
    if np.isnan(value) and missing != "zero":
        return missing.endswith("right")
    if missing in ("zero_left", "zero_right") and abs(value) <= ZERO:
        return missing == "zero_right"
    return bool((0.0 if np.isnan(value) else value) > tree.tests.threshold[node])


def plainly(ensemble: Ensemble, row: Any) -> list[float]:
    kind: Any = np.float32 if ensemble.header.single else np.float64
    sums = [kind(base) for base in ensemble.bases]
    for tree in ensemble.trees:
        node = 0
        while tree.left[node] >= 0:
            raw = feature_of(FEATURES[tree.tests.feature[node]], row)
            value = float(READS[ensemble.read](np.array([raw]))[0])
            node = int((tree.right if goes_right(tree, node, value) else tree.left)[node])
        for index, value in enumerate(tree.values[node].tolist()):
            output = tree.output + index
            sums[output] = kind(sums[output] + kind(value))
    return [float(total) for total in sums]


def opened(program: Program, folder: Path, signature: Signature = SIGNATURE) -> CompiledRuntime:
    write_program(program, folder / "program")
    return open_compiled(folder / "program", signature)


@given(ensemble=ensembles(), rows=st.lists(ROW, min_size=1, max_size=9))
@settings(max_examples=150)
def test_the_kernel_walks_as_a_plain_reading_of_the_tests_does(
    tmp_path_factory: pytest.TempPathFactory, ensemble: Ensemble, rows: list[Any]
) -> None:
    runtime = opened(assemble(ensemble, FEATURES, INPUTS), tmp_path_factory.mktemp("p"))
    wanted = np.array([plainly(ensemble, row) for row in rows]).T
    columns = pa.RecordBatch.from_arrays(
        [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(TYPES)],
        names=list(SIGNATURE.names),
    )
    for instructions in ("plain", "avx2", "avx512"):
        if kernel().use(instructions):
            found = np.stack(runtime.predict_columns(columns))
            assert found.tobytes() == np.ascontiguousarray(wanted).tobytes(), instructions
            for index, row in enumerate(rows):
                assert list(runtime.predict_values(list(row))) == wanted[:, index].tolist()


def grown(random: Any, leaves: int, columns: int, edges: int, depth: int) -> Tree:
    """A random tree of tests that are often equal, none deeper than that."""
    left, depths = [-1], [0]
    for _ in range(leaves - 1):
        open_leaves = [k for k, child in enumerate(left) if child < 0 and depths[k] < depth]
        node = open_leaves[random.integers(len(open_leaves))]
        left[node] = len(left)
        left += [-1, -1]
        depths += [depths[node] + 1] * 2
    count = len(left)
    tests = Tests(
        random.integers(0, columns, count),
        random.integers(0, edges, count) / edges,
        random.choice(["left", "right"], count).tolist(),
        [None] * count,
    )
    right = [child + 1 if child >= 0 else -1 for child in left]
    return Tree(tests, np.array(left), np.array(right), random.normal(size=(count, 1)))


@pytest.mark.parametrize(("columns", "single"), [(10, True), (20, False), (40, True), (100, False)])
@pytest.mark.parametrize(
    ("trees", "leaves", "edges", "depth"),
    [
        (40, 16, 10, 16),
        (21, 31, 33, 31),
        (70, 32, 200, 6),
        (17, 48, 16, 48),
        (70, 64, 500, 6),
        (9, 64, 100, 64),
        (200, 31, 400, 10),
    ],
)
def test_a_row_alone_is_predicted_as_one_of_many(
    tmp_path: Path, columns: int, trees: int, leaves: int, edges: int, depth: int, *, single: bool
) -> None:
    random = np.random.default_rng(leaves)
    grove = [grown(random, leaves - k % 7 // 6, columns, edges, depth) for k in range(trees)]
    inputs = [Input(field=index, kind="float64") for index in range(columns)]
    names = [f"x{index}" for index in range(columns)]
    fields = tuple(Field(name=name, type="float64", nullable=True) for name in names)
    ensemble = Ensemble(grove, np.full(1, 0.5), Header(single=single), "float64")
    program = assemble(ensemble, [Number(index) for index in range(columns)], inputs)
    runtime = opened(program, tmp_path, Signature(fields=fields))
    on_edges = random.integers(-1, edges + 1, (40, columns)) / edges
    rows = np.concatenate([on_edges, np.nextafter(on_edges, 2.0), random.random((40, columns))])
    lists = [[x if random.random() < 0.97 else None for x in row] for row in rows.tolist()]
    lists += [[end] * columns for end in (-np.inf, np.inf)]
    arrays = [pa.array(values, pa.float64()) for values in zip(*lists, strict=True)]
    many = pa.RecordBatch.from_arrays(arrays, names=names)
    assert kernel().use("plain")
    (wanted,) = runtime.predict_columns(many)
    for instructions in ("plain", "avx2", "avx512"):
        if kernel().use(instructions):
            (found,) = runtime.predict_columns(many)
            assert found.tobytes() == wanted.tobytes(), instructions
            alone = np.array([runtime.predict_values(row)[0] for row in lists])
            assert alone.tobytes() == wanted.tobytes(), instructions


def stump(feature: int, threshold: float, **changes: Any) -> Tree:
    members = changes.get("members")
    tests = Tests(
        np.array([feature, 0, 0]), np.array([threshold, 0, 0]), ["left"] * 3, [members, None, None]
    )
    ends = np.array([-1, -1])
    values = np.array([[0.0], [1.0], [2.0]])
    return Tree(tests, np.array([1, *ends]), np.array([2, *ends]), values)


def test_equal_tests_share_a_column() -> None:
    trees = [stump(0, 0.5), stump(0, 0.5), stump(0, 0.25), stump(2, 0.5)]
    program = assemble(Ensemble(trees, np.zeros(1), Header(), "float64"), FEATURES, INPUTS)
    assert len(program.arrays["columns"]) == 2
    assert program.arrays["edges"].tolist() == [0.25, 0.5, 0.5]


def test_a_scaled_number_costs_nothing_when_predicting() -> None:
    scaled = assemble(Ensemble([stump(1, 0.5)], np.zeros(1), Header(), "float64"), FEATURES, INPUTS)
    assert scaled.arrays["edges"].tolist() == [pytest.approx(2.0)]


def test_too_many_thresholds_of_a_feature_are_refused() -> None:
    count = 65_600
    tests = Tests(
        np.zeros(2 * count + 1, int),
        np.arange(2 * count + 1.0),
        ["left"] * (2 * count + 1),
        [None] * (2 * count + 1),
    )
    left = np.full(2 * count + 1, -1)
    right = left.copy()
    left[: 2 * count : 2] = np.arange(1, 2 * count, 2)
    right[: 2 * count : 2] = np.arange(2, 2 * count + 1, 2)
    tree = Tree(tests, left, right, np.zeros((2 * count + 1, 1)))
    with pytest.raises(NotCompilable, match="more than 65,534 thresholds"):
        assemble(Ensemble([tree], np.zeros(1), Header(), "float64"), FEATURES, INPUTS)


def test_a_category_beyond_the_kernels_range_is_refused() -> None:
    tree = stump(3, 0.0, members=Members(frozenset({70_000}), "left"))
    with pytest.raises(NotCompilable, match="category 70000 is beyond 65000"):
        assemble(Ensemble([tree], np.zeros(1), Header(), "float64"), FEATURES, INPUTS)
