"""The demo's customers: the real ones, a million resampled from them, and a model of churn."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twofold.errors import missing_extra
from twofold.model import arrow

KEY = "customer_id"
TARGET = "churn"
FIRST_NEW_ID = 10_000_000
GROUP_ROWS = 65_536
SEED = 20


def real_customers() -> pa.Table:
    """The 7,043 customers of the sample data set, with their ids and whether they left."""
    with as_file(files("twofold.demo") / "telco" / "telco_churn.parquet") as path:
        return pq.read_table(path).replace_schema_metadata()


def features(customers: pa.Table) -> list[str]:
    """The columns a model of churn may use."""
    return [name for name in customers.column_names if name not in (KEY, TARGET)]


def train(customers: pa.Table) -> Any:
    """Train a scikit-learn pipeline: imputation, one-hot on text, gradient boosting.

    Returns:
        The fitted pipeline; it takes a pandas frame of the features.

    Raises:
        ConfigError: scikit-learn or pandas isn't installed.
    """
    try:
        from sklearn.compose import ColumnTransformer  # noqa: PLC0415 - an extra
        from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415
        from sklearn.impute import SimpleImputer  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415
        from sklearn.preprocessing import OneHotEncoder  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("scikit-learn", "sklearn", "the demo's model") from error
    names = features(customers)
    schema = customers.schema
    text = [name for name in names if pa.types.is_string(schema.field(name).type)]
    numbers = [name for name in names if name not in text]
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), numbers),
            ("text", OneHotEncoder(handle_unknown="ignore"), text),
        ]
    )
    pipeline = make_pipeline(columns, GradientBoostingClassifier(random_state=SEED))
    left = [answer == "Yes" for answer in customers[TARGET].to_pylist()]
    return pipeline.fit(customers.select(names).to_pandas(), left)


def write_customers(
    path: Path, customers: pa.Table, count: int, progress: Callable[[int], None]
) -> None:
    """Write `count` customers to Parquet: rows of the real ones, drawn at random, with new ids.

    Args:
        path: Where to; appears whole or not at all.
        customers: The real ones.
        count: How many.
        progress: Told how many more rows were written.
    """
    random = np.random.default_rng(SEED)
    source = customers.select(features(customers)).combine_chunks()
    temporary = path.with_suffix(".writing")
    writer = None
    try:
        for start in range(0, count, GROUP_ROWS):
            rows = min(GROUP_ROWS, count - start)
            drawn = source.take(arrow.from_numbers(random.integers(0, source.num_rows, rows)))
            ids = arrow.from_numbers(np.arange(start, start + rows) + FIRST_NEW_ID)
            table = drawn.add_column(0, KEY, ids)
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            progress(rows)
        if writer is None:
            pq.write_table(
                source.slice(0, 0).add_column(0, KEY, pa.nulls(0, pa.int64())), temporary
            )
        else:
            writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
