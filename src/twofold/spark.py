"""twofold for people who live in Spark: the predictions of a DataFrame's rows.

```python
from twofold.spark import predict

scored = predict(spark.read.parquet("customers"), "churn", registry="/mnt/models")
scored.write.parquet("predictions")
```

The registry must be where every executor sees it, and twofold installed there. Spark plans, retries
and writes; for a run that is recorded, resumed and committed at once, use `twofold batch run`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from twofold.errors import ConfigError, InvalidInput, problem
from twofold.model import arrow
from twofold.model.columns import check_columns, check_names
from twofold.predictor.door import Predictor
from twofold.predictor.load import load
from twofold.predictor.split import predict_apart

ERROR = "prediction_error"
"""The column that says why a row has no prediction."""
TYPES = {
    "bool": "BooleanType",
    "int64": "LongType",
    "float32": "FloatType",
    "float64": "DoubleType",
    "string": "StringType",
}


def predict(frame: Any, model: str, *, registry: str | Path = "registry") -> Any:
    """Predict every row of a Spark DataFrame, on its executors.

    Args:
        frame: A DataFrame with the model's fields, and any other columns.
        model: Reference to the model: `churn`, `churn@3`, `churn:canary`. It is looked up once,
            here, so that all executors predict with one version.
        registry: Folder of the packed models, as this process and all executors see it.

    Returns:
        A DataFrame of all columns, then the predictions, then `prediction_error`: null, or why
        the row has none (it doesn't fit the signature, or the model fails on it). No row is left
        out, and one bad row fails no task.

    Raises:
        UnknownModel: No such model, version or alias.
        ConfigError: PySpark isn't installed.
        InvalidInput: A field has no column, or a column the name of a prediction.
    """
    try:
        from pyspark.sql import types  # noqa: PLC0415 - none but the users of Spark have it
    except ImportError as error:
        fix = "Install it: pip install pyspark."
        raise ConfigError(problem("twofold.spark", "PySpark", "none", fix)) from error
    folder = str(Path(registry).absolute())
    predictor = load(model, registry=folder)
    names = list(frame.columns)
    check_names(predictor.signature, names, where="frame", besides=names)
    for name in (*predictor.output.names, ERROR):
        if name in names:
            fix = "Rename that column of the DataFrame."
            raise InvalidInput(problem(f"frame.{name}", "a name to write to", "a column", fix))
    made = getattr(types, TYPES[str(predictor.output.type)])()
    schema = types.StructType(list(frame.schema.fields))
    for name in predictor.output.names:
        schema = schema.add(types.StructField(name, made, nullable=True))
    schema = schema.add(types.StructField(ERROR, types.StringType(), nullable=True))
    version = f"{predictor.name}@{predictor.version}"
    return frame.mapInArrow(functools.partial(predict_batches, folder, version), schema)


def predict_batches(
    registry: str, model: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Put predictions beside rows: what an executor does with its part of the DataFrame."""
    predictor = _loaded(registry, model)
    for batch in batches:
        yield _beside(predictor, batch)


@functools.lru_cache(maxsize=4)
def _loaded(registry: str, model: str) -> Predictor:
    """The model, once for each Python worker."""
    return load(model, registry=registry)


def _beside(predictor: Predictor, batch: pa.RecordBatch) -> pa.RecordBatch:
    signature, output = predictor.signature, predictor.output
    fields = [field.name for field in signature.fields]
    checked = check_columns(signature, batch.select(fields), coded=predictor.reads_codes)
    errors: list[str | None] = [None] * batch.num_rows
    for item in checked.problems:
        errors[item.row] = f"{item.field}: {item.reason}"
    places = np.arange(batch.num_rows)
    if checked.valid is not None:
        places = places[checked.valid]
    found, failed = predict_apart(checked.columns, predictor.predict_columns)
    for index, error in failed.items():
        errors[int(places[index])] = str(error)
    places = np.delete(places, list(failed))
    # Where the prediction of each row is; it has none where its place is null.
    where = np.zeros(batch.num_rows, np.int64)
    where[places] = np.arange(len(places))
    missing = np.ones(batch.num_rows, np.bool_)
    missing[places] = False
    take = arrow.from_numbers(where, missing)
    schema = pa.schema([(name, pa.type_for_alias(output.type)) for name in output.names])
    table = pa.Table.from_batches(found, schema=schema)
    for name, column in zip(output.names, table.columns, strict=True):
        batch = batch.append_column(name, arrow.one_chunk(column).take(take))
    return batch.append_column(ERROR, arrow.from_strings(errors))
