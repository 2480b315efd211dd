"""Compiling a model and holding it against its own library: on its rows, and on their edges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from twofold.model import arrow
from twofold.model.columns import check_columns
from twofold.model.infer import Overrides, infer_signature
from twofold.model.kernel import kernel
from twofold.model.rows import RowCheck
from twofold.model.signature import Output, Signature
from twofold.model.tables import one_batch, sample_table
from twofold.packing.compile import compile_model
from twofold.packing.sources import source_of
from twofold.predictor.door import Door
from twofold.predictor.edge_rows import edge_rows, special_rows
from twofold.predictor.parity import same_bits
from twofold.predictor.program import Program, write_program
from twofold.predictor.runtimes import open_runtime
from twofold.predictor.runtimes.compiled import CompiledRuntime, open_compiled
from twofold.predictor.split import predict_apart

INSTRUCTIONS = [name for name in ("plain", "avx2", "avx512") if kernel().use(name)]
ONE_BY_ONE = 60


@dataclasses.dataclass
class Compared:
    """A compiled model, and the rows on which it was held against its library."""

    signature: Signature
    program: Program
    runtime: CompiledRuntime
    rows: pa.RecordBatch
    largest: float


@pytest.fixture(autouse=True)
def best_instructions() -> Iterator[None]:
    yield
    kernel().use(INSTRUCTIONS[-1])


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., Compared]:
    def run(
        model: Any,
        frame: Any,
        *,
        output: Any = None,
        kind: Any = "float64",
        tolerance: float = 0.0,
        overrides: Overrides | None = None,
    ) -> Compared:
        source = source_of(model, output=output, call="row")
        table = sample_table(frame)
        signature = infer_signature(table, inputs=source.feature_names, overrides=overrides)
        rows = check_columns(signature, one_batch(table.select(list(signature.names)))).columns
        program = compile_model(source, signature)
        write_program(program, tmp_path / "program")
        runtime = open_compiled(tmp_path / "program", signature)
        said = source.output
        names, count = said.names, len(program.arrays["bases"])
        if said.kind == "value" and count > 1:  # as packing names several targets
            names = tuple(f"{names[0]}_{index}" for index in range(count))
        declared = Output(kind=said.kind, type=kind, names=names, classes=said.classes)
        artifact = source.write_original(tmp_path, signature, trust_pickle=False)
        original = Door(
            open_runtime(artifact, tmp_path, signature, declared, trust_pickle=False),
            signature,
            declared,
        )
        # As packing does it: the sample, special values, and both sides of every edge.
        parts = [rows, special_rows(signature, rows), edge_rows(signature, rows, program)]
        every = one_batch(pa.Table.from_batches([part for part in parts if part.num_rows]))
        wanted, refused = predict_apart(every, original.columns)
        kept = np.ones(every.num_rows, bool)
        kept[list(refused)] = False
        every = every.filter(pa.array(kept))
        reference = [np.concatenate(columns) for columns in zip(*wanted, strict=True)]
        door = Door(runtime, signature, declared)
        largest = check(door, every, reference, tolerance)
        return Compared(signature, program, runtime, every, largest)

    return run


def check(door: Door, rows: pa.RecordBatch, reference: list[Any], tolerance: float) -> float:
    """Hold every path of the kernel against the original's predictions; the largest difference."""
    largest = 0.0
    whole: list[Any] = []
    for instructions in INSTRUCTIONS:
        assert kernel().use(instructions)
        found = door.columns(rows)
        if whole:
            assert all(map(same_bits, found, whole)), instructions
        whole = found
        for column, wanted in zip(found, reference, strict=True):
            if tolerance:
                difference = np.abs(column.astype(np.float64) - wanted.astype(np.float64))
                largest = max(largest, float(difference.max()))
                assert (difference <= tolerance * np.maximum(1, np.abs(wanted))).all()
            else:
                unequal = np.flatnonzero(column != wanted)
                assert same_bits(column, wanted), (instructions, len(unequal), unequal[:5])
    texts = [arrow.coded(c) if c.type == pa.string() else c for c in rows.columns]
    coded = door.columns(pa.RecordBatch.from_arrays(texts, names=rows.schema.names))
    assert all(map(same_bits, coded, whole))
    for start, size in ((0, 1), (3, 5), (7, 64), (1, 65), (10, 130)):
        part = door.columns(rows.slice(start, size))
        assert all(same_bits(a, b[start : start + size]) for a, b in zip(part, whole, strict=True))
    read = RowCheck(door._signature)
    for row in np.linspace(0, rows.num_rows - 1, ONE_BY_ONE).astype(int).tolist():
        canonical = read(rows.slice(row, 1).to_pylist()[0])
        for instructions in INSTRUCTIONS:
            assert kernel().use(instructions)
            for value, column in zip(door.values(canonical), whole, strict=True):
                alone = np.array([value], column.dtype)
                assert same_bits(alone, column[row : row + 1]), (instructions, row)
    return largest


@pytest.fixture(scope="session")
def numbers() -> pd.DataFrame:
    random = np.random.default_rng(11)
    frame = pd.DataFrame({f"x{index}": random.normal(size=600) for index in range(5)})
    frame["x4"] *= 1e-35  # around what LightGBM takes for zero
    frame["count"] = random.integers(0, 40, 600)
    return frame


@pytest.fixture(scope="session")
def holes(numbers: pd.DataFrame) -> pd.DataFrame:
    frame = numbers.copy()
    frame.loc[::7, "x0"] = np.nan
    frame.loc[::5, "x3"] = np.nan
    return frame


@pytest.fixture(params=["float64", "float32", "missing"])
def any_numbers(
    request: pytest.FixtureRequest, numbers: pd.DataFrame, holes: pd.DataFrame
) -> pd.DataFrame:
    """The numbers in either width, and with values missing."""
    return holes if request.param == "missing" else numbers.astype(request.param)


@pytest.fixture(scope="session")
def singles(numbers: pd.DataFrame) -> pd.DataFrame:
    return numbers.astype(np.float32)


@pytest.fixture(scope="session")
def two(numbers: pd.DataFrame) -> Any:
    noise = np.random.default_rng(1).normal(size=600) * 0.3
    return (numbers["x0"] + numbers["x1"] * numbers["x2"] + noise > 0).to_numpy().astype(int)


@pytest.fixture(scope="session")
def three(numbers: pd.DataFrame) -> Any:
    cuts = [-0.7, 0.6]
    return np.digitize((numbers["x0"] + numbers["x1"]).to_numpy(), cuts)


@pytest.fixture(scope="session")
def amount(numbers: pd.DataFrame) -> Any:
    return (numbers["x0"] * 3 + np.sin(numbers["x1"]) + numbers["count"] / 10).to_numpy()


@pytest.fixture(scope="session")
def customers() -> tuple[pd.DataFrame, Any]:
    """Real customers: text, numbers, and missing values in one of them."""
    from twofold.demo.customers import features, real_customers

    table = real_customers().slice(0, 1500)
    left = np.array(table["churn"].to_pylist()) == "Yes"
    return table.select(features(table)).to_pandas(), left.astype(int)


@pytest.fixture(scope="session")
def categorical(customers: tuple[pd.DataFrame, Any]) -> pd.DataFrame:
    frame = customers[0].copy()
    for name in frame.columns:
        if frame[name].dtype.kind not in "if":
            frame[name] = frame[name].astype("category")
    return frame
