"""LightGBM over Arrow batches, by hand: read ahead, predict on all cores, write. MODEL IN OUT."""

import queue
import sys
import threading

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS, AHEAD = 100_000, 2
model, source, target = sys.argv[1:]
booster = lightgbm.Booster(model_file=model)
file = pq.ParquetFile(source)
names = [name for name in file.schema_arrow.names if name != "id"]
schema = pa.schema([("id", pa.int64()), ("prediction", pa.float64())])
read = queue.Queue(AHEAD)


def read_all() -> None:
    """Read while the batch before is predicted."""
    for batch in file.iter_batches(batch_size=BATCH_ROWS):
        read.put(batch)
    read.put(None)


threading.Thread(target=read_all, daemon=True).start()
with pq.ParquetWriter(target, schema) as writer:
    while (batch := read.get()) is not None:
        matrix = np.empty((batch.num_rows, len(names)), np.float32)
        for at, name in enumerate(names):
            matrix[:, at] = batch.column(name).to_numpy()
        predictions = pa.array(booster.predict(matrix))
        writer.write_batch(pa.record_batch([batch.column("id"), predictions], schema=schema))
