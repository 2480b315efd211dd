"""The one door: every prediction of a packed model, many rows or one, goes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from twofold.errors import InvalidInput, PredictionFailed, TwofoldError, problem
from twofold.model import arrow
from twofold.model.columns import check_columns, check_names, columns_of
from twofold.model.record import ModelVersion, Parity
from twofold.model.rows import RowCheck, describe
from twofold.model.signature import Output, Signature, Value
from twofold.model.tables import is_table, one_batch, table_of
from twofold.predictor.runtime import Runtime, plain

if TYPE_CHECKING:
    from twofold.predictor.runtime import Column

Prediction = bool | int | float | str | dict[str, Any]
OUTPUT_TYPES = {
    "float64": (np.float64, pa.float64()),
    "float32": (np.float32, pa.float32()),
    "int64": (np.int64, pa.int64()),
    "bool": (np.bool_, pa.bool_()),
}
KINDS = {"int64": "iu", "bool": "b", "string": "OU"}
"""NumPy's kinds of what a column may hold, where it isn't floats."""
PLAIN_TYPES: dict[str, type] = {"int64": int, "bool": bool, "string": str}
"""The same of one value."""


class Door:
    """Calls a runtime and holds it to the declared output.

    Every call has `rows_per_call` rows if that isn't 0: some libraries' last bits depend on how
    many rows are computed together, and a row must get the same bits alone and in a million.
    """

    def __init__(
        self, runtime: Runtime, signature: Signature, output: Output, *, rows_per_call: int = 0
    ) -> None:
        """Stand before one runtime."""
        self.runtime = runtime
        self.output = output
        self.rows_per_call = rows_per_call
        self._signature = signature
        self._is_float = output.type in ("float64", "float32")
        self._type = column_type(output)
        self._count = len(output.names)

    def columns(self, columns: pa.RecordBatch) -> list[Column]:
        """Predict canonical columns: one array per output, each as long as `columns`.

        Raises:
            PredictionFailed: The model raised, or returned a wrong number of predictions, or
                something other than declared, for any of the rows.
        """
        size = self.rows_per_call
        if columns.num_rows == 0:
            return [np.empty(0, self._type) for _ in self.output.names]
        if size == 0:
            return self._call(columns)
        parts: list[list[Column]] = []
        for start in range(0, columns.num_rows, size):
            part = columns.slice(start, size)
            rows = part.num_rows
            if rows < size:
                indices = arrow.from_numbers(np.minimum(np.arange(size), rows - 1))
                part = part.take(indices)
            parts.append([column[:rows] for column in self._call(part)])
        return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]

    def values(self, values: Sequence[Value]) -> tuple[Any, ...]:
        """Predict one row of canonical values: one value per output.

        Raises:
            PredictionFailed: As for `columns`.
        """
        if self.rows_per_call > 1:
            found = self.columns(columns_of(self._signature, [values]))
            return tuple(plain(column[0]) for column in found)
        try:
            predicted = self.runtime.predict_values(values)
        except TwofoldError:
            raise
        except Exception as error:
            raise raised(error) from error
        return self._held(predicted)

    def _held(self, predicted: tuple[Any, ...]) -> tuple[Any, ...]:
        """Hold one row's predictions to the declared output."""
        if len(predicted) != self._count:
            raise self._miscounted(len(predicted))
        if not self._is_float:
            for value in predicted:
                if type(value) is not PLAIN_TYPES[self.output.type]:
                    raise _broken(self.output, value)
            return predicted
        for value in predicted:
            # Subtraction is zero for finite numbers only.
            if not (type(value) is float and value - value == 0.0):
                raise _broken(self.output, value)
        if self._type is np.float32:
            return tuple(np.float32(value).item() for value in predicted)
        return predicted

    def _miscounted(self, count: int) -> PredictionFailed:
        fix = "The model must return one value for each declared output."
        return PredictionFailed(problem("prediction", f"{self._count} outputs", str(count), fix))

    def _call(self, columns: pa.RecordBatch) -> list[Column]:
        try:
            found = self.runtime.predict_columns(columns)
        except TwofoldError:
            raise
        except Exception as error:
            raise raised(error) from error
        if len(found) != self._count:
            raise self._miscounted(len(found))
        for column in found:
            if len(column) != columns.num_rows:
                raise PredictionFailed(
                    problem(
                        "prediction",
                        f"{columns.num_rows} predictions",
                        str(len(column)),
                        "The model must return one for each row, in order.",
                    )
                )
            if self._is_float:
                if not np.isfinite(column).all():
                    raise _broken(self.output, float(column[~np.isfinite(column)][0]))
            elif column.dtype.kind not in KINDS[self.output.type]:
                raise _broken(self.output, plain(column[0]))
        # A runtime may compute in float32 where the original has float64: the declared type is
        # what a caller gets, at either speed.
        return [column.astype(self._type, copy=False) for column in found]


def raised(error: Exception) -> PredictionFailed:
    """Say that the model raised."""
    text = str(error).strip().partition("\n")[0][:300]
    return PredictionFailed(f"the model raised {type(error).__name__}: {text}")


def _broken(output: Output, value: Any) -> PredictionFailed:
    return PredictionFailed(
        problem(
            "prediction",
            f"a finite {output.type}",
            describe(value),
            "The model must return such a value for every valid row.",
        )
    )


def column_type(output: Output) -> Any:
    """The NumPy type of an output's columns."""
    return object if output.type == "string" else OUTPUT_TYPES[output.type][0]


def output_columns(output: Output, columns: Sequence[Column]) -> pa.RecordBatch:
    """Make Arrow columns, named as declared, from arrays of predictions."""
    if output.type == "string":
        arrays = [arrow.from_strings(column.tolist()) for column in columns]
    else:
        kind, arrow_kind = OUTPUT_TYPES[output.type]
        arrays = [
            arrow.from_numbers(np.ascontiguousarray(column, kind), None, arrow_kind)
            for column in columns
        ]
    return pa.RecordBatch.from_arrays(arrays, names=list(output.names))


class Predictor:
    """A packed version of a model, loaded: the public door.

    Safe to share between threads if `concurrent` is true.
    """

    def __init__(self, record: ModelVersion, batch: Runtime, real_time: Runtime) -> None:
        """Open the door of a version, given the runtime of each mode."""
        self.record = record
        self.signature = record.signature
        self.output = record.output
        self.concurrent = batch.concurrent
        size = record.rows_per_call
        self.batch_door = Door(batch, record.signature, record.output, rows_per_call=size)
        self.real_time_door = Door(real_time, record.signature, record.output, rows_per_call=size)
        self._check_row = RowCheck(record.signature)
        self._single = len(record.output.names) == 1
        self.reads_codes: bool = getattr(batch, "reads_codes", False)
        self.quick: Callable[[Any], float | None] | None = self._shortcut(real_time)

    def _shortcut(self, runtime: Runtime) -> Any:
        """The kernel's own way from a plain row to its prediction, or to None; where it has one."""
        quick, reader = getattr(runtime, "quick", None), self._check_row.reader
        if quick is None or reader is None or not self._single:
            return None
        return quick(reader, self.output.type)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.record.name

    @property
    def version(self) -> str:
        """The version's number."""
        return self.record.version

    @property
    def digest(self) -> str:
        """The version's content digest."""
        return self.record.digest

    @property
    def parity(self) -> Parity:
        """What was proven when the version was packed."""
        return self.record.parity

    def __repr__(self) -> str:
        """Name model and version."""
        return f"<twofold.Predictor {self.name}@{self.version}>"

    def predict(self, data: Any) -> Any:
        """Predict many rows.

        Args:
            data: A pyarrow, pandas or polars table, or a list of rows (dicts, or lists in the
                signature's order).

        Returns:
            A NumPy array, one prediction per row in the order of the rows; of shape
            (rows, outputs) if the model has several outputs.

        Raises:
            InvalidInput: A row doesn't fit the signature; the message names it.
            PredictionFailed: The model raised or returned something other than declared.
        """
        columns = self.table_columns(data) if is_table(data) else self._row_columns(data, "rows")
        found = self.batch_door.columns(columns)
        return found[0] if self._single else np.stack(found, axis=1)

    def predict_one(self, row: Mapping[str, Any] | Sequence[Any]) -> Any:
        """Predict one row.

        Args:
            row: A dict by field name, or a list in the signature's order.

        Returns:
            The prediction; a dict by output name if the model has several outputs.

        Raises:
            InvalidInput: The row doesn't fit the signature.
            PredictionFailed: The model raised or returned something other than declared.
        """
        if self.quick is not None:
            prediction = self.quick(row)
            if prediction is not None:
                return prediction
        try:
            values = self._check_row(row)
        except InvalidInput:
            if isinstance(row, (list, tuple)) and any(isinstance(item, Mapping) for item in row):
                fix = "Call predict for many rows."
                raise InvalidInput(problem("row", "one row", describe(row), fix)) from None
            raise
        return self.predict_values(values)

    def predict_rows(self, rows: Sequence[Any], *, where: str = "rows") -> list[Any]:
        """Predict a list of rows: a list of what `predict_one` gives, with the same bits."""
        found = self.batch_door.columns(self._row_columns(rows, where))
        if self._single:
            return found[0].tolist()
        names = self.output.names
        listed = zip(*(column.tolist() for column in found), strict=True)
        return [dict(zip(names, item, strict=True)) for item in listed]

    def predict_checked(
        self, rows: Sequence[Sequence[Value]], *, one_by_one: int = 1
    ) -> list[Sequence[Any]]:
        """Predict rows of canonical values: for each output, one plain value per row.

        Args:
            rows: At least one.
            one_by_one: So many rows at most go through the real-time door, one after the other.

        Raises:
            PredictionFailed: The model failed for at least one of the rows.
        """
        if len(rows) <= one_by_one:
            values = self.real_time_door.values
            return list(zip(*[values(row) for row in rows], strict=True))
        found = self.batch_door.columns(columns_of(self.signature, rows))
        return [column.tolist() for column in found]

    def predict_columns(self, columns: pa.RecordBatch) -> pa.RecordBatch:
        """Predict canonical, valid columns: Arrow columns named as the outputs.

        Raises:
            PredictionFailed: The model failed for at least one of the rows.
        """
        return output_columns(self.output, self.batch_door.columns(columns))

    def predict_values(self, values: Sequence[Value]) -> Any:
        """Predict one row of canonical values; see `predict_one`."""
        found = self.real_time_door.values(values)
        return found[0] if self._single else dict(zip(self.output.names, found, strict=True))

    def table_columns(self, data: Any) -> pa.RecordBatch:
        """Validate a table: its canonical columns.

        Raises:
            InvalidInput: Any row doesn't fit; the first is named.
        """
        table = table_of(data)
        check_names(self.signature, table.column_names, where="data")
        rows = one_batch(table.select(self.signature.names))
        checked = check_columns(self.signature, rows, coded=self.reads_codes)
        if checked.problems:
            first = checked.problems[0]
            more = len(checked.problems) - 1
            note = f" ({more} more rows don't fit.)" if more else ""
            raise InvalidInput(
                f"rows[{first.row}].{first.field}: {first.reason}{note}", field=first.field
            )
        return checked.columns

    def _row_columns(self, rows: Any, where: str) -> pa.RecordBatch:
        if isinstance(rows, (str, bytes, Mapping)) or not hasattr(rows, "__iter__"):
            fix = "Pass a list of rows, or call predict_one for one."
            raise InvalidInput(problem(where, "a list of rows", describe(rows), fix))
        check = self._check_row
        checked = [check(row, where=f"{where}[{index}]") for index, row in enumerate(rows)]
        return columns_of(self.signature, checked)
