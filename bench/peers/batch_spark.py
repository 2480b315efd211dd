"""Spark on all cores, with mapInArrow. MODEL IN OUT."""

import os
import sys
from collections.abc import Iterator

os.environ["PYSPARK_PYTHON"] = sys.executable  # else its workers run whatever python3 is first

import pyarrow as pa
from pyspark.sql import SparkSession

model, source, target = sys.argv[1:]


def predict(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The key and the prediction of each row."""
    import lightgbm
    import numpy as np

    booster = lightgbm.Booster(model_file=model)
    for batch in batches:
        names = [name for name in batch.schema.names if name != "id"]
        matrix = np.empty((batch.num_rows, len(names)), np.float32)
        for at, name in enumerate(names):
            matrix[:, at] = batch.column(name).to_numpy(zero_copy_only=False)
        # One task a core: its threads would only be in each other's way.
        predictions = pa.array(booster.predict(matrix, num_threads=1))
        yield pa.record_batch({"id": batch.column("id"), "prediction": predictions})


spark = (
    SparkSession.builder.master("local[*]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.memory", "3g")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.execution.arrow.maxRecordsPerBatch", "100000")
    .config("spark.sql.files.maxPartitionBytes", str(64 << 20))
    .getOrCreate()
)
rows = spark.read.parquet(source)
rows.mapInArrow(predict, "id long, prediction double").write.parquet(target)
spark.stop()
