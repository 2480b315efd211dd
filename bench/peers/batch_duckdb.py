"""DuckDB: read as Arrow batches, predict each, and have DuckDB write the result. MODEL IN OUT."""

import sys
from collections.abc import Iterator

import duckdb
import lightgbm
import numpy as np
import pyarrow as pa

BATCH_ROWS = 100_000
model, source, target = sys.argv[1:]
booster = lightgbm.Booster(model_file=model)
schema = pa.schema([("id", pa.int64()), ("prediction", pa.float64())])


def predicted(batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The key and the prediction of each row."""
    names = [name for name in batches.schema.names if name != "id"]
    for batch in batches:
        matrix = np.empty((batch.num_rows, len(names)), np.float32)
        for at, name in enumerate(names):
            matrix[:, at] = batch.column(name).to_numpy()
        predictions = pa.array(booster.predict(matrix))
        yield pa.record_batch([batch.column("id"), predictions], schema=schema)


reading, writing = duckdb.connect(), duckdb.connect()
query = reading.sql(f"select * from read_parquet('{source}')")  # noqa: S608 - a path of ours
result = pa.RecordBatchReader.from_batches(schema, predicted(query.to_arrow_reader(BATCH_ROWS)))
writing.register("result", result)
writing.execute(f"copy result to '{target}' (format parquet, compression snappy)")
