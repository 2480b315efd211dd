"""Sketching: what a batch held, in one pass, natively where the kernel was built.

Fields are sketched as the model sees them: in their canonical types, where NaN is null.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from twofold.batch.buckets import (
    BUCKETS,
    ENTRY,
    GRAIN_RATIO,
    bucket_entries,
    key_of,
    number_sketches,
)
from twofold.batch.statistics import (
    MAX_TEXT_CHARS,
    MAX_UNSEEN_PER_PARTITION,
    ColumnSketch,
    NumberSketch,
    Sketch,
    TextSketch,
    count_reasons,
    most_frequent,
)
from twofold.model import arrow
from twofold.model.kernel import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twofold.model.arrow import Numbers as Array
    from twofold.model.signature import Output, Signature

Limits: TypeAlias = "NDArray[np.float64]"
"""A least and a greatest value in each line."""
KINDS = {"float64": 0, "float32": 1, "int64": 2, "timestamp": 2}
"""As in `src/kernel/inputs.h`."""
MAX_ROWS = 1 << 21
"""Values of one call of the kernel; as in `src/kernel/sketch.h`."""
BOOLS = ("false", "true")
_own = threading.local()


@dataclasses.dataclass(frozen=True)
class Measured:
    """A column that is sketched.

    Attributes:
        name: Its name.
        type: Its type in the signature.
        origin: Numbers: where buckets are narrowest, the sample's median.
        grain: Numbers: the first key that is told apart from 0.
        known: Texts: those of the sample, sorted; of booleans, both.
    """

    name: str
    type: str
    origin: float = 0.0
    grain: int = 1
    known: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, or lists of numbers."""
        return self.type not in ("string", "bool")


@dataclasses.dataclass(frozen=True, eq=False)
class BatchSketch:
    """What the rows of a batch held.

    Attributes:
        rows: The rows predicted.
        entries: Buckets of all columns of numbers, each column's numbered after the other's.
        limits: Least and greatest value of each column.
        nulls: Nulls of each column.
        texts: The texts of each column that isn't of numbers, and how often each came.
    """

    rows: int
    entries: Array
    limits: Limits
    nulls: Array
    texts: tuple[tuple[pa.Array, Array], ...]


@dataclasses.dataclass(frozen=True)
class Sketcher:
    """Sketches batches of the same columns, and makes partitions of them.

    Attributes:
        columns: The fields, then the predictions.
    """

    columns: tuple[Measured, ...]

    def sketch(self, columns: Sequence[pa.Array]) -> BatchSketch:
        """Sketch a batch.

        Args:
            columns: Canonical columns of equal length.
        """
        pairs = list(zip(self.columns, columns, strict=True))
        numbers = [(item, _flat(item, column)) for item, column in pairs if item.is_number]
        entries, limits = _sketch_numbers(numbers)
        texts = tuple(_counted(column) for item, column in pairs if not item.is_number)
        nulls = np.array([column.null_count for column in columns], np.int64)
        return BatchSketch(len(columns[0]), entries, limits, nulls, texts)

    def partition(
        self, batches: Sequence[BatchSketch], set_aside: Iterable[tuple[str, str]]
    ) -> Sketch:
        """Put the batches of a partition together.

        Args:
            batches: Any number of them.
            set_aside: Field and reason of the rows set aside.
        """
        nulls = sum((batch.nulls for batch in batches), np.zeros(len(self.columns), np.int64))
        numbers = iter(self._numbers(batches, nulls.tolist()))
        texts = 0
        found: list[ColumnSketch] = []
        for item, missing in zip(self.columns, nulls.tolist(), strict=True):
            if item.is_number:
                found.append(next(numbers))
            else:
                counted = [batch.texts[texts] for batch in batches]
                found.append(_text_sketch(item, counted, missing))
                texts += 1
        rows = sum(batch.rows for batch in batches)
        return Sketch(rows, tuple(found), count_reasons(set_aside))

    def _numbers(self, batches: Sequence[BatchSketch], nulls: list[int]) -> list[NumberSketch]:
        places = [at for at, item in enumerate(self.columns) if item.is_number]
        edges = np.tile([np.inf, -np.inf], (len(places), 1))
        for batch in batches:
            edges[:, 0] = np.minimum(edges[:, 0], batch.limits[:, 0])
            edges[:, 1] = np.maximum(edges[:, 1], batch.limits[:, 1])
        return number_sketches(
            [batch.entries for batch in batches],
            edges,
            [nulls[at] for at in places],
            [self.columns[at].grain for at in places],
        )


def sketcher_of(
    signature: Signature, output: Output, sample: Sequence[pa.Array] | None
) -> Sketcher:
    """Prepare to sketch a model's fields and predictions.

    Args:
        signature: Its inputs.
        output: Its outputs.
        sample: The columns of its sample, fields and then predictions, if there is one.
    """
    kinds = [(field.name, str(field.type)) for field in signature.fields]
    kinds += [(name, str(output.type)) for name in output.names]
    found: list[Measured] = []
    for index, (name, kind) in enumerate(kinds):
        item = Measured(name, kind, known=BOOLS if kind == "bool" else ())
        found.append(item if sample is None else _measured(item, sample[index]))
    return Sketcher(tuple(found))


def _measured(item: Measured, column: pa.Array) -> Measured:
    if item.type == "string":
        words = {_shown(word) for word in column.to_pylist() if word is not None}
        return dataclasses.replace(item, known=tuple(sorted(words)))
    if item.type == "bool":
        return item
    flat = _flat(item, column)
    values = arrow.numbers(flat)[~arrow.null_mask(flat)].astype(np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return item
    # A value of the sample, not between two: so that whole numbers have whole distances.
    origin = float(np.sort(values)[(len(values) - 1) // 2])
    distances = np.sort(np.abs(values - origin))  # np.median imports numpy.ma, for 25 ms
    usual = float(distances[len(distances) // 2]) * GRAIN_RATIO
    if item.type == "int64":
        usual = min(usual, 1.0)
    grain = key_of(min(usual, 1e30))
    return dataclasses.replace(item, origin=origin, grain=max(grain, 1))


def _flat(item: Measured, column: pa.Array) -> pa.Array:
    """A column of numbers: of a tensor, all the numbers of its lists that are no nulls."""
    return column.flatten() if item.type == "tensor" else column


def _sketch_numbers(columns: Sequence[tuple[Measured, pa.Array]]) -> tuple[Array, Limits]:
    limits = np.empty((len(columns), 2))
    native = kernel()
    # Columns of one length go to the kernel together; tensors are longer.
    pieces: list[Array] = []
    at = 0
    while at < len(columns):
        rows, stop = len(columns[at][1]), at + 1
        while stop < len(columns) and len(columns[stop][1]) == rows <= MAX_ROWS:
            stop += 1
        for first in range(0, max(rows, 1), MAX_ROWS):
            some = [(item, column.slice(first, MAX_ROWS)) for item, column in columns[at:stop]]
            found, edge = (_by_numpy if native is None else _by_kernel)(some)
            if at:
                found = found.copy()
                found["bucket"] += at * BUCKETS
            pieces.append(found)
            if first:
                edge[:, 0] = np.minimum(edge[:, 0], limits[at:stop, 0])
                edge[:, 1] = np.maximum(edge[:, 1], limits[at:stop, 1])
            limits[at:stop] = edge
        at = stop
    if len(pieces) == 1:
        return pieces[0], limits
    return np.concatenate([np.empty(0, ENTRY), *pieces]), limits


def _by_kernel(columns: Sequence[tuple[Measured, pa.Array]]) -> tuple[Array, Limits]:
    if not hasattr(_own, "table"):
        _own.table = np.zeros(BUCKETS, np.uint64)
    kinds = bytes(KINDS.get(item.type, 0) for item, _ in columns)
    origins = np.array([item.origin for item, _ in columns], np.float64)
    limits = np.empty((len(columns), 2))
    inputs: list[Any] = []
    for _, column in columns:
        validity, values = column.buffers()
        validity = validity if column.null_count else None
        inputs.append((values or b"", column.offset, 1, validity, None))
    rows = len(columns[0][1])
    data = kernel().sketch(kinds, origins, tuple(inputs), rows, _own.table, limits)
    return np.frombuffer(data, ENTRY), limits


def _by_numpy(columns: Sequence[tuple[Measured, pa.Array]]) -> tuple[Array, Limits]:
    pieces: list[Array] = []
    limits = np.empty((len(columns), 2))
    for index, (item, column) in enumerate(columns):
        values = arrow.numbers(column)
        if column.null_count:
            values = values[~arrow.null_mask(column)]
        if values.dtype != np.float32:
            values = values.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            distances = (values - values.dtype.type(item.origin)).astype(np.float32)
        entries = bucket_entries(distances)
        entries["bucket"] += index * BUCKETS
        pieces.append(entries)
        limits[index] = (
            np.fmin.reduce(values, initial=np.inf),
            np.fmax.reduce(values, initial=-np.inf),
        )
    return np.concatenate(pieces), limits


def _counted(column: pa.Array) -> tuple[pa.Array, Array]:
    """Each text of a column, or boolean, and how often it came."""
    if pa.types.is_boolean(column.type):
        trues = int(column.true_count or 0)
        counts = np.array([len(column) - column.null_count - trues, trues], np.int64)
        return arrow.from_strings(BOOLS), counts
    coded = column.dictionary_encode()  # itself, if it is coded
    indices = coded.indices
    places = arrow.numbers(indices)
    if indices.null_count:
        places = places[~arrow.null_mask(indices)]
    counts = np.bincount(places, minlength=len(coded.dictionary))
    used = np.flatnonzero(counts)
    if len(used) == len(counts):
        return coded.dictionary, counts
    return coded.dictionary.take(arrow.from_numbers(used.astype(np.int64))), counts[used]


def _text_sketch(
    item: Measured, counted: Sequence[tuple[pa.Array, Array]], nulls: int
) -> TextSketch:
    together: dict[str, int] = {}
    if counted:
        words = pa.concat_arrays([texts for texts, _ in counted]).dictionary_encode()
        counts = np.concatenate([counts for _, counts in counted])
        totals = np.bincount(arrow.numbers(words.indices), counts, len(words.dictionary))
        for word, count in zip(words.dictionary.to_pylist(), totals.tolist(), strict=True):
            shown = _shown(word)
            together[shown] = together.get(shown, 0) + int(count)
    known = tuple(together.pop(word, 0) for word in item.known)
    unseen, rest = most_frequent(together, MAX_UNSEEN_PER_PARTITION)
    return TextSketch(known, unseen, rest, nulls)


def _shown(word: str) -> str:
    """A text as it is counted: long ones that begin alike are one."""
    return word if len(word) <= MAX_TEXT_CHARS else word[: MAX_TEXT_CHARS - 1] + "…"
