"""A compiled model: what the kernel is given, as plain arrays in one file that runs no code.

The file is `TWOFOLD1`, the length of its header (8 bytes, little-endian), the header as JSON, and
the arrays one after the other. The kernel checks every number before it uses it, so that no file,
however made, can make it read out of bounds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from twofold.errors import ConfigError, problem
from twofold.model.kernel import kernel

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
TERM = np.dtype(
    [(name, "<u4") for name in ("input", "kind", "first", "count", "weights", "reserved")]
)
STEP = np.dtype([("name", "<u4"), ("reserved", "<u4"), ("value", "<f8"), ("upper", "<f8")])
STEPS = (
    "fill",
    "subtract",
    "divide",
    "multiply",
    "add",
    "float32",
    "clip",
    "log",
    "log1p",
    "log2",
    "log10",
    "exp",
    "expm1",
    "sqrt",
    "cbrt",
)
"""What a term may do to a number, in the order of the kernel's names."""
DOUBLE, WORD = np.dtype("<f8"), np.dtype("<u4")
ARRAYS: dict[str, dict[str, Any]] = {
    "forest": {
        "columns": COLUMN,
        "edges": DOUBLE,
        "codes": np.dtype("<u2"),
        "nodes": NODE,
        "values": DOUBLE,
        "roots": WORD,
        "outputs": WORD,
        "bases": DOUBLE,
    },
    "linear": {
        "terms": TERM,
        "steps": STEP,
        "edges": DOUBLE,
        "weights": DOUBLE,
        "bases": DOUBLE,
    },
}
"""The arrays of each kind of model; src/kernel/forest.h and linear.h say what they mean."""
HAS_EDGES = {"forest": 0, "linear": 1}
"""The kind of column, or of term, that has edges."""


Word = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Dimensions = Annotated[int, msgspec.Meta(ge=1, le=4096)]
InputKind = Literal["float64", "float32", "int64", "bool", "string", "tensor"]
Link = Literal[
    "none",
    "sigmoid",
    "exp",
    "softmax",
    "square",
    "log1p_exp",
    "sigmoid_f32",
    "exp_f32",
    "softmax_f32",
]


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a compiled model.

    Attributes:
        field: The field of the signature it is, by position.
        position: Its place in a tensor; WHOLE if the field is no tensor.
        kind: One of `INPUT_KINDS`.
        categories: For text: the known ones, in the order of their numbers.
    """

    field: Word
    position: Word = WHOLE
    kind: InputKind
    categories: tuple[str, ...] = ()


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the arrays.

    Attributes:
        kind: `forest` or `linear`.
        inputs: In the order of the columns or terms that read them.
        dimensions: Of a forest: values per leaf: 1, or one per output.
        single: Of a forest: whether sums are float32.
        link: One of `LINKS`.
        scale: Of a forest's sigmoid.
        divisor: Of a forest: what sums are divided by.
        finish: What NumPy still has to do, in its own bits: `softmax` over the outputs, their
            `mean`, which becomes the only one, or `exp`.
        labels: Where labels are predicted, how: `argmax` of the outputs, or of one output whether
            it is `above` or `from` the threshold.
        threshold: See `labels`.
        classes: The labels.
        only: The one output that is wanted, if not all are.
        counts: Length of each array of `ARRAYS`, in their order.
    """

    kind: Literal["forest", "linear"] = "forest"
    inputs: tuple[Input, ...] = ()
    dimensions: Dimensions = 1
    single: bool = False
    link: Link = "none"
    scale: float = 1.0
    divisor: float = 1.0
    finish: Literal["", "softmax", "mean", "exp"] = ""
    labels: Literal["", "argmax", "above", "from"] = ""
    threshold: float = 0.0
    classes: tuple[bool | int | str, ...] = ()
    only: int | None = None
    counts: tuple[Word, ...] = ()


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled model; `arrays` has one array for each name that its kind has in `ARRAYS`."""

    header: Header
    arrays: dict[str, Any]


def write_program(program: Program, path: Path) -> None:
    """Write a compiled model to a file."""
    kinds = ARRAYS[program.header.kind]
    arrays = [np.ascontiguousarray(program.arrays[name], kind) for name, kind in kinds.items()]
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
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"its header can't be read: {error}") from error
    arrays: dict[str, Any] = {}
    for (name, kind), count in zip(ARRAYS[header.kind].items(), header.counts, strict=True):
        end = start + count * kind.itemsize
        if end > len(data):
            raise ValueError("it is cut off")
        arrays[name] = np.frombuffer(data, kind, count, start)
        start = end
    return Program(header, arrays)


def edges_of(program: Program) -> Iterator[tuple[int, Any]]:
    """The edges between which predictions may change: an input, and its edges, again and again."""
    kind = program.header.kind
    rows = program.arrays["columns" if kind == "forest" else "terms"]
    for row in rows[rows["kind"] == HAS_EDGES[kind]]:
        first, count = int(row["first"]), int(row["count"])
        yield int(row["input"]), program.arrays["edges"][first : first + count]


def open_program(program: Program, n_fields: int) -> Any:
    """Make the kernel's form of a compiled model.

    Raises:
        ConfigError: The kernel wasn't built here.
        ValueError: A size, index or offset of the model is out of range.
    """
    native = kernel()
    if native is None:
        fix = "Install a wheel, or install a C compiler and then twofold again."
        raise ConfigError(problem("twofold", "its native kernel", "an installation without", fix))
    header = program.header
    _check_outputs(header, len(program.arrays["bases"]))
    common: dict[str, Any] = {
        "input_kinds": bytes(INPUT_KINDS[item.kind] for item in header.inputs),
        "fields": _numbers(item.field for item in header.inputs),
        "positions": _numbers(item.position for item in header.inputs),
        "categories": tuple(_categories(item) for item in header.inputs),
        "n_fields": n_fields,
        "link": LINKS[header.link],
        **program.arrays,
    }
    if header.kind == "linear":
        return native.Linear(**common)
    return native.Forest(
        **common,
        dimensions=header.dimensions,
        single=header.single,
        scale=header.scale,
        divisor=header.divisor,
    )


def _check_outputs(header: Header, outputs: int) -> None:
    """Check what the kernel isn't given: which outputs, and which classes, NumPy will take."""
    if header.only is not None and not 0 <= header.only < outputs:
        raise ValueError("the one output that is wanted is out of range")
    needed = {"": 0, "argmax": outputs, "above": 2, "from": 2}[header.labels]
    if len(header.classes) < needed:
        raise ValueError("it has fewer classes than it may predict")


def _categories(item: Input) -> dict[str, int] | None:
    if item.kind != "string":
        return None
    return {text: index for index, text in enumerate(item.categories)}


def _numbers(values: Any) -> Any:
    listed: Sequence[int] = list(values)
    return np.array(listed, np.uint32)
