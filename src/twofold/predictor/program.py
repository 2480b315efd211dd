"""A compiled model: what the kernel is given, as plain arrays in one file that runs no code.

The file is `TWOFOLD1`, the length of its header (8 bytes, little-endian), the header as JSON, and
the arrays one after the other. The kernel checks every number before it uses it, so that no file,
however made, can make it read out of bounds.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

MAGIC = b"TWOFOLD1"
WHOLE = 2**32 - 1
"""The position of an input that is a whole field, not a part of a tensor."""
NO_CODES = 2**32 - 1
LEAF_CODE = 65_535
MAX_CODE = 65_535

INPUT_KINDS = {"float64": 0, "float32": 1, "int64": 2, "bool": 3, "string": 4, "tensor": 0}
LINKS = {
    "none": 0,
    "sigmoid": 1,
    "exp": 2,
    "softmax": 3,
    "square": 4,
    "log1p_exp": 5,
    "sigmoid_f32": 6,
    "exp_f32": 7,
    "softmax_f32": 8,
}
"""From sums to predictions; the formulas are in src/kernel/link.c."""

NODE = np.dtype([("code", "<u2"), ("column", "<u2"), ("left", "<u4")])
COLUMN = np.dtype(
    [
        (name, "<u4")
        for name in (
            "input",
            "kind",
            "first",
            "count",
            "codes",
            "missing",
            "unknown",
            "reserved",
        )
    ]
)
ARRAYS: dict[str, Any] = {
    "columns": COLUMN,
    "edges": np.dtype("<f8"),
    "codes": np.dtype("<u2"),
    "nodes": NODE,
    "values": np.dtype("<f8"),
    "roots": np.dtype("<u4"),
    "outputs": np.dtype("<u4"),
    "bases": np.dtype("<f8"),
}


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a compiled model.

    Attributes:
        field: The field of the signature it is, by position.
        position: Its place in a tensor; WHOLE if the field is no tensor.
        kind: One of `INPUT_KINDS`.
        categories: For text: the known ones, in the order of their numbers.
    """

    field: int
    position: int = WHOLE
    kind: str
    categories: tuple[str, ...] = ()


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the arrays.

    Attributes:
        inputs: In the order of the columns that read them.
        dimensions: Values per leaf: 1, or one per output.
        single: Whether sums are float32.
        link: One of `LINKS`.
        scale: Of a sigmoid.
        divisor: What sums are divided by.
        finish: What NumPy still has to do, in its own bits: `softmax` over the outputs, or `exp`.
        labels: Where labels are predicted, how: `argmax` of the outputs, or of one output whether
            it is `above` or `from` the threshold.
        threshold: See `labels`.
        classes: The labels.
        counts: Length of each array of `ARRAYS`, in their order.
    """

    inputs: tuple[Input, ...]
    dimensions: int
    single: bool
    link: str
    scale: float = 1.0
    divisor: float = 1.0
    finish: Literal["", "softmax", "exp"] = ""
    labels: Literal["", "argmax", "above", "from"] = ""
    threshold: float = 0.0
    classes: tuple[bool | int | str, ...] = ()
    counts: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled model; `arrays` has one array for each name of `ARRAYS`."""

    header: Header
    arrays: dict[str, Any]


def write_program(program: Program, path: Path) -> None:
    """Write a compiled model to a file."""
    arrays = [np.ascontiguousarray(program.arrays[name], kind) for name, kind in ARRAYS.items()]
    counts = tuple(len(array) for array in arrays)
    header = msgspec.json.encode(msgspec.structs.replace(program.header, counts=counts))
    with path.open("wb") as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays:
            file.write(array.tobytes())


def read_program(path: Path) -> Program:
    """Read a compiled model.

    Raises:
        ValueError: The file isn't one, or is cut off.
    """
    data = path.read_bytes()
    if data[:8] != MAGIC:
        raise ValueError("not a compiled model")
    start = 16 + int.from_bytes(data[8:16], "little")
    try:
        header = msgspec.json.decode(data[16:start], type=Header)
    except msgspec.DecodeError as error:
        raise ValueError(f"its header can't be read: {error}") from error
    arrays: dict[str, Any] = {}
    for (name, kind), count in zip(ARRAYS.items(), header.counts, strict=True):
        end = start + count * kind.itemsize
        if count < 0 or end > len(data):
            raise ValueError("it is cut off")
        arrays[name] = np.frombuffer(data, kind, count, start)
        start = end
    return Program(header, arrays)


def open_forest(program: Program, n_fields: int) -> Any:
    """Make the kernel's form of a compiled model.

    Raises:
        ImportError: The kernel wasn't built here.
        ValueError: A size, index or offset of the model is out of range.
    """
    kernel = importlib.import_module("twofold._kernel")  # optional: no compiler, no kernel
    header = program.header
    inputs = header.inputs
    return kernel.Forest(
        input_kinds=bytes(INPUT_KINDS[item.kind] for item in inputs),
        **program.arrays,
        fields=_numbers(item.field for item in inputs),
        positions=_numbers(item.position for item in inputs),
        categories=tuple(
            {text: index for index, text in enumerate(item.categories)}
            if item.kind == "string"
            else None
            for item in inputs
        ),
        n_fields=n_fields,
        dimensions=header.dimensions,
        single=header.single,
        link=LINKS[header.link],
        scale=header.scale,
        divisor=header.divisor,
    )


def _numbers(values: Any) -> Any:
    listed: Sequence[int] = list(values)
    return np.array(listed, np.uint32)
