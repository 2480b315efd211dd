"""Polars: scan, predict batch by batch in its streaming engine, sink. MODEL IN OUT."""

import sys

import lightgbm
import numpy as np
import polars as pl

model, source, target = sys.argv[1:]
booster = lightgbm.Booster(model_file=model)


def predict(batch: pl.DataFrame) -> pl.DataFrame:
    """The key and the prediction of each row."""
    names = [name for name in batch.columns if name != "id"]
    matrix = np.empty((batch.height, len(names)), np.float32)
    for at, name in enumerate(names):
        matrix[:, at] = batch[name].to_numpy()
    return pl.DataFrame({"id": batch["id"], "prediction": booster.predict(matrix)})


scanned = pl.scan_parquet(source)
schema = {"id": pl.Int64, "prediction": pl.Float64}
scanned.map_batches(predict, schema=schema, streamable=True).sink_parquet(
    target, compression="snappy"
)
